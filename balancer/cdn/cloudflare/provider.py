"""Cloudflare as a provider: purges, statistics, pictures and files of one zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final
from urllib.parse import quote

import aiohttp
from pydantic import TypeAdapter
from yarl import URL

from balancer.cdn.calls import Calls
from balancer.cdn.cloudflare import pictures
from balancer.cdn.cloudflare.account import Findings, look_at_token, look_at_zone
from balancer.cdn.cloudflare.answers import Purged, inside, judge, judge_graph
from balancer.cdn.cloudflare.limits import limits
from balancer.cdn.cloudflare.purging import Site, body, plan_purge
from balancer.cdn.cloudflare.statistics import Statistics
from balancer.cdn.errors import ConfigError, MissingRight, Unsupported
from balancer.cdn.http import Call, Caller, open_session
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
    StoredFile,
    UploadRequest,
)
from config.cdn import Cdn

NAME: Final = "cloudflare"
API: Final = "https://api.cloudflare.com/client/v4"

_ALWAYS: Final = (
    Capability.PURGE_URL
    | Capability.PURGE_PREFIX
    | Capability.PURGE_TAG
    | Capability.PURGE_HOST
    | Capability.PURGE_ALL
    | Capability.SOFT_PURGE
    | Capability.STATS
    | Capability.IMAGES
)
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
        """ConfigError: something is missing that every call needs."""
        own = settings.cloudflare
        needed = {"api_key": settings.api_key, "cloudflare.zone_id": own.zone_id, "url": settings.url}
        if missing := [f"cdn.{name}" for name, value in needed.items() if not value]:
            raise ConfigError(f"Cloudflare needs {' and '.join(missing)}", provider=NAME)
        self._settings = settings
        self._zone = quote(own.zone_id, safe="")
        url = URL(settings.url)
        host = url.host_port_subcomponent or ""
        self._base = f"{url.scheme}://{host}"
        hosts = tuple(host.lower() for host in settings.hosts) or (host,)
        self._site = Site(hosts, url.scheme, own.plan, own.batch)
        self._clock = clock
        self._today = today
        self.calls = Calls(NAME)
        self._session: aiohttp.ClientSession | None = None  # open from start() to close()
        self._api: Caller | None = None
        self._statistics: Statistics | None = None
        self._may_not_purge: str | None = None  # what the last purge said of the token's rights

    @property
    def capabilities(self) -> Capability:
        return _ALWAYS

    async def start(self) -> None:
        settings, own = self._settings, self._settings.cloudflare
        if own.email is None:
            headers = {"Authorization": f"Bearer {settings.api_key}"}
        else:
            headers = {"X-Auth-Email": own.email, "X-Auth-Key": settings.api_key}
        secrets = [settings.api_key, own.secret_access_key]
        base = settings.endpoints.api or API
        session = open_session()
        try:
            self._api = Caller(
                session,
                NAME,
                base,
                headers,
                settings.timeout,
                secrets,
                judge=judge,
                calls=self.calls,
                clock=self._clock,
            )
            graph = Caller(
                session,
                NAME,
                settings.endpoints.statistics or base,
                headers,
                settings.timeout,
                secrets,
                judge=judge_graph,
                calls=self.calls,
                clock=self._clock,
            )
        except ConfigError:
            await session.close()
            raise
        self._session = session
        self._statistics = Statistics(graph, own.zone_id, self._clock, self._today)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def status(self) -> ProviderStatus:
        began = self._clock()
        findings = Findings()
        own = self._settings.cloudflare
        if own.email is None:  # a Global API Key is not verified by itself: the zone is asked for with it
            await look_at_token(self._caller, own.account_id, findings)
        await look_at_zone(self._caller, own.zone_id, own.plan, self._site.hosts, findings)
        if not findings.problems:  # else the same would be said once more
            assert self._statistics is not None
            await findings.tried(self._statistics.limits)
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
        raise Unsupported("no storage is configured: see cdn.cloudflare.bucket", provider=NAME)

    async def delete(self, path: str) -> bool:
        raise Unsupported("no storage is configured: see cdn.cloudflare.bucket", provider=NAME)

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        raise Unsupported("no storage is configured: see cdn.cloudflare.bucket", provider=NAME)

    def plan_purge(self, targets: Sequence[PurgeTarget], *, soft: bool, widen: bool) -> PurgePlan:
        return plan_purge(targets, self._site, soft=soft, widen=widen)

    async def purge(self, batch: PurgeBatch, idempotency_key: str) -> PurgeResult:
        """Repeatable as it is: the key is not needed."""
        path = f"/zones/{self._zone}/{'invalidate_cache' if batch.soft else 'purge_cache'}"
        try:
            answer = await self._caller.make(Call("purge", "POST", path, json=body(batch)))
        except MissingRight as error:
            self._may_not_purge = str(error)
            raise
        self._may_not_purge = None
        left = answer.allowance.left if answer.allowance is not None else None
        return PurgeResult(PurgeState.SUBMITTED, inside(answer, _PURGED).id, left)

    async def purge_state(self, provider_id: str) -> PurgeState:
        return PurgeState.SUBMITTED

    def limits(self) -> Mapping[str, LimitState]:
        return limits(self._settings.cloudflare.plan)

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        if self._statistics is None:
            raise RuntimeError("the provider is not started")
        return await self._statistics.stats(from_, to, interval_s)

    def image_url(self, source: str, options: ImageOptions) -> OptimizedImage:
        images = self._settings.images
        return pictures.image_url(self._base, source, options, images.quality if images is not None else None)

    def public_url(self, path: str) -> str:
        return f"{self._settings.url}/{quote(path)}"

    @property
    def _caller(self) -> Caller:
        if self._api is None:
            raise RuntimeError("the provider is not started")
        return self._api
