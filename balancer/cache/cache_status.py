"""What the cache did, told in Cache-Status (RFC 9211)."""

from __future__ import annotations

from typing import Final

NAME: Final = b"balancer"
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
    """The field as a complete line."""
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
        parts.append(b"detail=" + detail)
    return b"Cache-Status: %b\r\n" % b"; ".join(parts)


def _quoted(value: bytes) -> bytes:
    return value.translate(None, _UNSAFE).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
