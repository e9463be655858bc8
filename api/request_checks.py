"""What a request must be before its key counts: meant for this listener, plainly written, from no foreign web page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

from aiohttp import HttpVersion10, HttpVersion11, web

from api.body import too_large
from api.problems import NOWHERE, Problem
from balancer.guards.address import parsed

LIMIT = 1024 * 1024
"""Bytes of a body; the largest configuration file anybody has is far below."""
SAFE = frozenset(("GET", "HEAD"))
"""Methods that change nothing here."""
LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))
_HOST = re.compile(r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:\[\]]+))(?::[0-9]{1,5})?")
_NEVER = re.compile(r"[\x00-\x1f\x7f/\\;]")
"""What no name in a path has, whichever way it is written: proxies disagree about what it means."""


def check_size(
    request: web.Request, limit: int = LIMIT, refusal: Callable[[int, int | None], Problem] = too_large
) -> None:
    """Refuse a body by what it says of its length, before its key is looked at; others are counted when read."""
    if request.version not in (HttpVersion10, HttpVersion11):
        raise Problem(400, "this is an HTTP/1.1 server", headers={"Connection": "close"})
    length = request.content_length
    if length is not None and length > limit:
        raise refusal(limit, length)


def once(request: web.Request, name: str) -> str | None:
    """The value of a field that decides something; 400 when it is there twice, as others may have read the other."""
    values = request.headers.getall(name, ())
    if len(values) > 1:
        raise Problem(400, f"{name} must be there once, not {len(values)} times")
    return values[0] if values else None


def check_host(request: web.Request, names: Iterable[str]) -> None:
    """Refuse names that nobody gave this listener.

    A web page may point its own name at 127.0.0.1 and then read from it as from its own site (DNS rebinding);
    it can not make the browser send another name, or an address, in `Host`.
    """
    host = once(request, "Host")
    if not host:
        raise Problem(400, "the request has no Host")
    name = bare(host)
    if name is not None and (name in LOCAL or name == own_address(request) or name in map(_named, names)):
        return
    raise Problem(421, f"this listener does not go by the name {host[:80]!r}: add it to admin.hosts")


def check_browser(request: web.Request, *, page: bool = False) -> None:
    """Refuse what a page of another site makes a browser send; there are no CORS headers either.

    Whatever has one of the fields that browsers send is taken for one, and has to show that it is of this site. A
    `page` and what it consists of tell nothing that is not everybody's: whoever likes may link to the one, and our own
    pages load the others as styles and pictures are loaded.
    """
    origin, site, mode = (once(request, name) for name in ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"))
    cookie = once(request, "Cookie")
    safe = request.method in SAFE
    if "Sec-WebSocket-Key" in request.headers or "websocket" in request.headers.get("Upgrade", "").lower():
        raise Problem(403, "there are no WebSockets here: a page of any site could open one")
    if page and safe and mode is not None and mode.lower() == "navigate" and origin is None:
        return
    if mode is not None and mode.lower() not in ("cors", "navigate", "same-origin", *(("no-cors",) if page else ())):
        raise Problem(403, f"requests of Sec-Fetch-Mode {mode[:20]} are refused: their answers are not for scripts")
    if origin is not None and origin.lower() != f"{request.scheme}://{request.headers.get('Host', '')}".lower():
        raise Problem(403, "requests from web pages of other origins are refused")
    if site is not None and site.lower() != "same-origin" and not (safe and site.lower() == "none"):
        raise Problem(403, "requests from web pages of other sites are refused")
    if cookie is not None and not safe and origin is None and site is None:
        raise Problem(403, "a change that comes with a cookie must say by Origin which page it is from")


def check_path(request: web.Request, *, tail: bool = False) -> None:
    """404 for a path that is not written as the document has it. With `tail`, its last name goes on to the end.

    Nothing is allowed by the beginning of a path here. But whoever stands before this listener may do so, and is not
    to be told one path while this side reads another: no empty segment, no dots, and no letter in disguise.
    """
    target = request.raw_path
    if not target.startswith("/"):
        raise Problem(400, "the request must name a path, such as /livez, and no whole URL")
    written = target.partition("?")[0].split("/")[1:]
    resource = request.match_info.route.resource
    known = resource.canonical.split("/")[1:] if resource is not None else written
    if tail:
        # There, clients made from the document write a slash as %2F, and people as it is.
        rest = [name for piece in written[len(known) - 1 :] for name in re.split("%2[Ff]", piece)]
        written = [*written[: len(known) - 1], *rest]
        known = [*known, *known[-1:] * (len(written) - len(known))]
    for piece, own in zip(written, known, strict=False):
        name = unquote(piece)
        plain = piece == own if not own.startswith("{") else name not in ("", ".", "..") and not _NEVER.search(name)
        if not plain:
            raise Problem(404, NOWHERE)


def bare(host: str) -> str | None:
    """The name or address in a Host field: no port, no brackets, lower case; None when it is not of that form."""
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    literal: str | None = found["literal"]
    return plain_address(literal) if literal is not None else found["name"].removesuffix(".").lower()


def plain_address(text: str) -> str | None:
    """An address in its one spelling, an IPv4 address in IPv6's clothes as itself; None when it is none."""
    address = parsed(text)
    return str(address) if address is not None else None


def _named(name: str) -> str | None:
    """A name of the configuration, as `bare` would have it."""
    return plain_address(name) or bare(name)


def own_address(request: web.Request) -> str | None:
    """The address that the connection came to; an address in `Host` can not be another site's name."""
    transport = request.transport
    name = transport.get_extra_info("sockname") if transport is not None else None
    return plain_address(str(name[0])) if isinstance(name, tuple) else None
