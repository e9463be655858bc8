"""What a provider wrote, fit to be kept and shown: without our secrets, in one line, and short."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

from config.masking import MASK

KEPT: Final = 2048
"""Bytes of an answer that nobody could read."""
SHORTEST: Final = 4
"""Characters of a secret; less would be found everywhere, and is none."""


class Redaction:
    """Takes secrets out of texts, also where they are written as in URLs or in JSON."""

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
            )
        }
        self._spelled = sorted(spelled, key=len, reverse=True)  # the part of a longer one goes with it

    def __call__(self, text: str, most: int = KEPT) -> str:
        """`text` without secrets and on one line, at most so many characters; cut last, so that no secret is halved."""
        for secret in self._spelled:
            text = text.replace(secret, MASK)
        text = "".join(char if char.isprintable() else " " for char in text[: most + 1])
        return text if len(text) <= most else text[: most - 3] + "..."
