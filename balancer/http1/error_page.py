"""The page that a browser gets when something went wrong: the balancer's own, or one that the operator has made."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

from config.error_page import PLACEHOLDER


class ErrorPage:
    """A template of HTML, taken apart once.

    Values are escaped: between tags and in quoted attributes they are text and nothing else. `request_id` is empty
    where there is none.
    """

    __slots__ = ("_parts",)

    def __init__(self, template: str) -> None:
        """The configuration's check has seen to it that all placeholders are known."""
        self._parts = PLACEHOLDER.split(template)  # text and names take turns

    def filled(self, values: Mapping[str, str]) -> bytes:
        """The page with these values, one for each placeholder there is."""
        shown = {name: escape(value) for name, value in values.items()}
        parts = [shown[part] if place % 2 else part for place, part in enumerate(self._parts)]
        return "".join(parts).encode("utf-8")


OWN: Final = ErrorPage(
    """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{status} {title}</title>
<style>
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5d6873; --line: #dfe4e8; --paper: #fbfcfd; --mark: #b3402a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaed; --soft: #98a4ae; --line: #2b3238; --paper: #14181b; --mark: #f0886f }
}
body {
  margin: 0; min-height: 100vh; display: grid; place-items: center;
  color: var(--ink); background: var(--paper); font: 1.05rem/1.55 system-ui, sans-serif;
}
main { box-sizing: border-box; width: 100%; max-width: 36rem; padding: 2rem 1.5rem 4rem }
b { color: var(--mark); font: 600 1rem/1 ui-monospace, monospace; letter-spacing: .08em }
h1 { margin: .5rem 0 .8rem; font-size: 1.9rem; line-height: 1.2 }
p { margin: 0; overflow-wrap: anywhere }
.id {
  margin-top: 1.6rem; padding-top: 1rem; border-top: 1px solid var(--line);
  color: var(--soft); font: .82rem/1.5 ui-monospace, monospace;
}
.id:empty { display: none }
.id::before { content: "Request " }
</style>
<main>
<b>{status}</b>
<h1>{title}</h1>
<p>{detail}</p>
<p class="id">{request_id}</p>
</main>
</html>
"""
)
