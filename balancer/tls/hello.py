"""The name that a TLS client asks for, read from its first message before OpenSSL sees it.

OpenSSL's own call for this cannot be had without a traceback on standard error for every name that is not ASCII, which
anybody could have written there as often as they like. What is read here only chooses among certificates: whatever is
wrong with a message is left to OpenSSL to refuse.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = 16 * 1024  # bytes that are waited for; a real one has at most a few thousand
MOST_RECORDS: Final = 8  # a real one has one: with no bound, each further byte would be the more work the more came
_RECORD_HEADER: Final = 5
_HANDSHAKE: Final = 0x16
_CLIENT_HELLO: Final = 1
_BEFORE_SESSION: Final = 2 + 32  # the version and the random bytes (RFC 8446 section 4.1.2)
_SERVER_NAME: Final = 0  # of the extensions (RFC 6066 section 3)
_HOST_NAME: Final = 0  # of the kinds of names


def server_name(data: bytes) -> bytes | None:
    """The name in lower case, empty when there is none to be found; None when more has to come first."""
    message = _message(data)
    if message is None:
        return None if len(data) < LONGEST else b""
    try:
        return _name(message).lower()
    except IndexError:
        return b""


def _message(data: bytes) -> bytes | None:
    """The first handshake message, put together from its records; None as long as some of it is missing."""
    at, message = 0, b""
    for _ in range(MOST_RECORDS):
        header = data[at : at + _RECORD_HEADER]
        if header and header[0] != _HANDSHAKE:
            return b""
        if len(header) < _RECORD_HEADER:
            return None
        end = at + _RECORD_HEADER + int.from_bytes(header[3:5], "big")
        message += data[at + _RECORD_HEADER : end]
        if message and message[0] != _CLIENT_HELLO:
            return b""
        if len(message) >= 4 and len(message) - 4 >= (length := int.from_bytes(message[1:4], "big")):
            return message[4 : 4 + length]
        if end > len(data):
            return None
        if end == at + _RECORD_HEADER:
            return b""  # an empty record, which a handshake may not have (RFC 8446 section 5.1)
        at = end
    return b""


def _name(message: bytes) -> bytes:
    """Walk over what comes before the extensions, and over those before the name; IndexError if there is no more."""
    at = _BEFORE_SESSION
    at += 1 + message[at]  # the session
    at += 2 + _number(message, at)  # the suites
    at += 1 + message[at]  # the ways of compression
    end = at + 2 + _number(message, at)
    at += 2
    while at < end:
        kind, size = _number(message, at), _number(message, at + 2)
        at += 4
        if kind == _SERVER_NAME:
            if message[at + 2] != _HOST_NAME:
                return b""
            length = _number(message, at + 3)
            return message[at + 5 : at + 5 + length]
        at += size
    return b""


def _number(message: bytes, at: int) -> int:
    return message[at] << 8 | message[at + 1]
