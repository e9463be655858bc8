"""What of a request's fields is believed: before a route, a hash or a server gets to see them."""

from __future__ import annotations

from balancer.http1.fields import FORWARDED, FORWARDED_FOR, FORWARDED_OTHER, HOP, Field
from balancer.http1.head import RequestFields


def vet(
    common: RequestFields, *, trusted: bool, reserved: frozenset[bytes], vouched: tuple[bytes, bytes] | None
) -> None:
    """Take out what this client may not say, and put in what the balancer says of it.

    Who is not `trusted` says nothing of the way it came. `reserved` are names, as `fields.usual` gives them, in which
    this client may say nothing; `vouched` is a field that is the balancer's own. Routes that match on such a field then
    match on what the server will be told. What is put in is not sent on from here (owner: http1.outgoing).
    """
    if not trusted and any(_tells_the_way(field) for field in common.special):
        common.special = [field for field in common.special if not _tells_the_way(field)]
        common.fields = [field for field in common.fields if not _tells_the_way(field)]
    if reserved:
        common.special = unreserved(common.special, reserved)
        common.fields = unreserved(common.fields, reserved)
    if vouched is not None:
        name, value = vouched
        lower = name.lower()
        common.fields = [*common.fields, Field(lower, value, b"", HOP, b"%b: %b\r\n" % vouched, lower)]


def unreserved(fields: list[Field], reserved: frozenset[bytes]) -> list[Field]:
    """These without the reserved ones, and without those that servers would take for them."""
    return [field for field in fields if field.alike not in reserved]


def _tells_the_way(field: Field) -> bool:
    return FORWARDED_FOR <= field.kind <= FORWARDED or field.kind == FORWARDED_OTHER
