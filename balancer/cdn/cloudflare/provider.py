"""Cloudflare as a provider: purges, statistics, pictures and files of one zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import quote

import aiohttp
from pydantic import TypeAdapter
from yarl import URL

from balancer.cdn.calls import Calls
from balancer.cdn.cloudflare import pictures
from balancer.cdn.cloudflare.account import Findings, look_at_storage, look_at_token, look_at_zone
from balancer.cdn.cloudflare.answers import Purged, inside, judge, judge_graph
from balancer.cdn.cloudflare.images import Images
from balancer.cdn.cloudflare.limits import limits
from balancer.cdn.cloudflare.purging import Site, body, plan_purge
from balancer.cdn.cloudflare.r2 import R2
from balancer.cdn.cloudflare.statistics import Statistics
from balancer.cdn.errors import ConfigError, MissingRight, Unsupported
from balancer.cdn.http import Call, Caller, Judge, open_session
from balancer.cdn.purging.buckets import Bucket
from balancer.cdn.throttle import Throttle
from balancer.cdn.types import (
    CALLS,
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
    StoredFile,
    UploadRequest,
)
from balancer.cdn.under_way import LONGEST, UnderWay
from balancer.cdn.uploads import prepared
from config.cdn import Cdn

NAME: Final = "cloudflare"
API: Final = "https://api.cloudflare.com/client/v4"

OF_STATUS: Final = 6
"""Calls for a status, at most."""
_OF_ZONE: Final = (
    Capability.PURGE_URL
    | Capability.PURGE_PREFIX
    | Capability.PURGE_TAG
    | Capability.PURGE_HOST
    | Capability.PURGE_ALL
    | Capability.SOFT_PURGE
    | Capability.STATS
)
_NO_KEY: Final = "Cloudflare is not asked without cdn.api_key and cdn.cloudflare.zone_id"
_NO_BUCKET: Final = "no storage is configured: cdn.cloudflare.bucket, access_key_id and secret_access_key"
_PURGED: Final = TypeAdapter(Purged)


class Cloudflare:
    """One zone with one credential. A purge is told to be accepted, and no more is ever known of it."""

    name = NAME

    def __init__(
        self,
        settings: Cdn,
        clock: Callable[[], float] = monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """ConfigError: there is no URL, which nothing can do without. What else is missing is missed when it is needed,
        and not among the capabilities."""
        own = settings.cloudflare
        if not settings.url:
            raise ConfigError("Cloudflare needs cdn.url", provider=NAME)
        self._settings = settings
        self._zone = quote(own.zone_id, safe="")
        url = URL(settings.url)
        host = url.host_port_subcomponent or ""
        self._base = f"{url.scheme}://{host}"
        hosts = tuple(host.lower() for host in settings.hosts) or (host,)
        self._site = Site(hosts, url.scheme, own.plan, own.batch)
        self._clock = clock
        self._today = today
        self._under_way = UnderWay()
        self.calls = Calls(NAME)
        self.buckets = {CALLS: Bucket(limits(own.plan)[CALLS], clock())}
        """Limits that purges share with all other calls."""
        self._throttle = Throttle(NAME, clock, self.buckets[CALLS])
        self._last: ProviderStatus | None = None  # the last status
        self._session: aiohttp.ClientSession | None = None  # open from start() to close()
        self._api: Caller | None = None
        self._statistics: Statistics | None = None
        self._images: Images | None = None
        self._r2: R2 | None = None
        self._no_storage = _NO_BUCKET  # why, where there is none
        self._may_not_purge: str | None = None  # what the last purge said of the token's rights

    @property
    def capabilities(self) -> Capability:
        own = self._settings.cloudflare
        found = Capability.IMAGES
        if self._settings.api_key and own.zone_id:
            found |= _OF_ZONE
        if self._has_images or self._has_bucket:
            found |= Capability.UPLOAD | Capability.DELETE
        if self._has_bucket:
            found |= Capability.LIST
        return found

    @property
    def _has_images(self) -> bool:
        own = self._settings.cloudflare
        return own.storage == "images" and bool(self._settings.api_key and own.account_id)

    @property
    def _has_bucket(self) -> bool:
        own = self._settings.cloudflare
        return bool(own.bucket and own.access_key_id and own.secret_access_key)

    async def start(self) -> None:
        settings, own = self._settings, self._settings.cloudflare
        session = open_session()
        try:
            if settings.api_key:
                self._api = self._made(session, settings.endpoints.api or API, judge)
                graph = self._made(session, settings.endpoints.statistics or settings.endpoints.api or API, judge_graph)
                self._statistics = Statistics(graph, own.zone_id, self._clock, self._today)
                if self._has_images:
                    self._images = Images(self._api, own.account_id, self._today)
        except ConfigError:
            await session.close()
            raise
        self._session = session
        if self._has_bucket:
            try:
                self._r2 = R2(settings, self.public_url, self.calls, self._clock, self._today)
            except ConfigError as error:  # a package is missing, without which all but uploads works
                self._no_storage = str(error)

    def _made(self, session: aiohttp.ClientSession, base: str, judged: Judge) -> Caller:
        settings, own = self._settings, self._settings.cloudflare
        if own.email is None:
            headers = {"Authorization": f"Bearer {settings.api_key}"}
        else:
            headers = {"X-Auth-Email": own.email, "X-Auth-Key": settings.api_key}
        return Caller(
            session,
            NAME,
            base,
            headers,
            settings.timeout,
            [settings.api_key, own.secret_access_key],
            judge=judged,
            calls=self.calls,
            clock=self._clock,
            throttle=self._throttle,
        )

    async def close(self, patience: float = LONGEST) -> None:
        try:
            await self._under_way.end(patience)
        finally:
            await self._end()

    async def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._r2 is not None:
            await self._r2.close()

    async def status(self) -> ProviderStatus:
        """As it was, where asking anew would be more than Cloudflare takes: purges and uploads need it more."""
        if self._last is not None and self._throttle.wait(OF_STATUS) > 0:
            return self._last
        self._last = await self._looked()
        return self._last

    async def _looked(self) -> ProviderStatus:
        began = self._clock()
        findings = Findings()
        own = self._settings.cloudflare
        if self._api is not None and own.zone_id:
            if own.email is None:  # a Global API Key is not verified by itself: the zone is asked for with it
                await look_at_token(self._api, own.account_id, findings)
            await look_at_zone(self._api, own.zone_id, own.plan, self._site.hosts, findings)
            if not findings.problems and self._statistics is not None:  # else the same would be said once more
                await findings.tried(self._statistics.limits)
        else:
            findings.add("cdn_config", _NO_KEY)
        if self._has_bucket and self._r2 is None:
            findings.add(ConfigError.code, self._no_storage)
        await look_at_storage(self._images, self._r2, findings)
        if self._may_not_purge is not None:
            findings.add(MissingRight.code, self._may_not_purge)
        return ProviderStatus(
            NAME,
            not findings.problems,
            self._today(),
            self._clock() - began,
            self.capabilities,
            findings.account,
            tuple(findings.problems),
            findings.details,
        )

    async def upload(self, request: UploadRequest) -> StoredFile:
        return await self._under_way.run(self._upload(request))

    async def _upload(self, request: UploadRequest) -> StoredFile:
        settings = self._settings
        store = self._images if self._images is not None and request.kind == "image" else self._r2
        if store is None:
            raise Unsupported(self._no_storage, provider=NAME)
        if request.tags:
            raise Unsupported("Cloudflare's storage gives files no tags: upload them without, and purge by their URLs")
        async with prepared(
            request, Path(settings.local.directory) / "spool", settings.max_upload, self._today()
        ) as upload:
            return await store.upload(upload)

    async def delete(self, path: str) -> bool:
        """A picture may be in R2 as well, from when there was no other storage."""
        return await self._under_way.run(self._delete(path))

    async def _delete(self, path: str) -> bool:
        if self._images is None and self._r2 is None:
            raise Unsupported(self._no_storage, provider=NAME)
        if self._images is not None and path.startswith("image/") and await self._images.delete(path):
            return True
        return await self._r2.delete(path) if self._r2 is not None else False

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        return await self._under_way.run(self._page(prefix, after, limit))

    async def _page(self, prefix: str, after: str | None, limit: int) -> FilePage:
        if self._r2 is None:
            raise Unsupported(self._no_storage, provider=NAME)
        return await self._r2.files(prefix, after, limit)

    def plan_purge(self, targets: Sequence[PurgeTarget], *, soft: bool, widen: bool) -> PurgePlan:
        return plan_purge(targets, self._site, soft=soft, widen=widen)

    async def purge(self, batch: PurgeBatch, idempotency_key: str) -> PurgeResult:
        """Repeatable as it is: the key is not needed."""
        if self._api is None or not self._zone:
            raise Unsupported(_NO_KEY, provider=NAME)
        path = f"/zones/{self._zone}/{'invalidate_cache' if batch.soft else 'purge_cache'}"
        try:
            answer = await self._api.make(Call("purge", "POST", path, json=body(batch), of_purge=True))
        except MissingRight as error:
            self._may_not_purge = str(error)
            raise
        self._may_not_purge = None
        id_, allowance = inside(answer, _PURGED).id, answer.allowance
        if allowance is None:
            return PurgeResult(PurgeState.SUBMITTED, id_)
        return PurgeResult(PurgeState.SUBMITTED, id_, allowance.left, allowance.reset_s)

    async def purge_state(self, provider_id: str) -> PurgeState:
        return PurgeState.SUBMITTED

    def limits(self) -> Mapping[str, LimitState]:
        return limits(self._settings.cloudflare.plan)

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        return await self._under_way.run(self._figures(from_, to, interval_s))

    async def _figures(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        if self._statistics is None or not self._zone:
            raise Unsupported(_NO_KEY, provider=NAME)
        return await self._statistics.stats(from_, to, interval_s)

    def image_url(self, source: str, options: ImageOptions) -> OptimizedImage:
        images = self._settings.images
        if source and "://" not in source and not source.startswith("/"):
            source = self.public_url(source)  # a file of ours, by its path
        return pictures.image_url(self._base, source, options, images.quality if images is not None else None)

    def public_url(self, path: str) -> str:
        return f"{self._settings.url}/{quote(path)}"
