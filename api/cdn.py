"""/api/infrastructure/cdn: how the CDN is, what goes through it, and pictures in other sizes."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from api.cdn_errors import CDN, cdn_problems
from api.cdn_models import (
    CdnDay,
    CdnDesk,
    CdnLimit,
    CdnPictures,
    CdnProblem,
    CdnStatus,
    PictureAnswer,
    PictureRequest,
    Rendered,
    TrafficAnswer,
    TrafficPoint,
    TrafficQuery,
)
from api.operation import Call, Operation
from api.periods import period
from api.services import Services
from balancer.cdn.errors import CdnError
from balancer.cdn.purging.desk import DeskState
from balancer.cdn.types import Capability, CdnStats, ProviderStatus, RenderedImage
from config.cdn import Cdn as CdnSettings

CDN_PATH = "/api/infrastructure/cdn"


class Cdn:
    """The CDN, whoever it is."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._cdn = services.cdn

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", CDN_PATH + "/status", "viewer", self.cdn_status, {200: "The CDN at this moment."}),
            Operation("GET", CDN_PATH + "/stats", "viewer", self.cdn_stats, {200: "The figures."}, CDN),
            Operation(
                "POST",
                CDN_PATH + "/optimize-image",
                "operator",
                self.optimize_image,
                {200: "Where the picture is."},
                {**CDN, 404: "There is no such file."},
            ),
        )

    async def cdn_status(self, call: Call) -> CdnStatus:
        """How the CDN is: whether its provider takes our credential, what it can do, and what is wrong."""
        services, settings, desk = self._services, self._cdn.settings, self._cdn.desk
        found, problems = None, []
        asked = asyncio.ensure_future(self._cdn.last_day())
        try:
            found = await self._cdn.status()
            problems += [CdnProblem(**asdict(problem)) for problem in found.problems]
        except CdnError as error:
            problems.append(CdnProblem(code=error.code, message=str(error)))
        day = await asked
        stopped = self._cdn.orders.failure
        if stopped is not None:
            problems.append(CdnProblem(code="cdn_purges_stopped", message=stopped))
        return CdnStatus(
            at=services.wall(),
            enabled=settings is not None,
            provider=settings.provider if settings is not None else None,
            ok=found is not None and found.ok and stopped is None,
            checked_at=found.checked_at if found is not None else None,
            latency=found.latency_s if found is not None else None,
            account=found.account if found is not None else None,
            capabilities=found.capabilities.names if found is not None else [],
            problems=problems,
            url=settings.url if settings is not None else None,
            hosts=list(settings.hosts) if settings is not None else [],
            max_upload=settings.max_upload if settings is not None else None,
            limits={
                kind: CdnLimit(
                    left=limit.left, capacity=limit.capacity, refill=limit.refill_per_s, blocked=limit.blocked_s
                )
                for kind, limit in self._cdn.limits().items()
            },
            purges=_desk(desk) if desk is not None else None,
            journal=self._cdn.orders.journal_failure,
            pictures=_pictures(settings, found) if settings is not None else None,
            details=dict(found.details) if found is not None else {},
            last_day=_day(day) if day is not None else None,
        )

    async def cdn_stats(self, call: Call, query: TrafficQuery) -> TrafficAnswer:
        """Traffic through the CDN in a period, as its provider counts it."""
        begin, end, interval = period(query.from_, query.to, query.interval, self._services.wall())
        with cdn_problems():
            found = await self._cdn.get_stats(begin, end, interval)
            provider = self._cdn.provider.name
        return TrafficAnswer(
            provider=provider,
            from_=found.from_,
            to=found.to,
            interval=found.interval_s,
            requests=found.requests,
            bytes_out=found.bytes_out,
            bytes_origin=found.bytes_origin,
            hits=found.hits,
            hit_ratio=found.hit_ratio,
            status_4xx=found.status_4xx,
            status_5xx=found.status_5xx,
            sampled=found.sampled,
            missing=dict(found.missing),
            series=[TrafficPoint(**asdict(point)) for point in found.series],
        )

    async def optimize_image(self, call: Call, body: PictureRequest) -> PictureAnswer:
        """Where a picture is in another size or form, and with `render` what it becomes."""
        size = (body.url, body.width, body.height, body.quality, body.format)
        with cdn_problems():
            found = await self._cdn.optimize_image(*size, fit=body.fit)
            rendered = await self._cdn.render_image(*size, fit=body.fit) if body.render else None
        return PictureAnswer(
            url=found.url,
            provider=found.provider,
            expires_at=found.expires_at,
            notes=list(found.notes),
            rendered=_rendered(rendered) if rendered is not None else None,
        )


def _day(stats: CdnStats) -> CdnDay:
    return CdnDay(
        requests=stats.requests,
        bytes_out=stats.bytes_out,
        hits=stats.hits,
        hit_ratio=stats.hit_ratio,
        status_5xx=stats.status_5xx,
    )


def _desk(desk: DeskState) -> CdnDesk:
    return CdnDesk(
        tickets=desk.tickets, calls=desk.calls, breaker=str(desk.breaker), opened=desk.opened, error=desk.error
    )


def _pictures(settings: CdnSettings, found: ProviderStatus | None) -> CdnPictures | None:
    images = settings.images
    if found is not None and Capability.IMAGES in found.capabilities and settings.provider != "local":
        by = settings.provider
        path = "/cdn-cgi/image/" if by == "cloudflare" else ""
        return CdnPictures(
            by=by, path=path, signed=by == "bunny" and bool(settings.bunny.token_key), presets=[], sources=[]
        )
    if images is None:
        return None
    return CdnPictures(
        by="local",
        path=images.path,
        signed=images.sign,
        presets=sorted(images.presets),
        sources=list(images.sources),
    )


def _rendered(made: RenderedImage) -> Rendered:
    return Rendered(
        format=made.format,
        width=made.width,
        height=made.height,
        size=made.size_bytes,
        source_size=made.source_bytes,
        seconds=round(made.seconds, 4),
        cached=made.cached,
    )
