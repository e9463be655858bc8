"""What a server is told in the place of what a client said: fields that come, and credentials that go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from balancer.http1.cookies import alike, places
from balancer.http1.fields import PLAIN, Field, usual
from balancer.http1.head import RequestFields, RequestHead

_COOKIE: Final = b"cookie"


class Substitution:
    """One such change, made once for as many requests as it is for.

    A client says nothing in the fields that are put in, nor in those that servers could take for them, and it cannot
    have them removed on the way by naming them in `Connection`.
    """

    __slots__ = ("_cookies", "_fields", "_gone", "_ours")

    def __init__(self, fields: Sequence[Field] = (), gone: Iterable[bytes] = (), cookies: Iterable[bytes] = ()) -> None:
        """`gone` are lower-cased names that are left out, `cookies` are names of cookies that are."""
        self._fields = tuple(fields)
        self._ours = frozenset(usual(field.name) for field in fields)
        self._gone = self._ours | {usual(name) for name in gone}
        self._cookies = frozenset(alike(name) for name in cookies)

    def without(self, gone: Iterable[bytes], cookies: Iterable[bytes]) -> Substitution:
        """The same that leaves out more."""
        made = Substitution(self._fields, gone, cookies)
        made._gone |= self._gone
        made._cookies |= self._cookies
        return made

    def applied(self, head: RequestHead) -> RequestHead:
        """The request as the route has it from here on."""
        before = head.common
        known = before.substituted
        if isinstance(known, tuple) and known[0] is self:
            common = known[1]
        else:
            common = self._substituted(before)
            before.substituted = (self, common)
        made = RequestHead(head.method, head.target, head.minor, common)
        made.host = head.host
        return made

    def _substituted(self, before: RequestFields) -> RequestFields:
        gone = self._gone
        fields = [field for field in before.fields if field[5] not in gone]
        if self._cookies:
            fields = [one for field in fields if (one := self._without_cookie(field)) is not None]
        special = [field for field in before.special if field[5] not in gone]
        common = RequestFields(b"", before.minor, [*fields, *self._fields], special)
        common.host = before.host
        common.length = before.length
        common.chunked = before.chunked
        common.has_body = before.has_body
        common.persistent = before.persistent
        common.expects_continue = before.expects_continue
        common.upgrade = before.upgrade
        common.names = [name for name in before.names if usual(name) not in self._ours]
        common.user_agent = before.user_agent
        common.via = before.via
        common.authenticated = True
        return common

    def _without_cookie(self, field: Field) -> Field | None:
        """The field without those cookies, or None if there is no other in it."""
        if field[5] != _COOKIE:
            return field
        parts = field[1].split(b";")
        kept = [part for part in parts if not any(places(part, cookie) for cookie in self._cookies)]
        if len(kept) == len(parts):
            return field
        value = b";".join(kept).strip(b" \t")
        line = b"Cookie: %b\r\n" % value
        return Field(_COOKIE, value, line, PLAIN, line, _COOKIE) if value else None
