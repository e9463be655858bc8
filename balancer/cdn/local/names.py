"""Names of files, in the folder as in URLs: nothing in them has to be escaped, and none of them leads anywhere else."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import Final

from balancer.cdn.types import Kind

LONGEST: Final = 250
"""Characters of a path, so that `file:<path>` still is a tag that the response cache takes."""
LONGEST_NAME: Final = 200
LONGEST_EXTENSION: Final = 16
DIGITS: Final = 16
"""Of the content's SHA-256, before a name."""
_SEGMENT: Final = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_PATH: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,15}}")
_BY_CONTENT: Final = re.compile(rf"[a-z]+/\d{{4}}/\d{{2}}/([0-9a-f]{{2}})/([0-9a-f]{{{DIGITS}}})-([^/]+)")
_OTHER: Final = re.compile(r"[^A-Za-z0-9._-]+")
_SEPARATORS: Final = re.compile(r"[/\\]")
_SPELLED: Final = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O",
     "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th"}
)  # fmt: skip
"""Latin letters that are none with an accent."""


def good(path: str) -> bool:
    """Whether it may name a file: no empty part, none that begins with a dot, nothing but letters, digits, `._-`."""
    return len(path) <= LONGEST and _PATH.fullmatch(path) is not None


def split(name: str) -> tuple[str, str]:
    """Stem and extension, the latter in small letters and without its dot; what comes with folders loses them."""
    last = _SEPARATORS.split(name)[-1]
    stem, dot, extension = last.rpartition(".")
    if not dot or not extension.isascii() or not extension.isalnum() or len(extension) > LONGEST_EXTENSION:
        return last, ""
    return stem, extension.lower()


def clean(name: str, extension: str) -> str:
    """The name as it is stored, with this extension (empty: none). Whatever comes, a good part of a path goes out."""
    stem, _ = split(name)
    letters = (
        char for char in unicodedata.normalize("NFKD", stem.translate(_SPELLED)) if not unicodedata.combining(char)
    )
    stem = _OTHER.sub("-", "".join(letters)).strip(".-")
    end = f".{extension}" if extension else ""
    return (stem[: LONGEST_NAME - len(end)].rstrip(".-") or "file") + end


def shown(name: str) -> str:
    """The name as its owner wrote it, for those who save the file: one line, no folders."""
    last = _SEPARATORS.split(name)[-1]
    return "".join(char for char in last if char.isprintable())[:LONGEST_NAME] or "file"


def by_content(kind: Kind, name: str, sha256_hex: str, at: datetime) -> str:
    """The path of a file that never changes."""
    return f"{kind}/{at:%Y/%m}/{sha256_hex[:2]}/{sha256_hex[:DIGITS]}-{name}"


def plain(kind: Kind, name: str) -> str:
    """The path of a file that may be overwritten."""
    return f"{kind}/{name}"


def is_by_content(path: str) -> bool:
    match = _BY_CONTENT.fullmatch(path)
    return match is not None and match[2].startswith(match[1])


def without_date(path: str) -> str:
    """Kind, content and name of a path that is made of them."""
    kind, _, _, folder, name = path.split("/")
    return f"{kind}/{folder}/{name}"


def name_of(path: str) -> str:
    """What a file is called when only its path is known."""
    match = _BY_CONTENT.fullmatch(path)
    return match[3] if match is not None else path.rpartition("/")[2]
