"""What a CDN provider is to the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from balancer.cdn.types import Capability as Capability
from balancer.cdn.types import (
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
    StoredFile,
    UploadRequest,
)


class CdnProvider(Protocol):
    """Thin: one call of the service is one thing done. No retries, no queue, no cache of ours in here.

    Every method may raise `errors.CdnError` and nothing else. `plan_purge`, `image_url` and `public_url` are pure.
    """

    @property
    def name(self) -> str:
        """local, cloudflare, aws or bunny."""

    @property
    def capabilities(self) -> Capability: ...

    async def start(self) -> None:
        """Open sessions and files; asks nothing of anybody yet."""

    async def close(self) -> None:
        """What is under way has its time to end, minutes if need be, and clears away behind itself if it does not.
        Whoever waits for that and leaves breaks it off."""

    async def status(self) -> ProviderStatus:
        """Check the credential and what it is for. What is wrong is among the `problems`, and not raised."""

    async def upload(self, request: UploadRequest) -> StoredFile: ...

    async def delete(self, path: str) -> bool:
        """Whether it was there; True where the provider does not tell."""

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        """Files whose path begins with `prefix`, from `after` (the `next` of a page) on."""

    def plan_purge(self, targets: Sequence[PurgeTarget], *, soft: bool, widen: bool) -> PurgePlan: ...

    async def purge(self, batch: PurgeBatch, idempotency_key: str) -> PurgeResult: ...

    async def purge_state(self, provider_id: str) -> PurgeState:
        """How far one is, where there is PURGE_STATUS; else SUBMITTED."""

    def limits(self) -> Mapping[str, LimitState]:
        """The documented rate limits by their names (`PurgeBatch.limit`), as capacity and refill. Static: what is left
        of them is counted by the service. One that does not refill is of what may be in progress: what a batch takes of
        it is given back once `purge_state` says that it is done."""

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats: ...

    def image_url(self, source: str, options: ImageOptions) -> OptimizedImage:
        """Raises Unsupported where the provider makes no pictures, Invalid for options that it has no form for."""

    def public_url(self, path: str) -> str: ...
