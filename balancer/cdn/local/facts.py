"""What is known of a file beyond its bytes, kept with them: it comes and goes with the file in one step.

An extended attribute, where the file system has them. So an overwritten file is never sent with its predecessor's
ETag, and an index that is lost can be made anew with nothing missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from balancer.cdn.local import kinds

_ATTRIBUTE: Final = "user.balancer.file"
MOST: Final = 3800
"""Bytes of it: ext4 has room for 4 KiB of all attributes of a file."""
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class Facts:
    """What an upload said of a file, and what was found."""

    content_type: str
    sha256_hex: str
    cache_control: str
    name: str
    """As its owner wrote it."""
    tags: tuple[str, ...] = ()


def attach(fd: int, facts: Facts, about: os.stat_result) -> bool:
    """Whether the file system keeps it. It counts for just these bytes: size and time are in it."""
    text = orjson.dumps([about.st_size, about.st_mtime_ns, facts])
    if len(text) > MOST or not hasattr(os, "setxattr"):
        return False
    try:
        os.setxattr(fd, _ATTRIBUTE, text)
    except OSError:  # there is none, or no room: the index still knows
        return False
    return True


def attached(fd: int, about: os.stat_result) -> Facts | None:
    if not hasattr(os, "getxattr"):
        return None
    try:
        size, modified, fields = orjson.loads(os.getxattr(fd, _ATTRIBUTE))
        if (size, modified) != (about.st_size, about.st_mtime_ns):
            return None
        if not _sound(fields):
            return None
        return Facts(**{**fields, "tags": tuple(fields["tags"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _sound(fields: Mapping[str, Any]) -> bool:
    """Whether it may be sent: who can write to the folder, or unpack an archive there, could have written it, too."""
    tags, content_type = fields["tags"], fields["content_type"]
    lines = (content_type, fields["sha256_hex"], fields["cache_control"], fields["name"], *tags)
    return all(isinstance(line, str) and _LINE.fullmatch(line) for line in lines) and kinds.sent(content_type)
