"""Pictures for those who ask: made before, being made, or to be made."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from time import time as wall_time  # noqa: TID251  # how old kept pictures of other sites are, over restarts
from typing import Final, Protocol

from balancer.cdn.errors import CdnError, Full, ImageRejected, NotFound, SourceBlocked, SourceUnreachable
from balancer.cdn.images.accept import chosen
from balancer.cdn.images.engine import Output, Wanted, Wish
from balancer.cdn.images.opened import Body, OpenPicture, body_of
from balancer.cdn.images.options import spell
from balancer.cdn.images.pool import Failed, Gone, Job, Pool
from balancer.cdn.images.signing import PictureSource, foreign_tags
from balancer.cdn.images.variants import LONGEST_HEAD, Begun, Concerns, Variant, Variants, key_of
from balancer.cdn.types import ImageOptions, RenderedImage
from balancer.guards.address import client_key
from balancer.guards.gcra import Gcra
from config.cdn import CdnImages

FOREIGN_FRESH: Final = 3600
"""Seconds for which a picture from elsewhere is believed to be as it was."""
FAILURE_KEPT: Final = 10.0
"""Seconds for which a source that could not be made into a picture is not tried again."""
WORSE: Final = 6.0
"""A picture that has cost a worker, or all of its time, costs it again: each time it is left alone for so many times as
long as the time before."""
FAILURE_KEPT_MOST: Final = 600.0
MOST_FAILURES: Final = 1000
MOST_CLIENTS: Final = 10_000
"""That are told apart; the one not seen for the longest time is forgotten first."""


@dataclass(frozen=True, slots=True)
class Original:
    """A file of the CDN, to be read from its path."""

    path: Path
    version: str
    """Another for each content: a digest, as a rule."""
    size: int
    cache_control: str
    tags: tuple[str, ...] = ()


class Originals(Protocol):
    """Who has the files: the local provider."""

    async def original(self, path: str) -> Original | None:
        """None: there is no such file."""


class Foreign(Protocol):
    """A picture that was fetched."""

    @property
    def content(self) -> bytes: ...


class Fetch(Protocol):
    """Who fetches pictures from elsewhere, in a time that it bounds. Raises SourceBlocked, SourceUnreachable, Full."""

    async def fetch(self, url: str) -> Foreign: ...


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it is sent."""

    body: Body | None
    """None: it was not wanted."""
    size: int
    etag: str
    format: Output
    width: int
    height: int
    source_bytes: int
    cache_control: str
    tags: tuple[str, ...]
    """What it can be purged by."""
    varies: bool
    """Others may get another format of it."""
    cached: bool
    """It had been made before."""


@dataclass(slots=True)
class PicturesTally:
    """What has happened so far, in plain numbers; see also the pool's."""

    made: int = 0
    kept: int = 0
    """Answered by what was on disk."""
    joined: int = 0
    """Waited for one that was under way."""
    refused: dict[str, int] = field(default_factory=dict)
    """Failures by the code of their error."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a picture became."""

    body: Body | None
    digest: str
    size: int
    format: Output
    width: int
    height: int
    source_bytes: int


class TooMany(CdnError):
    """One client has had as many pictures made as it may."""

    code = "cdn_images_limited"
    retryable = True


@dataclass(frozen=True, slots=True)
class _Failure:
    """What is told again in the place of trying again."""

    error: CdnError
    lasts: float
    until: float
    begun: Begun
    """The picture that has failed."""


@dataclass(frozen=True, slots=True)
class _Making:
    """A picture on its way, to be waited for."""

    begun: Begun
    task: asyncio.Task[_Ready]


