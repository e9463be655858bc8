"""Octets by their numbers: `PERCENT in target` takes an eighth of what `b"%" in target` does, and asks the same."""

from typing import Final

PERCENT: Final = 0x25
SEMICOLON: Final = 0x3B
QUESTION_MARK: Final = 0x3F
BACKSLASH: Final = 0x5C
TILDE: Final = 0x7E
