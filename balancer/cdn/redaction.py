"""What a provider wrote, fit to be kept and shown: without our secrets, in one line, and short."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

from config.masking import MASK

LONGEST: Final = 4096
"""Characters of a secret as it may be spelled."""
KEPT: Final = 2048
"""Bytes of an answer that nobody could read."""
SHORTEST: Final = 4
"""Characters of a secret; less would be found everywhere, and is none."""


RUN: Final = 12
"""Characters of a secret that are too many to be shown: providers repeat keys without their ends."""


class Redaction:
    """Takes secrets out of texts, also as they are written in URLs, in JSON and in Base64, and long parts of them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = {
            form
            for secret in secrets
            if len(secret) >= SHORTEST
            for form in (
                secret,
                quote(secret, safe=""),
                quote_plus(secret),
                json.dumps(secret)[1:-1],
                json.dumps(secret)[1:-1].replace("/", "\\/"),
                *_in_base64(secret),
            )
        }
        self._runs = {
            form.lower()[start : start + RUN] for form in spelled for start in range(max(len(form) - RUN + 1, 0))
        }
        self._spelled = sorted(spelled, key=len, reverse=True)  # the part of a longer one goes with it

    def __call__(self, text: str, most: int = KEPT) -> str:
        """`text` without secrets and on one line, at most so many characters; cut last, so that no secret is halved."""
        text = text[: most + LONGEST]
        for secret in self._spelled:
            text = text.replace(secret, MASK)
        text = self._without_runs(text)
        text = "".join(char if char.isprintable() else " " for char in text[: most + 1])
        return text if len(text) <= most else text[: most - 3] + "..."

    def _without_runs(self, text: str) -> str:
        lower = text.lower()
        if len(lower) != len(text):  # letters that grow with their case are in no secret
            return text
        shown, at = [], 0
        while at < len(text):
            if lower[at : at + RUN] not in self._runs:
                shown.append(text[at])
                at += 1
                continue
            end = at + RUN
            while lower[end - RUN + 1 : end + 1] in self._runs:
                end += 1
            shown.append(MASK)
            at = end
        return "".join(shown)


def _in_base64(secret: str) -> tuple[str, ...]:
    """As it may stand in Base64, by what comes before it; without the letters that depend on what is around it."""
    data = secret.encode("utf-8", "surrogateescape")
    found = []
    for before in range(3):
        text = b64encode(bytes(before) + data).decode().rstrip("=")
        kept = text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        if len(kept) >= RUN:
            found += [kept, kept.replace("+", "-").replace("/", "_")]
    return tuple(found)
