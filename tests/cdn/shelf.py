"""A provider that keeps its files in memory, and fails as a test says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from balancer.cdn.errors import CdnError, Invalid
from balancer.cdn.types import (
    Capability,
    CdnStats,
    FilePage,
    ImageOptions,
    LimitState,
    OptimizedImage,
    ProviderStatus,
    PurgeBatch,
    PurgeKind,
    PurgePlan,
    PurgeResult,
    PurgeState,
    PurgeTarget,
    Rejected,
    StatPoint,
    StoredFile,
    UploadRequest,
)
from config.cdn import Cdn

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Shelf:
    """What a provider is to the service, and no more."""

    def __init__(self, settings: Cdn) -> None:
        self.name: str = settings.provider
        self.settings = settings
        self.capabilities = ~Capability(0)
        self.files_: dict[str, StoredFile] = {}
        self.contents: dict[str, bytes] = {}
        self.requests: list[UploadRequest] = []
        self.failure: CdnError | None = None
        self.checks = 0
        self.purged: list[str] = []
        self.open = asyncio.Event()
        """Purges wait for it."""
        self.open.set()
        self.pieces: list[int] = []
        """The sizes of what the last upload came in."""
        self.begun = asyncio.Event()
        """Its first bytes have come."""
        self.ended = asyncio.Event()

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def status(self) -> ProviderStatus:
        self.checks += 1
        self._maybe_fail()
        return ProviderStatus(self.name, True, AT, 0.01, self.capabilities, account="shelf", details={"files": 1})

    async def upload(self, request: UploadRequest) -> StoredFile:
        self._maybe_fail()
        self.requests.append(request)
        self.pieces = []
        content = bytearray()
        assert not isinstance(request.source, Path)
        if isinstance(request.source, bytes):
            content += request.source
        else:
            try:
                async for piece in request.source:
                    content += piece
                    self.pieces.append(len(piece))
                    self.begun.set()
            finally:
                self.ended.set()
        digest = hashlib.sha256(content).hexdigest()
        if request.sha256_hex not in (None, digest):
            raise Invalid("the file has another SHA-256 than was said")
        path = f"{request.kind}/{request.name if request.overwrite else f'{digest[:8]}-{request.name}'}"
        created = path not in self.files_ or self.contents[path] != bytes(content)
        self.contents[path] = bytes(content)
        stored = StoredFile(
            path,
            self.public_url(path),
            len(content),
            request.content_type or "application/octet-stream",
            digest,
            f'"{digest[:8]}"',
            self.name,
            stored_at=AT,
            tags=request.tags,
            hits=0,
        )
        self.files_[path] = stored
        return replace(stored, created=created)

    async def delete(self, path: str) -> bool:
        self._maybe_fail()
        self.contents.pop(path, None)
        return self.files_.pop(path, None) is not None

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        self._maybe_fail()
        found = [path for path in sorted(self.files_) if path.startswith(prefix) and path > (after or "")]
        more = found[limit - 1] if len(found) > limit else None
        return FilePage(tuple(self.files_[path] for path in found[:limit]), more)

    def plan_purge(self, targets: Sequence[PurgeTarget], *, soft: bool, widen: bool) -> PurgePlan:
        """Everything in one call; it has no form for a star in the middle."""
        taken = [target for target in targets if target.kind is not PurgeKind.PATTERN]
        refused = [Rejected(target, "has no form here", "/a/*") for target in targets if target not in taken]
        items = tuple(target.written for target in taken)
        return PurgePlan((PurgeBatch("purge", items, tuple(taken)),) if taken else (), tuple(refused))

    async def purge(self, batch: PurgeBatch, idempotency_key: str) -> PurgeResult:
        self._maybe_fail()
        await self.open.wait()
        self.purged += batch.items
        return PurgeResult(PurgeState.COMPLETED, "id-1")

    async def purge_state(self, provider_id: str) -> PurgeState:
        return PurgeState.COMPLETED

    def limits(self) -> Mapping[str, LimitState]:
        return {"purge": LimitState(900, 1000, 0.5)}

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        self._maybe_fail()
        return CdnStats(
            from_,
            to,
            interval_s,
            requests=3,
            hits=2,
            hit_ratio=2 / 3,
            missing={"bytes_out": "is not counted"},
            series=(StatPoint(from_, 3, None, 2),),
        )

    def image_url(self, source: str, options: ImageOptions) -> OptimizedImage:
        self._maybe_fail()
        return OptimizedImage(f"/img/w={options.width}/{source}", options, self.name, notes=("a note",))

    def public_url(self, path: str) -> str:
        return f"{self.settings.url}/cdn/{path}"

    def _maybe_fail(self) -> None:
        if self.failure is not None:
            raise self.failure
