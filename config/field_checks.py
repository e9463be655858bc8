"""Header fields that an operator writes: tokens as names, one line as value, no framing."""

from __future__ import annotations

from collections.abc import Mapping

from config.findings import Findings
from config.patterns import FIELD_VALUE, TOKEN
from config.problems import Path
from config.schema import HeaderEdits

OURS = (
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
"""They belong to one connection or frame the message (RFC 9110 section 7.6.1, RFC 9112 section 6)."""
_MEANT = frozenset(
    (
        "authorization",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "server",
        "traceparent",
        "tracestate",
        "via",
        "x-original-url",
        "x-real-ip",
        "x-request-id",
        "x-rewrite-url",
    )
)
"""They have a meaning of their own in a request."""
_NO_NAME = "must have the name of a field, such as X-Robots-Tag, without spaces and colon"


def edited_fields(edits: HeaderEdits, path: Path, found: Findings, response: bool) -> None:
    """What `set`, `add` and `remove` may not do."""
    message_fields(edits.set, (*path, "set"), found, host=not response)
    message_fields(edits.add, (*path, "add"), found, host=False)
    for position, name in enumerate(edits.remove):
        if not TOKEN.fullmatch(name):
            found.add((*path, "remove", position), _NO_NAME)
        _sent_name(name, (*path, "remove", position), found, host=False)


def message_fields(fields: Mapping[str, str], path: Path, found: Findings, host: bool) -> None:
    """Fields that will be sent; `host` allows to set Host."""
    matched_fields(fields, path, found)
    for name in fields:
        _sent_name(name, (*path, name), found, host)


def matched_fields(fields: Mapping[str, str], path: Path, found: Findings) -> None:
    """Names and values of fields."""
    seen: set[str] = set()
    for name, value in fields.items():
        if not TOKEN.fullmatch(name):
            found.add((*path, name), _NO_NAME)
        if name.lower() in seen:
            found.add((*path, name), "is there twice, as field names do not tell small letters from capitals")
        seen.add(name.lower())
        if not FIELD_VALUE.fullmatch(value):
            # The value may be a credential, so it is not repeated.
            found.add((*path, name), "must be one line of Latin-1 text without control characters")


def own_field(name: str, path: Path, found: Findings) -> None:
    """The name of a field that only the balancer may send, so that no other meaning may hang on it."""
    lower = name.lower()
    if not TOKEN.fullmatch(name) or "_" in name:
        found.add(
            path, "must have the name of a field, such as X-Client-Subject, without spaces, colon and _", came=True
        )
    elif lower in _MEANT or lower in OURS or lower.startswith("x-forwarded-"):
        found.add(path, f"must be a field of its own: {name} means something else already", came=False)


def _sent_name(name: str, path: Path, found: Findings, host: bool) -> None:
    if name.lower() in OURS:
        found.add(path, f"must leave {name} alone: it belongs to one connection or frames the message")
    elif name.lower() == "host" and not host:
        found.add(path, "must leave Host alone; a request's may only be `set`")
