"""What the cache did, told in Cache-Status (RFC 9211)."""

from __future__ import annotations

import re
from typing import Final

NAME: Final = b"balancer"
_TOKEN: Final = re.compile(rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")  # RFC 9651 section 3.3.4
_UNSAFE: Final = bytes(code for code in range(256) if not 0x20 <= code <= 0x7E)


def line(
    *,
    hit: bool = False,
    fwd: bytes | None = None,
    fwd_status: int = 0,
    ttl: int | None = None,
    stored: bool = False,
    collapsed: bool = False,
    key: bytes | None = None,
    detail: bytes | None = None,
) -> bytes:
    """The field as a complete line. `fwd` is a word of RFC 9211 section 2.2, `ttl` negative for what is stale."""
    parts = [NAME]
    if hit:
        parts.append(b"hit")
    elif fwd is not None:
        parts.append(b"fwd=" + fwd)
        if fwd_status:
            parts.append(b"fwd-status=%d" % fwd_status)
    if ttl is not None:
        parts.append(b"ttl=%d" % ttl)
    if stored:
        parts.append(b"stored")
    if collapsed:
        parts.append(b"collapsed")
    if key is not None:
        parts.append(b'key="%b"' % _quoted(key))
    if detail is not None:
        parts.append(b"detail=" + detail if _TOKEN.fullmatch(detail) else b'detail="%b"' % _quoted(detail))
    return b"Cache-Status: %b\r\n" % b"; ".join(parts)


def _quoted(value: bytes) -> bytes:
    """As in a string of RFC 9651, which has visible characters and spaces only."""
    return value.translate(None, _UNSAFE).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
