"""Answers of the balancer's own: errors, redirects, fixed texts."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
TEXT: Final = b"text/plain; charset=utf-8"


def answer(
    status: int,
    body: bytes,
    *,
    date: bytes,
    content_type: bytes = TEXT,
    extra: bytes = b"",
    without_body: bool = False,
    persistent: bool = True,
    minor: int = 1,
) -> bytes:
    """A whole response. `extra` is complete field lines; `without_body` is for HEAD."""
    if persistent:
        connection = b"" if minor else b"Connection: keep-alive\r\n"
    else:
        connection = b"Connection: close\r\n"
    bodiless = status in (204, 304)
    described = b"" if bodiless else b"Content-Type: %b\r\nContent-Length: %d\r\n" % (content_type, len(body))
    return b"HTTP/1.1 %d %b\r\nDate: %b\r\n%b%b%b\r\n%b" % (
        status,
        _REASONS.get(status, b""),
        date,
        described,
        extra,
        connection,
        b"" if without_body or bodiless else body,
    )


def problem(status: int, reason: str, request_id: bytes) -> bytes:
    """A short text for people: what happened and, where there is one, the id to look it up by."""
    named = b"\nRequest: %b" % request_id if request_id else b""
    return b"%d %b: %b%b\n" % (status, _REASONS.get(status, b"Error"), reason.encode("utf-8"), named)