class Pictures:
    """One configuration's pictures. Each is made once, however many ask for it at the same time."""

    def __init__(
        self,
        settings: CdnImages,
        pool: Pool,
        variants: Variants,
        originals: Originals | None,
        foreign: Fetch | None,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = wall_time,
    ) -> None:
        """`originals` None: this CDN keeps no files here. `foreign` None: nothing is fetched."""
        self.pool = pool
        self.variants = variants
        self.tally = PicturesTally()
        self._settings = settings
        self._originals = originals
        self._foreign = foreign
        self._clock = clock
        self._wall = wall
        self._making: dict[str, _Making] = {}  # by key: those that may be joined
        self._tasks: set[asyncio.Task[_Ready]] = set()
        self._failures: dict[str, _Failure] = {}  # by what a picture is made of, or by the picture
        rate = settings.per_client
        self._makers = Gcra(rate.interval, rate.count, MOST_CLIENTS) if rate is not None else None

    async def open(self) -> None:
        await self.variants.open()

    async def close(self) -> None:
        """End the workers; who waits is told that it was not made."""
        await self.pool.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def picture(
        self,
        source: PictureSource,
        options: ImageOptions,
        accept: str | None = None,
        client: str | None = None,
        wants: Callable[[str], bool] = lambda etag: True,
    ) -> Picture:
        """A picture for whoever sends this Accept. What has to be made for a client is counted against its address.
        `wants` says whether the body is wanted of the one with this ETag: what is kept is not read for nothing.

        NotFound: there is no such source. ImageRejected, SourceBlocked, SourceUnreachable: none is made of it. Full,
        TooMany: not now. Failed: it was tried. Options are as `options.parse` gives them.
        """
        try:
            return await self._picture(source, options, accept, client, wants)
        except CdnError as error:
            self.tally.refused[error.code] = self.tally.refused.get(error.code, 0) + 1
            raise

    async def render(self, source: PictureSource, options: ImageOptions) -> RenderedImage:
        """What a picture becomes; it is kept. For `auto` it is what every browser shows."""
        begun = self._clock()
        made = await self.picture(source, options)
        seconds = self._clock() - begun
        return RenderedImage(made.format, made.width, made.height, made.size, made.source_bytes, seconds, made.cached)

    async def forget(self, concerns: Concerns | None = None) -> int:
        """Throw away what was made of what is meant, None: all; how many pictures.

        What of that is being made at this moment goes to those who wait for it, and to nobody after them.
        """
        count = await self.variants.forget(concerns)
        failures = dict(self._failures)
        if concerns is not None and failures:
            failures = await asyncio.to_thread(_meant, failures, concerns)
        for name, failure in failures.items():
            if self._failures.get(name) is failure:
                del self._failures[name]
        return count

    async def _picture(
        self,
        source: PictureSource,
        options: ImageOptions,
        accept: str | None,
        client: str | None,
        wants: Callable[[str], bool],
    ) -> Picture:
        original = await self._original(source)
        identity = f"file:{original.version}" if original is not None else f"url:{source.url}"
        wanted = chosen(options.format, accept, self._settings.formats)
        exact = replace(options, format="auto", quality=options.quality or self._settings.quality)
        recipe = f"{self._settings.engine} {self._settings.max_side}"
        key = key_of(f"{identity}\n{source}", spell(exact), wanted, recipe)
        ready, cached = await self._ready(key, identity, source, original, _wish(exact, wanted), client, wants)
        return Picture(
            ready.body,
            ready.size,
            _etag(ready.digest),
            ready.format,
            ready.width,
            ready.height,
            ready.source_bytes,
            original.cache_control if original is not None else f"public, max-age={FOREIGN_FRESH}",
            _tags(source, original),
            options.format == "auto",
            cached,
        )

    async def _original(self, source: PictureSource) -> Original | None:
        """None: it is elsewhere."""
        if source.path is None:
            if self._foreign is None:
                raise SourceBlocked("pictures from elsewhere are not taken: cdn.images.sources names none")
            return None
        original = await self._originals.original(source.path) if self._originals is not None else None
        if original is None:
            raise NotFound(f"there is no file {source.path}")
        return original

    async def _ready(
        self,
        key: str,
        identity: str,
        source: PictureSource,
        original: Original | None,
        wish: Wish,
        client: str | None,
        wants: Callable[[str], bool],
    ) -> tuple[_Ready, bool]:
        variant = self.variants.find(key)
        if variant is not None:
            if original is None and self._wall() - variant.made_at > FOREIGN_FRESH:
                await self.variants.discard(variant)
            elif (ready := await self._kept(variant, wants)) is not None:
                self.tally.kept += 1
                return ready, True
        making = self._making.get(key)
        if making is None or making.begun.is_forgotten:
            self._raise_failure(identity)
            self._raise_failure(key)
            self._count(client)
            begun = self.variants.begin(key, str(source), _tags(source, original))
            task = asyncio.get_running_loop().create_task(self._make(begun, identity, source, original, wish))
            self._making[key] = _Making(begun, task)
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._made(begun, done))
        else:
            task = making.task
            self.tally.joined += 1
        try:
            return await asyncio.shield(task), False
        except asyncio.CancelledError:
            if task.cancelled():  # by the end of the balancer, or of this configuration
                raise Full("the balancer is stopping", retry_after_s=1.0) from None
            raise

    async def _kept(self, variant: Variant, wants: Callable[[str], bool]) -> _Ready | None:
        """None: it is not there any more."""
        body = None
        if not wants(_etag(variant.digest)):
            await self.variants.note_use(variant)
        elif (body := await self.variants.read(variant)) is None:
            return None
        return _Ready(
            body,
            variant.digest,
            variant.size,
            variant.format,
            variant.width,
            variant.height,
            variant.source_size,
        )

    def _made(self, begun: Begun, task: asyncio.Task[_Ready]) -> None:
        self.variants.end(begun)
        self._tasks.discard(task)
        making = self._making.get(begun.key)
        if making is not None and making.begun is begun:
            del self._making[begun.key]
        if not task.cancelled():
            task.exception()  # it has been told to those who waited, if anybody still did

    async def _make(
        self, begun: Begun, identity: str, source: PictureSource, original: Original | None, wish: Wish
    ) -> _Ready:
        try:
            ready = await self._render(begun, source, original, wish)
        except Failed as error:
            # Of this moment, or of this size: others may be made of it.
            self._note_failure(begun.key, error, begun, WORSE)
            raise
        except (ImageRejected, SourceUnreachable, SourceBlocked) as error:
            of_size = isinstance(error, ImageRejected) and error.reason == "memory"
            self._note_failure(begun.key if of_size else identity, error, begun)
            raise
        except Gone:
            raise NotFound(f"there is no file {source}") from None
        self.tally.made += 1
        return ready

    async def _render(self, begun: Begun, source: PictureSource, original: Original | None, wish: Wish) -> _Ready:
        variants, written = self.variants, begun.path
        fetched = written.with_name(written.name + "-source")
        self.pool.check()  # before anything is fetched
        await variants.prepare(begun)
        try:
            path, size = (original.path, original.size) if original is not None else (fetched, 0)
            if original is None:
                size = await self._fetched(source, fetched)
            head: dict[str, str | int | float] = {
                "source": begun.source,
                "tags": " ".join(begun.tags),
                "source_size": size,
                "at": self._wall(),
            }
            # Only now: what is fetched would keep places from files that are here, and needs no worker meanwhile.
            with self.pool.admitted():
                done = await self.pool.make(Job(path, wish, written, head), self._settings.timeout)
            # All who wait share it; a large one stays open for them, whatever becomes of its name.
            body = done.data if done.data is not None else await asyncio.to_thread(_below_head, written, done.size)
            if done.data is None and await self._unchanged(source, original):
                await variants.keep(begun, size, done)
            return _Ready(body, done.digest, done.size, done.format, done.width, done.height, size)
        finally:
            await asyncio.shield(asyncio.to_thread(_unlink, written, fetched))

    async def _fetched(self, source: PictureSource, to: Path) -> int:
        """Bytes of what is at a URL, now in a file."""
        assert self._foreign is not None  # else it would have been refused before
        assert source.url is not None
        foreign = await self._foreign.fetch(source.url)
        try:
            await asyncio.to_thread(to.write_bytes, foreign.content)
        except OSError as error:
            raise Full(f"what was fetched cannot be written to disk: {error.strerror}") from None
        return len(foreign.content)

    async def _unchanged(self, source: PictureSource, original: Original | None) -> bool:
        """Whether the worker has read what the key says: files may be overwritten at any time."""
        if original is None or self._originals is None or source.path is None:
            return True
        now = await self._originals.original(source.path)
        return now is not None and (now.version, now.tags) == (original.version, original.tags)

    def _count(self, client: str | None) -> None:
        """One more that has to be made for this client; None: for an operator, who may have as many as they like."""
        if client is None or self._makers is None:
            return
        wait = self._makers.take(client_key(client), 1, self._clock())
        if wait:
            raise TooMany(
                f"no more than {self._settings.per_client} pictures are made for one client (cdn.images.per_client); "
                "those that have been made before are not counted",
                retry_after_s=wait,
            )

    def _raise_failure(self, concerned: str) -> None:
        failure = self._failures.get(concerned)
        if failure is not None and self._clock() < failure.until:
            raise failure.error.with_traceback(None)

    def _note_failure(self, concerned: str, error: CdnError, begun: Begun, worse: float = 1.0) -> None:
        """Tell it again for a while; one that was noted before for `worse` times as long as then."""
        if begun.is_forgotten:
            return  # what it was made of may be another one by now
        now = self._clock()
        before = self._failures.pop(concerned, None)
        lasts = FAILURE_KEPT if before is None else min(before.lasts * worse, FAILURE_KEPT_MOST)
        if len(self._failures) >= MOST_FAILURES:
            self._failures = {one: failure for one, failure in self._failures.items() if failure.until > now}
            while len(self._failures) >= MOST_FAILURES:
                del self._failures[next(iter(self._failures))]
        self._failures[concerned] = _Failure(error, lasts, now + lasts, begun)


def _wish(options: ImageOptions, wanted: Wanted) -> Wish:
    def scaled(side: int | None) -> int | None:
        return None if side is None else max(1, round(side * options.dpr))

    return Wish(
        wanted,
        options.quality or 0,
        scaled(options.width),
        scaled(options.height),
        options.fit,
        options.enlarge,
        options.background,
    )


def _tags(source: PictureSource, original: Original | None) -> tuple[str, ...]:
    if original is None:
        return foreign_tags(source.url or "")
    return (f"file:{source.path}", *(tag for tag in original.tags if tag != f"file:{source.path}"))


def _meant(failures: dict[str, _Failure], concerns: Concerns) -> dict[str, _Failure]:
    return {name: one for name, one in failures.items() if concerns(one.begun.source, one.begun.tags)}


def _etag(digest: str) -> str:
    return f'"{digest[:32]}"'


def _below_head(begun: Path, size: int) -> Body:
    """OSError: it is not what its worker told."""
    with begun.open("rb") as file:
        skip = len(file.readline(LONGEST_HEAD))
        body = body_of(OpenPicture(os.dup(file.fileno()), skip, size))
    if body is None:
        raise OSError("what was written is not what was told")
    return body


def _unlink(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)
