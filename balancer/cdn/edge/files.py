"""Files of the local CDN as clients get them: whole, in part, or with the word that they have them already.

Only the balancer asks here, with its cache in front; what is said in Cache-Control and in tags is said to that cache.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from time import time  # noqa: TID251  # what HTTP dates are compared with
from typing import Final
from urllib.parse import quote

import structlog
from aiohttp import web
from structlog.typing import FilteringBoundLogger

from balancer.cdn.edge.app import told
from balancer.cdn.edge.conditions import Part, Validators, part
from balancer.cdn.local import kinds, names
from balancer.cdn.local.counts import Counts
from balancer.cdn.local.facts import Facts
from balancer.cdn.local.folder import Opened
from balancer.cdn.local.guess import guess
from balancer.cdn.local.store import Store

PIECE: Final = 256 * 1024
"""Bytes that are read at once."""
_SANDBOX: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A picture with scripts in it runs none, also when it is opened by itself."""
NOWHERE: Final = "there is no file of this name"
_METHODS: Final = "GET, HEAD"
_ASKED: Final = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range")

log: FilteringBoundLogger = structlog.get_logger("balancer.cdn")


class Files:
    """GET and HEAD of what is below a path."""

    def __init__(
        self,
        store: Store,
        path: str,
        counts: Counts,
        tag_field: str = "Surrogate-Key",
        wall: Callable[[], float] = time,
    ) -> None:
        """`path` is what the paths of their URLs begin with, with a slash at both ends."""
        self._store = store
        self._path = path
        self._counts = counts
        self._tag_field = tag_field
        self._wall = wall

    def covers(self, path: str) -> bool:
        """Whether a raw path is one of these."""
        return path.startswith(self._path)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The answer, counted."""
        path = request.rel_url.raw_path[len(self._path) :]
        if request.method not in ("GET", "HEAD"):
            return self._refused(405, f"files are read with {_METHODS}", {"Allow": _METHODS})
        if not self.covers(request.rel_url.raw_path) or not names.good(path):
            return self._refused(404, NOWHERE)
        try:
            opened = await self._store.open(path)
            if opened is None:
                return self._refused(404, NOWHERE)
            try:
                return await self._answer(request, opened)
            finally:
                self._store.release(opened)
        except ConnectionError:
            raise
        except OSError as error:  # of the disk: no descriptors, no rights, a fault
            log.warning("a file can not be read", path=path, reason=error.strerror or str(error))
            return self._refused(503, "the file can not be read at the moment", {"Retry-After": "1"})

    async def _answer(self, request: web.Request, opened: Opened) -> web.StreamResponse:
        facts = opened.facts or await self._store.known(opened)
        if facts is None:
            head = await self._store.reading(opened.read, 0, kinds.HEAD)
            facts = guess(opened.path, head, "")
        held = Validators(_etag(opened, facts), opened.modified_ns // 10**9)
        asked = {name: ", ".join(request.headers.getall(name)) for name in _ASKED if name in request.headers}
        given = part(asked, request.method, held, opened.size, self._wall())
        fields = self._fields(opened, facts, held)
        if given.status in (412, 416):
            self._counts.answered(given.status, 0, opened.path)
            if given.status == 412:
                return told(412, f"the file is another one than was asked for; its ETag is {held.etag.decode()}")
            return told(416, f"the file has {opened.size} bytes", {"Content-Range": f"bytes */{opened.size}"})
        if given.status == 206:
            fields["Content-Range"] = f"bytes {given.first}-{given.first + given.size - 1}/{opened.size}"
        if given.status == 304 or request.method == "HEAD":
            self._counts.answered(given.status, 0, opened.path)
            return _bodiless(given, facts, fields)
        fields["Content-Type"] = facts.content_type
        if given.size <= PIECE:
            body = await self._store.reading(opened.read, given.first, given.size)
            if len(body) == given.size:
                self._counts.answered(given.status, given.size, opened.path)
                return web.Response(status=given.status, headers=fields, body=body)
        return await self._stream(request, opened, given, fields)

    async def _stream(
        self, request: web.Request, opened: Opened, given: Part, fields: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=given.status, headers=fields)
        response.content_length = given.size
        sent = 0
        try:
            await response.prepare(request)
            while sent < given.size:
                most = min(PIECE, given.size - sent)
                piece = await self._store.reading(opened.read, given.first + sent, most)
                if not piece:  # it was cut short meanwhile; the length is promised already
                    raise ConnectionResetError(f"{opened.path} has become shorter while it was sent")
                await response.write(piece)
                sent += len(piece)
            await response.write_eof()
        finally:
            self._counts.answered(given.status, sent, opened.path)
        return response

    def _fields(self, opened: Opened, facts: Facts, held: Validators) -> dict[str, str]:
        fields = {
            "ETag": held.etag.decode(),
            "Last-Modified": formatdate(held.modified, usegmt=True),
            "Cache-Control": facts.cache_control,
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
            self._tag_field: " ".join((f"file:{opened.path}", *facts.tags)),
        }
        if facts.content_type == kinds.SVG:
            fields["Content-Security-Policy"] = _SANDBOX
        elif not kinds.inline(facts.content_type):
            fields["Content-Security-Policy"] = _SANDBOX
            fields["Content-Disposition"] = _saved_as(facts.name, opened.path)
        return fields

    def _refused(self, status: int, reason: str, fields: dict[str, str] | None = None) -> web.Response:
        self._counts.answered(status, 0, None)
        return told(status, reason, fields)


def _bodiless(given: Part, facts: Facts, fields: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(status=given.status, headers=fields)
    if given.status != 304:
        response.headers["Content-Type"] = facts.content_type
        response.content_length = given.size
    return response


def _etag(opened: Opened, facts: Facts) -> bytes:
    """Of the content, where that is known; of size and time else, both of which change with each writing."""
    if facts.sha256_hex:
        return b'"%b"' % facts.sha256_hex[:32].encode()
    return b'"%x-%x"' % (opened.size, opened.modified_ns)


def _saved_as(name: str, path: str) -> str:
    """RFC 6266: with a name for those who know no other letters, and the one that its owner gave."""
    plain = names.name_of(path)
    if name == plain:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
