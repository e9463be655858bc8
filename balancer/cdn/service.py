"""The CDN as the rest of the balancer sees it: one interface over whichever provider is configured.

The mission's names and these: uploadFile `upload_file`, deleteFile `delete_file`, purgeCache `purge_cache`, getStats
`get_stats`, optimizeImage `optimize_image`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from secrets import token_bytes
from socket import socket
from time import monotonic
from time import time as wall_time  # noqa: TID251  # tickets are for people, and for the next process
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from balancer.cdn.beginning import beginning
from balancer.cdn.calls import Calls
from balancer.cdn.checkup import Verdict
from balancer.cdn.edge.app import Handler, make_edge, told
from balancer.cdn.edge.door import Door
from balancer.cdn.errors import CdnError, ConfigError, Invalid, NotFound, TooLarge, Unavailable, Unsupported
from balancer.cdn.images.options import checked
from balancer.cdn.images.studio import Studio
from balancer.cdn.installation import Around, Installation
from balancer.cdn.lacking import lacking
from balancer.cdn.local import kinds, names
from balancer.cdn.local.figures import Front
from balancer.cdn.local.provider import LocalProvider
from balancer.cdn.paths import is_path, path_of
from balancer.cdn.provider import CdnProvider
from balancer.cdn.purging.desk import DeskState
from balancer.cdn.purging.journal import Journal
from balancer.cdn.purging.orders import Clocks, Orders, OwnCache
from balancer.cdn.purging.own import Places, purges
from balancer.cdn.purging.retries import Pace
from balancer.cdn.purging.ticket import PurgeOrder, Ticket
from balancer.cdn.registry import make_provider
from balancer.cdn.types import (
    Capability,
    CdnStats,
    FilePage,
    Fit,
    Format,
    ImageOptions,
    Kind,
    LimitState,
    OptimizedImage,
    ProviderStatus,
    PurgeKind,
    PurgeTarget,
    RenderedImage,
    StoredFile,
    UploadRequest,
)
from balancer.telemetry.cdn_report import STATES, CdnReport, PicturesReport
from config.cdn import Cdn

log = structlog.get_logger("balancer.cdn")
AGAIN = 10.0
"""Seconds between two attempts to start a provider that could not be started."""
PATIENCE = 5.0
"""Seconds that a reload, or the end, waits for a disk or a provider."""
STARTING = "the CDN is being started: ask again in a moment"
MOST_LEFT_OVER = 1000
OURS = "the balancer"
"""The author of purges that nobody has ordered."""
JOURNAL = "cdn-purges.db"
"""Where tickets of purges are kept, in the folder of `admin.state`."""
OFF = "no CDN is configured: write `cdn: true` for the one that the balancer is itself, or set CDN_PROVIDER"


class Removed(NamedTuple):
    """What became of a file that was to be removed."""

    existed: bool
    ticket: str | None
    """Of its purge; None where that is done, or could not be ordered."""


class CdnService:
    """Files, purges, pictures and figures, by the provider of the configuration in force.

    Every method may raise `CdnError`; while no CDN is configured, `ConfigError` with `OFF`.
    """

    def __init__(
        self,
        state: Path,
        own: OwnCache,
        *,
        make: Callable[[Cdn], CdnProvider] = make_provider,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = wall_time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        common: bytes = b"",
    ) -> None:
        """`state` is the folder for what has to survive a restart. `make` makes the provider of some settings. `common`
        is what several machines all know."""
        self._state = state
        self._common = common
        self._own = own
        self.orders = Orders(Journal(state / JOURNAL, wall), own, Clocks(clock, wall, Random(token_bytes(16))))
        """The purges, and their figures."""
        self._make = make
        self._clock = clock
        self._pause = pause
        self._settings: Cdn | None = None
        self._installed: Installation | None = None
        self._failure: CdnError | None = None
        self._uploads: dict[str, Counter[str]] = {}  # by provider
        self._upload_bytes: Counter[str] = Counter()
        self._left_over: dict[str, str | None] = {}  # by local file: the ticket of what a level of the cache still has
        self._removing: set[asyncio.Task[Removed]] = set()
        self.trusts: Callable[[str], bool] = lambda address: False
        """Knows the trusted proxies (owner: the application)."""
        self.front: Callable[[], Front | None] | None = None
        """Tells what the balancer counted on the way to the local files (owner: the application)."""
        self._becoming: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._door = Door(lambda: make_edge(self._handler))

    # Life.

    async def change(self, settings: Cdn | None) -> None:
        """Take over what is configured now: at once, or after `PATIENCE` seconds in the background, as a disk may hang.

        What is wrong is told in `status` and in the log, and not raised; it is tried again until it starts.
        """
        if settings == self._settings and self._failure is None:
            return
        self._settings, self._failure = settings, None
        before, tried = self._becoming, asyncio.Event()
        if before is not None:
            before.cancel()
        self._becoming = asyncio.get_running_loop().create_task(self._become(settings, before, tried), name="cdn")
        self._becoming.add_done_callback(_note_end)
        try:
            async with asyncio.timeout(PATIENCE):
                await tried.wait()
        except TimeoutError:
            log.warning("cdn_takes_long", effect="it goes on in the background")

    async def _become(self, settings: Cdn | None, before: asyncio.Task[None] | None, tried: asyncio.Event) -> None:
        try:
            if before is not None:
                await asyncio.wait([before], timeout=PATIENCE)
            if settings is None:
                await self._swap(None)
                await self._door.close()
                return
            await self._door.open()
            while not await self._try(settings):
                tried.set()
                if isinstance(self._failure, ConfigError):
                    return
                await self._pause(AGAIN)
        finally:
            tried.set()

    async def _try(self, settings: Cdn) -> bool:
        """Whether these settings are at work now."""
        before = self._failure
        try:
            installed = Installation(settings, self._make(settings), self._clock)
            await installed.open(Around(self._state, self._common, self.front, self.trusts))
        except CdnError as error:
            failure = error
            if str(error) != str(before):
                log.error("cdn_failed", provider=settings.provider, reason=str(error))
        except Exception as error:  # a mistake of ours here is no reason to be without a proxy
            failure = Unavailable(f"the CDN could not be started ({type(error).__name__}); the log says why")
            if str(failure) != str(before):
                log.exception("cdn_failed", provider=settings.provider)
        else:
            if before is not None:
                log.info("cdn_started", provider=settings.provider)
            await self._swap(installed)
            return True
        await self._swap(None)
        self._failure = failure.with_traceback(None)
        return False

    async def _swap(self, installed: Installation | None) -> None:
        """Let a new one take over. What the old one has under way, it brings to its end."""
        await self.orders.stop()
        old, self._installed = self._installed, installed
        if old is not None:
            retiring = asyncio.get_running_loop().create_task(old.close(), name="cdn-retiring")
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
        if installed is not None:
            self._failure = None
            settings, studio = installed.settings, installed.studio
            if installed.local is not None:
                installed.local.store.changed = self._forget_here
            forget = studio.forget if studio is not None else None
            await self.orders.start(installed.provider, _pace(settings), _places(settings), forget)

    async def close(self) -> None:
        """End everything; what hangs at that is left behind after `PATIENCE` seconds."""
        await self.change(None)
        await self.orders.close()
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=PATIENCE)

    def connect(self) -> socket:
        """A connection to what answers below the CDN's paths."""
        return self._door.connect()

    def _handler(self, path: str) -> Handler | None:
        installed = self._installed
        return _not_ready if installed is None else installed.handler(path)

    # Asking.

    @property
    def settings(self) -> Cdn | None:
        """None: there is no CDN."""
        return self._settings

    @property
    def _at_work(self) -> Installation:
        if self._installed is not None:
            return self._installed
        if self._settings is None:
            raise ConfigError(OFF)
        if self._failure is not None:
            raise copy(self._failure)  # each their own: a traceback grows with every raise
        raise Unavailable(STARTING, retry_after_s=1.0)

    @property
    def provider(self) -> CdnProvider:
        """The provider in force. ConfigError: there is none; else why it could not be started, so far."""
        return self._at_work.provider

    @property
    def _studio(self) -> Studio | None:
        return self._installed.studio if self._installed is not None else None

    async def status(self) -> ProviderStatus:
        """How the provider is, by its own word: not older than a minute, and asked once for all who ask."""
        installed = self._at_work
        try:
            return await installed.checkup.status()
        except asyncio.CancelledError:
            if self._installed is installed:
                raise
            return await self.status()  # it was another provider that was asked

    async def last_day(self) -> CdnStats | None:
        """The traffic of the last 24 hours, as told lately; None: nobody tells. Waits for seconds at most."""
        return await self._installed.last_day.stats() if self._installed is not None else None

    def look(self) -> Verdict | None:
        """How the provider is as far as that is known, without waiting for anybody; None: there is no CDN."""
        if self._settings is None:
            return None
        if self._installed is None:
            return Verdict(False, str(self._failure) if self._failure is not None else STARTING)
        return self._installed.checkup.look()

    async def report(self) -> CdnReport | None:
        """Everything that is counted; None: there is no CDN."""
        settings, installed, known = self._settings, self._installed, self.look()
        if settings is None or known is None:
            return None
        counts, desk = self.orders.counts, self.orders.desk
        totals = await installed.totals() if installed is not None else None
        calls = getattr(installed.provider, "calls", None) if installed is not None else None
        return CdnReport(
            provider=settings.provider,
            up=known.ok,
            reason=known.reason,
            calls=dict(calls.results) if isinstance(calls, Calls) else {},
            seconds=dict(calls.seconds) if isinstance(calls, Calls) else {},
            uploads=dict(self._uploads.get(settings.provider, {})),
            upload_bytes=self._upload_bytes[settings.provider],
            files=totals[0] if totals is not None else None,
            file_bytes=totals[1] if totals is not None else None,
            room=totals[2] if totals is not None else None,
            purges={state: counts[state] for state in STATES},
            tickets=desk.tickets if desk is not None else 0,
            purge_calls=desk.calls if desk is not None else 0,
            purge_retries=counts["retried"],
            breaker=desk.breaker if desk is not None else None,
            breaker_opened=desk.opened if desk is not None else 0,
            pictures=_of_pictures(self._studio) if self._studio is not None else None,
        )

    def limits(self) -> Mapping[str, LimitState]:
        """The provider's rate limits by the kind of call, as they are counted here; none without a provider."""
        if self._installed is None:
            return {}
        desk = self.orders.desk
        return desk.limits if desk is not None else self._installed.provider.limits()

    async def get_stats(self, from_: datetime, to: datetime, interval_s: int = 3600) -> CdnStats:
        """Traffic of a period."""
        self._need(Capability.STATS, "statistics")
        return await self.provider.stats(from_, to, interval_s)

    # Purges.

    async def purge_cache(self, order: PurgeOrder | Sequence[str], *, author: str = "", key: str = "") -> Ticket:
        """Purge on every level, the balancer's own cache first; a list is of patterns. What has become of it when this
        returns, the ticket says; what goes on after that, `ticket` does.

        With an idempotency `key` that the author has used within a day, it is the ticket of that time. BadOrder:
        nothing was purged, and why.
        """
        self.provider  # noqa: B018  # ConfigError
        wanted = order if isinstance(order, PurgeOrder) else PurgeOrder(tuple(order))
        if any(map(is_path, wanted.patterns)):
            # As uploads and lists tell it: what is cached of it is below its URL.
            url = self.provider.public_url
            wanted = replace(wanted, patterns=tuple(url(one) if is_path(one) else one for one in wanted.patterns))
        return await self.orders.place(wanted, author=author, key=key)

    async def ticket(self, ticket: str) -> Ticket:
        """How far one is. NotFound: there is none of that name."""
        return await self.orders.find(ticket)

    async def tickets(self, limit: int = 100, before: str | None = None) -> list[Ticket]:
        """The newest first, from the one after `before` on."""
        return await self.orders.latest(limit, before)

    async def purge_again(self, ticket: str) -> Ticket:
        """Try anew what has failed of one. Conflict: nothing has."""
        self.provider  # noqa: B018  # ConfigError
        return await self.orders.again(ticket)

    @property
    def desk(self) -> DeskState | None:
        """What waits for the provider, and how it is treated; None: there is no CDN but the balancer."""
        return self.orders.desk

    # Files.

    async def upload_file(
        self,
        source: Path | bytes | AsyncIterator[bytes],
        name: str,
        kind: Kind | None = None,
        *,
        content_type: str | None = None,
        tags: Sequence[str] = (),
        overwrite: bool = False,
        size_bytes: int | None = None,
        sha256_hex: str | None = None,
    ) -> StoredFile:
        """Store a file, of the kind that its bytes are unless it is said. A path is below one of `cdn.upload_from`."""
        self._need(Capability.UPLOAD, "uploads")
        assert self._settings is not None  # as there is a provider
        if isinstance(source, Path):
            source = await asyncio.to_thread(_permitted, source, self._settings.upload_from)
        if size_bytes is not None and size_bytes > self._settings.max_upload:
            raise TooLarge(
                f"the file has {size_bytes} bytes; at most {self._settings.max_upload} are taken (cdn.max_upload)"
            )
        if kind is None:
            head, source = await beginning(source, kinds.HEAD)
            kind = kinds.kind_of(names.split(name)[1], head, content_type)
        stored = await self._upload(
            UploadRequest(
                source,
                name,
                kind,
                content_type=content_type,
                tags=tuple(tags),
                size_bytes=size_bytes,
                sha256_hex=sha256_hex,
                overwrite=overwrite,
            )
        )
        if overwrite and stored.created:
            return replace(stored, ticket=await self._forget(stored.path))
        ticket = self._left_over.pop(stored.path, None)  # it was there, and has new tags
        return stored if ticket is None else replace(stored, ticket=ticket)

    async def _upload(self, request: UploadRequest) -> StoredFile:
        provider, result = self.provider, "failed"
        try:
            stored = await provider.upload(request)
            result = "created" if stored.created else "there"
        finally:
            self._uploads.setdefault(provider.name, Counter())[result] += 1
        self._upload_bytes[provider.name] += stored.size_bytes
        return stored

    async def delete_file(self, path: str) -> bool:
        """Remove a file, by its path or its URL, and all that caches have of it; whether it was there."""
        return (await self.remove_file(path)).existed

    async def remove_file(self, path: str) -> Removed:
        """The same, with the ticket of its purge."""
        self._need(Capability.DELETE, "deleting files")
        path = self._path(path)
        removing = asyncio.get_running_loop().create_task(self._remove(path))
        self._removing.add(removing)
        removing.add_done_callback(self._removing.discard)
        return await asyncio.shield(removing)  # what is removed is purged, whoever waits for it

    async def _remove(self, path: str) -> Removed:
        existed = await self.provider.delete(path)
        return Removed(existed, await self._forget(path))

    async def files(self, prefix: str = "", after: str | None = None, limit: int = 100) -> FilePage:
        """Those whose path begins with `prefix`."""
        self._need(Capability.LIST, "lists of files")
        return await self.provider.files(prefix, after, limit)

    async def _forget(self, path: str) -> str | None:
        """What caches have of a file that is gone, or another one now: they may keep it for a year. Its own purge is no
        reason for either to fail. The ticket; None where it is done when this returns, as the local files see to it."""
        installed = self._installed
        if installed is None or installed.local is not None:
            return self._left_over.pop(path, None)
        urls = _on_hosts(installed.provider.public_url(path), installed.settings.hosts)
        return await self._order(PurgeOrder(urls=urls), path)

    async def _order(self, order: PurgeOrder, path: str) -> str | None:
        try:
            return (await self.orders.place(order, author=OURS)).id
        except CdnError as error:
            log.error("cdn_file_not_purged", path=path, reason=str(error))
            return None

    async def _forget_here(self, path: str) -> None:
        """The same for a local file: done when this returns, and then without a ticket. Pictures of it have its tag."""
        settings = self._settings
        if settings is None:
            return
        if self._studio is not None:
            await self._studio.forget_files([path])
        places = Places(settings.local.path, settings.images.path if settings.images is not None else "")
        target = PurgeTarget(PurgeKind.URL, settings.local.path + path)
        receipts = await self._own.purge(purges([target], False, places))
        if not all(receipt.ok for receipt in receipts):
            # A level that is away may keep it for a year: it is tried once more, and whoever asked is told by a ticket.
            while len(self._left_over) >= MOST_LEFT_OVER:  # of uploads that failed after that
                del self._left_over[next(iter(self._left_over))]
            self._left_over[path] = await self._order(PurgeOrder(paths=(target.value,)), path)

    # Pictures.

    async def optimize_image(
        self,
        url: str,
        width: int | None = None,
        height: int | None = None,
        quality: int | None = None,
        format: Format = "auto",  # noqa: A002  # the word of everybody who asks
        *,
        fit: Fit = "contain",
    ) -> OptimizedImage:
        """Where a picture is in another size or form: at the provider, or here where that makes none.

        `url` is a URL, or the path of a file of the CDN.
        """
        options = checked(ImageOptions(width, height, quality, format, fit))
        url, provider = self._source(url), self.provider
        try:
            return provider.image_url(url, options)
        except Unsupported as error:
            if self._studio is None or isinstance(provider, LocalProvider):
                raise
            made = self._studio.url(url if "://" in url else provider.public_url(url.lstrip("/")), options)
            return replace(made, notes=(*made.notes, str(error)))

    async def render_image(
        self,
        url: str,
        width: int | None = None,
        height: int | None = None,
        quality: int | None = None,
        format: Format = "auto",  # noqa: A002  # the word of everybody who asks
        *,
        fit: Fit = "contain",
    ) -> RenderedImage:
        """Make a picture here and now, and tell what it became."""
        if self._studio is None:
            raise Unsupported("pictures are not made here: write `cdn.images: true`")
        return await self._studio.render(self._source(url), checked(ImageOptions(width, height, quality, format, fit)))

    def _path(self, text: str) -> str:
        """Of the file that is meant. Invalid: a URL that is no file's."""
        assert self._settings is not None  # as there is a provider
        host = urlsplit(self._settings.url).netloc.lower()
        hosts = {one.lower() for one in self._settings.hosts} | ({host} if host else set())
        return path_of(text, self.provider.public_url(""), hosts)

    def _source(self, url: str) -> str:
        """A URL of a file of the local provider by its path, whichever name the balancer was reached by."""
        settings = self._settings
        if settings is None or not isinstance(self.provider, LocalProvider) or "://" not in url:
            return url
        if settings.images is None or url.startswith(settings.images.sources):
            return url
        try:
            return self._path(url.partition("?")[0])
        except Invalid:
            return url  # whether it is fetched from, others judge

    def _need(self, capability: Capability, what: str) -> None:
        provider = self.provider
        if capability not in provider.capabilities:
            assert self._settings is not None  # as there is a provider
            empty = lacking(self._settings, capability)
            why = f"has no {what}" if empty is None else f"has {what} only with {empty}, which are not set"
            raise Unsupported(f"the provider {provider.name} {why}", provider=provider.name)


