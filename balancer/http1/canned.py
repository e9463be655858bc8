"""Answers of the balancer's own: errors, redirects, fixed texts."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple

from balancer.http1.accept import LONGEST, preferred
from balancer.http1.error_page import OWN, ErrorPage

_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus} | {
    413: b"Content Too Large",  # Python before 3.13 has the names from before RFC 9110
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
    422: b"Unprocessable Content",
}
TEXT: Final = b"text/plain; charset=utf-8"
HTML: Final = b"text/html; charset=utf-8"
_KINDS: Final = (
    TEXT,
    HTML,
    b"application/problem+json",
    b"application/json",
)  # JSON has no charset (RFC 8259 section 11)
_OFFERS: Final = ((b"text", b"plain"), (b"text", b"html"), (b"application", b"problem+json"), (b"application", b"json"))
_FIELDS: Final = (
    (b"cache-control", b"Cache-Control: no-store\r\n"),
    (b"vary", b"Vary: Accept\r\n"),
    (b"x-content-type-options", b"X-Content-Type-Options: nosniff\r\n"),
)
UNREAD: Final = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
"""The fields of an error that goes to a client of whom nothing could be read."""


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


class Told(NamedTuple):
    """An error in the form that its client would rather have."""

    body: bytes
    content_type: bytes
    fields: bytes
    """Complete field lines that go with it."""


def told(
    status: int,
    reason: str,
    request_id: bytes = b"",
    accept: bytes | None = None,
    page: ErrorPage = OWN,
    drop: Collection[bytes] = (),
) -> Told:
    """What is answered when something went wrong, by the request's Accept: text, a page or problem details (RFC 9457).

    `reason` is a sentence of ours for whoever asked: nothing in it comes from the request. `drop` are the lower-cased
    names of fields that the operator's edits take out or set.
    """
    kind = _KINDS[_preferred(accept[: LONGEST + 1] if accept else None)]
    fields = b"".join(line for name, line in _FIELDS if name not in drop)
    if kind is TEXT:
        return Told(problem(status, reason, request_id), kind, fields)
    values = {
        "title": _REASONS.get(status, b"Error").decode("ascii"),
        "detail": reason[:1].upper() + reason[1:] + "." if kind is HTML else reason,
        "request_id": request_id.decode("latin-1"),
    }
    if kind is HTML:
        return Told(page.filled({"status": str(status), **values}), kind, fields)
    details = {"type": "about:blank", "status": status, **{name: value for name, value in values.items() if value}}
    return Told(json.dumps(details, separators=(",", ":")).encode("ascii") + b"\n", kind, fields)


@lru_cache(64)  # clients repeat themselves, and a site that is down is asked by many
def _preferred(accept: bytes | None) -> int:
    return preferred(accept, _OFFERS)
