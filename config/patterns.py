"""The small languages inside of values: names, paths with captures, templates, hosts and header fields."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]{0,127}")
"""Of pools, servers, routes and listeners. Servers of a list are named `[::1]:8000`."""
PLUGIN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A field name (RFC 9110 section 5.6.2)."""
FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""RFC 9110 section 5.5, in Latin-1: no CR, LF or NUL, which would begin another field."""
_CAPTURE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:.]+\]")

REST = "rest"
"""The name of what a final `**` takes."""


def path_fault(path: str, secret: bool = False) -> str | None:
    """Why a match's path cannot be one, or None; of a `secret` one, without a word from it."""
    segments = path.split("/")[1:]
    for position, segment in enumerate(segments):
        if segment == "**" and position == len(segments) - 1:
            continue
        if "*" in segment:
            return "must have `**` only as its last part; one part of a path is taken by a {name}"
        if ("{" in segment or "}" in segment) and not _CAPTURE.fullmatch(segment):
            return "must have a {name} as a whole part between two slashes"
    if re.search(r"[?#\s\\]|[^ -~]", path):
        return "must be a path without query, spaces and letters beyond ASCII (write them as %XX)"
    if re.search(r"%(?![0-9A-F]{2})", path):
        return "must have upper-case hexadecimal digits after %, such as %2F"
    names = captures(path)
    twice = next((name for name in names if names.count(name) > 1), None)
    return f"must not have {'a capture' if secret else f'{{{twice}}}'} twice" if twice else None


def captures(path: str) -> tuple[str, ...]:
    """The names whose values a match of the path gives."""
    rest = (REST,) if path.endswith("/**") else ()
    return (*_CAPTURE.findall(path), *rest)


def skeleton(path: str) -> str:
    """The path with its captures nameless: what two paths that match the same have in common."""
    return _CAPTURE.sub("{}", path)


def template_fault(text: str, known: tuple[str, ...], secret: bool = False) -> str | None:
    """Why a template cannot be filled in from these names, or None; if `secret`, without any of its or theirs."""
    for name in _CAPTURE.findall(text):
        if name not in known:
            if secret:
                return "must use only captures of the path"
            have = f"there is {', '.join(f'{{{one}}}' for one in known)}" if known else "the path has no captures"
            return f"must use only captures of the path, not {{{name}}}: {have}"
    if "{" in _CAPTURE.sub("", text) or "}" in _CAPTURE.sub("", text):
        return "must have braces only around the name of a capture, such as {id}"
    if re.search(r"[\s\\]|[^ -~]", text):
        return "must have no spaces, backslashes and letters beyond ASCII (write them as %XX)"
    return None


def is_host(text: str) -> bool:
    """Whether this is a host to match, such as example.com or *.example.com."""
    return len(text) <= 253 and _HOST.fullmatch(text) is not None
