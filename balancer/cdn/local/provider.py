"""The CDN that needs no account: files in a folder, which the balancer itself serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from balancer.cdn.errors import Invalid, Unsupported
from balancer.cdn.local.counts import Counts
from balancer.cdn.local.figures import Ledger
from balancer.cdn.local.index import Row
from balancer.cdn.local.store import Store
from balancer.cdn.types import (
    Capability,
    CdnStats,
    FilePage,
    ImageOptions,
    LimitState,
    OptimizedImage,
    ProviderStatus,
    PurgeBatch,
    PurgePlan,
    PurgeResult,
    PurgeState,
    PurgeTarget,
    StatusProblem,
    StoredFile,
    UploadRequest,
)

MOST: Final = 1000
"""Files in one part of a list."""
_NEARLY: Final = 0.9
"""Of the quota: from here on somebody should know."""

Pictures = Callable[[str, ImageOptions], OptimizedImage]
"""Where a changed picture of a source is; see `images`."""


class LocalProvider:
    """Files under names made of their content, or plain ones.

    It has no cache but the balancer's own, which is purged first: what is purged is gone from here before it is asked.
    """

    name: Final = "local"
    _ABLE: Final = (
        Capability.UPLOAD
        | Capability.DELETE
        | Capability.LIST
        | Capability.PURGE_URL
        | Capability.PURGE_PREFIX
        | Capability.PURGE_TAG
        | Capability.PURGE_HOST
        | Capability.PURGE_ALL
        | Capability.SOFT_PURGE
        | Capability.STATS
    )

    def __init__(
        self,
        store: Store,
        counts: Counts,
        base: str,
        *,
        pictures: Pictures | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`base` is what the URLs of files begin with, slash included: https://cdn.example.com/cdn/, or a path.
        `pictures` makes URLs of changed pictures.
        """
        self.store = store
        self.counts = counts
        self._base = base
        self.pictures = pictures  # owner: the service, which knows who makes them
        self._now = now
        self.ledger = Ledger(store.catalogue.index, counts, now)

    @property
    def capabilities(self) -> Capability:
        return self._ABLE if self.pictures is None else self._ABLE | Capability.IMAGES

    async def start(self) -> None:
        await self.store.start()
        self.ledger.start()

    async def close(self) -> None:
        await self.ledger.close()
        await self.store.close()

    async def upload(self, request: UploadRequest) -> StoredFile:
        row, created = await self.store.upload(request)
        return self._stored(row, created=created)

    async def delete(self, path: str) -> bool:
        return await self.store.delete(path)

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        """With hits as of the last few seconds."""
        if not 1 <= limit <= MOST:
            raise Invalid(f"expected a limit of 1 to {MOST} files, not {limit}")
        rows = await self.store.catalogue.page(prefix, after or "", limit + 1)
        more = len(rows) > limit
        return FilePage(tuple(map(self._stored, rows[:limit])), rows[limit - 1].path if more else None)

    def plan_purge(self, targets: Sequence[PurgeTarget], *, soft: bool, widen: bool) -> PurgePlan:
        """All of them at once, and whatever they are: nothing is cached beyond the balancer."""
        if not targets:
            return PurgePlan(())
        return PurgePlan((PurgeBatch("own", tuple(target.written for target in targets), tuple(targets), 0, soft),))

    async def purge(self, batch: PurgeBatch, idempotency_key: str) -> PurgeResult:
        return PurgeResult(PurgeState.COMPLETED)

    async def purge_state(self, provider_id: str) -> PurgeState:
        return PurgeState.COMPLETED

    def limits(self) -> Mapping[str, LimitState]:
        return {}

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        return await self.ledger.stats(from_, to, interval_s)

    def image_url(self, source: str, options: ImageOptions) -> OptimizedImage:
        if self.pictures is None:
            raise Unsupported("pictures are not made here: write `cdn.images: true`")
        return self.pictures(source, options)

    def public_url(self, path: str) -> str:
        return self._base + path

    async def status(self) -> ProviderStatus:
        """Whether uploads have a place. The folder is written to, so that a read-only disk is found out."""
        begun = monotonic()
        store, limits = self.store, self.store.room.limits
        problems = []
        free: int | None = None
        try:
            free = await store.reading(store.folder.free)
            await store.reading(store.folder.check)
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"{store.directory} can not be written to: {reason}; nothing can be uploaded or deleted"
            problems.append(StatusProblem("directory", text))
        if free is not None and free < limits.free:
            text = f"the disk of {store.directory} has {free} bytes left, and {limits.free} are to stay free: make room"
            problems.append(StatusProblem("disk", text))
        totals = await store.catalogue.totals()
        if totals is None:
            text = f"the index of files can not be used: {store.catalogue.problem}; files are served, and not listed"
            problems.append(StatusProblem("index", text))
        elif limits.all is not None and totals[1] > limits.all * _NEARLY:
            text = f"{totals[1]} of {limits.all} bytes (cdn.local.quota) are taken: delete some files"
            problems.append(StatusProblem("quota", text))
        return ProviderStatus(
            self.name,
            ok=not problems,
            checked_at=self._now(),
            latency_s=monotonic() - begun,
            capabilities=self.capabilities if self.pictures is not None else self.capabilities & ~Capability.IMAGES,
            problems=tuple(problems),
            details={
                "directory": str(store.directory),
                "free_bytes": free,
                "keep_free_bytes": limits.free,
                "quota_bytes": limits.all,
                "files": totals[0] if totals is not None else None,
                "bytes": totals[1] if totals is not None else None,
                "largest_upload_bytes": limits.file,
            },
        )

    def _stored(self, row: Row, *, created: bool = True) -> StoredFile:
        return StoredFile(
            path=row.path,
            url=self.public_url(row.path),
            size_bytes=row.size,
            content_type=row.facts.content_type,
            sha256_hex=row.facts.sha256_hex,
            etag=f'"{row.facts.sha256_hex[:32]}"',
            provider=self.name,
            created=created,
            stored_at=datetime.fromtimestamp(row.modified_ns // 10**9, UTC),
            tags=row.facts.tags,
            hits=row.hits,
        )
