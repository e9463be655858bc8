"""Fields that make browsers careful, for answers that do not have them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from balancer.http1.fields import FORWARDED_PROTO, Field
from balancer.http1.head import RequestHead
from config.protection import SecurityHeaders

HSTS: Final = b"strict-transport-security"
_NAMES: Final = {
    "hsts": "Strict-Transport-Security",
    "content_type_options": "X-Content-Type-Options",
    "frame_options": "X-Frame-Options",
    "referrer_policy": "Referrer-Policy",
    "permissions_policy": "Permissions-Policy",
    "content_security_policy": "Content-Security-Policy",
    "cross_origin_opener_policy": "Cross-Origin-Opener-Policy",
}
UNCHANGED: Final = 304
"""What a 304 says replaces what the client has (RFC 9111 section 3.2): a default there could take the place of what the
server had said of the very same page."""


class Careful:
    """What `security_headers` says, as lines. A server's own word is never touched."""

    __slots__ = ("_all", "_all_secure", "_lines", "_names")

    def __init__(self, settings: SecurityHeaders, edited: Collection[bytes]) -> None:
        """`edited` are the lower-cased names of which the operator's header edits say something."""
        told = [(name, value) for key, name in _NAMES.items() if (value := getattr(settings, key)) is not None]
        lines = [(name.lower().encode(), f"{name}: {value}\r\n".encode("ascii")) for name, value in told]
        self._lines = tuple(pair for pair in lines if pair[0] not in edited)
        self._names = frozenset(name for name, _ in self._lines)
        self._all_secure = b"".join([line for _, line in self._lines])
        self._all = b"".join([line for name, line in self._lines if name != HSTS])

    def lines(self, fields: Iterable[Field], *, secure: bool) -> bytes:
        """Those that an answer with these fields lacks. HSTS is for https alone (RFC 6797 section 7.2)."""
        names = self._names
        there = [field[0] for field in fields if field[0] in names]
        if not there:
            return self._all_secure if secure else self._all
        return self._but(there, secure=secure)

    def beside(self, lines: bytes, *, secure: bool) -> bytes:
        """The same for an answer of the balancer's own, of which there are whole lines."""
        return self._but({line.partition(b":")[0].lower() for line in lines.split(b"\r\n")}, secure=secure)

    def _but(self, there: Collection[bytes], *, secure: bool) -> bytes:
        return b"".join([line for name, line in self._lines if name not in there and (secure or name != HSTS)])


def is_secure(head: RequestHead, scheme: bytes, *, trusted: bool) -> bool:
    """Whether the client came by https, to us or to a trusted proxy before us."""
    if trusted:
        for field in head.common.special:
            if field[3] == FORWARDED_PROTO:
                return field[1] == b"https"
    return scheme == b"https"
