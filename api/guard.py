"""What a request must be before its key counts: meant for this listener, and from no foreign web page."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address

from aiohttp import web

from api.body import too_large
from api.problems import Problem

LIMIT = 1024 * 1024
"""Bytes of a body; the largest configuration file anybody has is far below."""
_HOST = re.compile(r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:\[\]]+))(?::[0-9]{1,5})?")
LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))


def check_size(request: web.Request) -> None:
    """Refuse a body by what it says of its length, before its key is looked at; others are counted when read."""
    length = request.content_length
    if length is not None and length > LIMIT:
        raise too_large(LIMIT, length)


def check_host(request: web.Request, names: Collection[str]) -> None:
    """Refuse names that nobody gave this listener.

    A web page may point its own name at 127.0.0.1 and then read from it as from its own site (DNS rebinding);
    it can not make the browser send another name, or an address, in `Host`.
    """
    host = request.headers.get("Host")
    if not host:
        raise Problem(400, "the request has no Host")
    name = bare(host)
    if name in LOCAL or name in names or host.lower() in names or (name is not None and name == _own_address(request)):
        return
    raise Problem(421, f"this listener does not go by the name {host[:80]!r}: add it to admin.hosts")


def check_browser(request: web.Request) -> None:
    """Refuse what a page of another site makes a browser send; there are no CORS headers either."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"{request.scheme}://{request.headers.get('Host', '')}".lower():
        raise Problem(403, "requests from web pages of other origins are refused")
    if request.headers.get("Sec-Fetch-Site", "none").lower() not in ("none", "same-origin"):
        raise Problem(403, "requests from web pages of other sites are refused")


def bare(host: str) -> str | None:
    """The name in a Host field: no port, no brackets, lower case; None when it is not of that form."""
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    return (found["literal"] or found["name"].removesuffix(".")).lower()


def _own_address(request: web.Request) -> str | None:
    """The address that the connection came to; an address in `Host` can not be another site's name."""
    transport = request.transport
    name = transport.get_extra_info("sockname") if transport is not None else None
    if not isinstance(name, tuple):
        return None
    address = ip_address(str(name[0]).partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)