def _note_end(becoming: asyncio.Task[None]) -> None:
    if not becoming.cancelled() and (error := becoming.exception()) is not None:
        log.error("cdn_not_changed", exc_info=error)


def _of_pictures(studio: Studio) -> PicturesReport:
    tally, pool = studio.pictures.tally, studio.pool
    return PicturesReport(
        results={"made": tally.made, "kept": tally.kept, "joined": tally.joined},
        failures={code.removeprefix("cdn_"): count for code, count in tally.refused.items()},
        seconds=pool.tally.seconds,
        inside=pool.inside,
        died=pool.tally.died,
        variants=len(studio.variants),
    )


def _pace(settings: Cdn) -> Pace:
    return Pace(settings.attempts, settings.give_up, settings.coalesce, settings.settle)


def _places(settings: Cdn) -> Places | None:
    return Places(settings.local.path, settings.images.path) if settings.images is not None else None


async def _not_ready(request: web.Request) -> web.StreamResponse:
    """What is there is not known: nobody is to take it for gone."""
    return told(503, "files and pictures cannot be had at the moment", {"Retry-After": "5"})


def _on_hosts(url: str, hosts: Sequence[str]) -> tuple[str, ...]:
    """The URL, and what it is on the CDN's other hosts."""
    parts = urlsplit(url)
    if not parts.netloc:
        return (url,)
    return tuple(dict.fromkeys(parts._replace(netloc=host).geturl() for host in (parts.netloc, *hosts)))


def _permitted(source: Path, folders: Sequence[str]) -> Path:
    """The file, if it may be read: whoever names paths of this machine must not read all of it."""
    found = source.resolve()
    if not any(found.is_relative_to(Path(folder).resolve()) for folder in folders):
        raise Invalid(f"{source} is not below a folder of cdn.upload_from")
    if not found.is_file():
        raise NotFound(f"{source} is not a file")
    return found
