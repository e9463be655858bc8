"""Bunny as a provider: a pull zone, and a storage zone behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp
from pydantic import TypeAdapter

from balancer.cdn.bunny import pictures, purging, statistics
from balancer.cdn.bunny.answers import judge, judge_storage
from balancer.cdn.bunny.purge_call import purge_call
from balancer.cdn.bunny.storage import Storage
from balancer.cdn.bunny.zone import Zone, broken, hints
from balancer.cdn.calls import Calls
from balancer.cdn.errors import CdnError, ConfigError, RateLimited, Unsupported
from balancer.cdn.http import Call, Caller, open_session
from balancer.cdn.local import names
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
from balancer.cdn.under_way import LONGEST, UnderWay
from config.cdn import Cdn

NAME: Final = "bunny"
API: Final = "https://api.bunny.net"

_ZONE: Final = TypeAdapter(Zone)
_FIGURES: Final = TypeAdapter(statistics.Figures)
_NO_STORAGE: Final = "no storage zone is configured: cdn.bunny.storage_zone and cdn.bunny.storage_password"
_NO_ZONE: Final = "no pull zone is configured: cdn.bunny.pull_zone_id"


class Bunny:
    """One account. Its key is for the pull zone; the storage zone has a password of its own."""

    name = NAME

    def __init__(
        self,
        settings: Cdn,
        clock: Callable[[], float] = monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """ConfigError: something is missing that every call needs."""
        if missing := [f"cdn.{name}" for name in ("api_key", "url") if not getattr(settings, name)]:
            raise ConfigError(f"Bunny needs {' and '.join(missing)}", provider=NAME)
        self._under_way = UnderWay()
        self.calls = Calls(NAME)
        self._settings = settings
        self._own = settings.bunny
        url = urlsplit(settings.url)
        self._scheme = url.scheme
        self._base = f"{url.scheme}://{url.netloc}"
        self._hosts = tuple(host.lower() for host in settings.hosts) or (url.netloc.lower(),)
        self._clock = clock
        self._today = today
        self._session: aiohttp.ClientSession | None = None  # open from start() to close()
        self._api: Caller | None = None
        self._last: ProviderStatus | None = None  # the last status
        self._storage: Storage | None = None  # None: there is none, or the provider is not started

    @property
    def capabilities(self) -> Capability:
        found = Capability.PURGE_URL | Capability.PURGE_PREFIX | Capability.PURGE_HOST | Capability.IMAGES
        if self._own.pull_zone_id is not None:
            found |= Capability.PURGE_TAG | Capability.PURGE_ALL | Capability.STATS
        if self._has_storage:
            found |= Capability.UPLOAD | Capability.DELETE | Capability.LIST
        return found

    @property
    def _has_storage(self) -> bool:
        return bool(self._own.storage_zone and self._own.storage_password)

    async def start(self) -> None:
        settings, own = self._settings, self._own
        secrets = [settings.api_key, own.storage_password, own.token_key]
        session = open_session()

        def caller(base: str, key: str, judged: Callable[..., CdnError | None]) -> Caller:
            return Caller(
                session,
                NAME,
                base,
                {"AccessKey": key},
                settings.timeout,
                secrets,
                judge=judged,
                calls=self.calls,
                clock=self._clock,
            )

        try:
            self._api = caller(settings.endpoints.api or API, settings.api_key, judge)
            if self._has_storage:
                base = settings.endpoints.storage or f"https://{own.storage_host}"
                self._storage = Storage(
                    caller(base, own.storage_password, judge_storage),
                    own.storage_zone,
                    self.public_url,
                    Path(settings.local.directory) / "spool",
                    settings.max_upload,
                    self._today,
                )
        except ConfigError:
            await session.close()
            raise
        self._session = session

    async def close(self, patience: float = LONGEST) -> None:
        try:
            await self._under_way.end(patience)
        finally:
            await self._end()

    async def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def status(self) -> ProviderStatus:
        """As it was, while Bunny wants to be asked less."""
        if self._last is not None and self._caller.throttle.wait() > 0:
            return self._last
        self._last = await self._looked()
        return self._last

    async def _looked(self) -> ProviderStatus:
        began = self._clock()
        wrong: list[StatusProblem] = []
        told: list[StatusProblem] = []
        zone = await self._looked_at(wrong)
        if zone is not None:
            wrong += broken(zone, self._hosts)
            told += hints(zone, pictures=self._settings.images is not None, signed=bool(self._own.token_key))
        if self._storage is not None:
            try:
                await self._storage.check()
            except CdnError as error:
                wrong.append(StatusProblem(error.code, str(error)))
        details: dict[str, str | int | float | bool | None] = {"storage_zone": self._own.storage_zone or None}
        if zone is not None:
            details |= {"pull_zone": zone.id, "optimizer": zone.optimizer and zone.manipulation}
        return ProviderStatus(
            NAME,
            not wrong,
            self._today(),
            self._clock() - began,
            self.capabilities,
            zone.name if zone is not None else None,
            (*wrong, *told),
            details,
        )

    async def _looked_at(self, wrong: list[StatusProblem]) -> Zone | None:
        if self._own.pull_zone_id is None:
            wrong.append(StatusProblem(ConfigError.code, f"{_NO_ZONE}; tags and statistics need it"))
            return None
        try:
            answer = await self._caller.make(Call("status", "GET", f"/pullzone/{self._own.pull_zone_id}"))
            return answer.into(_ZONE)
        except CdnError as error:
            wrong.append(StatusProblem(error.code, str(error)))
            return None

    async def upload(self, request: UploadRequest) -> StoredFile:
        return await self._under_way.run(self._upload(request))

    async def _upload(self, request: UploadRequest) -> StoredFile:
        return await self._files.upload(request)

    async def delete(self, path: str) -> bool:
        return await self._under_way.run(self._delete(path))

    async def _delete(self, path: str) -> bool:
        return await self._files.delete(path)

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        return await self._under_way.run(self._page(prefix, after, limit))

    async def _page(self, prefix: str, after: str | None, limit: int) -> FilePage:
        return await self._files.files(prefix, after, limit)

    def plan_purge(self, targets: Sequence[PurgeTarget], *, soft: bool, widen: bool) -> PurgePlan:
        return purging.plan_purge(targets, self._hosts, scheme=self._scheme, soft=soft, widen=widen)

    async def purge(self, batch: PurgeBatch, idempotency_key: str) -> PurgeResult:
        """Repeatable as it is: the key is not needed. It is waited for, but Bunny does not say what was removed."""
        try:
            await self._caller.make(purge_call(batch, self._own.pull_zone_id))
        except RateLimited as error:
            if error.retry_after_s is None:
                error.retry_after_s = purging.PATIENCE[batch.limit or batch.kind]
            raise
        return PurgeResult(PurgeState.SUBMITTED)

    async def purge_state(self, provider_id: str) -> PurgeState:
        return PurgeState.SUBMITTED

    def limits(self) -> Mapping[str, LimitState]:
        return purging.LIMITS

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        return await self._under_way.run(self._figures(from_, to, interval_s))

    async def _figures(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        zone = self._own.pull_zone_id
        if zone is None:
            raise Unsupported(_NO_ZONE, provider=NAME)
        grain = statistics.interval(interval_s)
        answer = await self._caller.make(
            Call("stats", "GET", "/statistics", params=statistics.query(from_, to, grain, zone))
        )
        return statistics.read(answer.into(_FIGURES), from_, to, grain)

    def image_url(self, source: str, options: ImageOptions) -> OptimizedImage:
        """Pure but for the day, which a signed URL ends by. The source may be the path of a file, too."""
        images = self._settings.images
        if names.good(source):
            source = self.public_url(source)
        return pictures.image_url(
            self._base,
            self._hosts,
            source,
            options,
            quality=images.quality if images is not None else None,
            token_key=self._own.token_key,
            now=self._today().timestamp(),
        )

    def public_url(self, path: str) -> str:
        return f"{self._settings.url}/{quote(path)}"

    @property
    def _caller(self) -> Caller:
        if self._api is None:
            raise RuntimeError("the provider is not started")
        return self._api

    @property
    def _files(self) -> Storage:
        if self._storage is None:
            raise Unsupported(_NO_STORAGE, provider=NAME)
        return self._storage
