"""Which values may be kept as they are: what can be somebody's name, address or secret may not."""

from __future__ import annotations

import re
from typing import Final

_HARMLESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}(?:\.[A-Za-z0-9_-]{1,10})?")
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_ADDRESS: Final = re.compile(r"[0-9]{1,3}(?:[.-][0-9]{1,3}){3}")
_SECRET: Final = re.compile(r"(?=[A-Za-z_-]*[0-9])(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{20,}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PHONE: Final = re.compile(r"[0-9]{2,5}(?:-[0-9]{2,}){2,}")


def is_harmless(value: str) -> bool:
    """Whether it looks like the id of a thing or a word: no e-mail or IP address, no telephone number, no token.

    A UUID is the id of a thing; what has letters and digits mixed over twenty characters and more is a token.
    """
    if _NUMBER.fullmatch(value):
        return True
    if _HARMLESS.fullmatch(value) is None or _ADDRESS.fullmatch(value) or _PHONE.fullmatch(value):
        return False
    if _UUID.fullmatch(value):
        return True
    return not any(_SECRET.fullmatch(part) for part in value.split("."))
