"""Cookies of a request."""

from __future__ import annotations

from balancer.http1.head import RequestHead


def cookie(head: RequestHead, name: bytes) -> bytes | None:
    """The value of a cookie, or None (RFC 6265 section 5.4)."""
    prefix = name + b"="
    for field in head.common.fields:
        if field[0] == b"cookie":
            for part in field[1].split(b";"):
                pair = part.strip(b" \t")
                if pair.startswith(prefix):
                    return pair[len(prefix) :].strip(b'"')
    return None
