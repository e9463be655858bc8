"""/api/infrastructure/cache: what is in the cache, and how to get it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from api.cache_models import (
    LISTS,
    MOST_WIDE,
    CacheStats,
    HitPoint,
    KeyAnswer,
    LevelAnswer,
    PurgeAnswer,
    PurgedAnswer,
    PurgeRequest,
    StatsQuery,
    TagAnswer,
    WouldMeet,
)
from api.operation import Call, Operation, Reply
from api.problems import Fault, Problem
from api.request_checks import LIMIT
from api.services import Services
from balancer.cache.contents import StoredUrl
from balancer.cache.memory import MemoryFigures
from balancer.cache.purges import EVERYTHING, Purge, parse
from balancer.cache.receipts import LevelReceipt, PurgeReceipt
from balancer.tally import CacheTally
from balancer.telemetry.cache_report import CacheReport
from balancer.telemetry.redaction import Redaction
from balancer.telemetry.summary import cache_figures

CACHE = "/api/infrastructure/cache"
EXAMPLES = 20
_KINDS = dict(zip(LISTS, ("url", "prefix", "pattern", "tag", "host"), strict=True))


class Cache:
    """The shared cache of answers, all levels of it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._control = services.control

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", CACHE + "/stats", "viewer", self.cache_stats, {200: "The cache at this moment."}),
            Operation(
                "POST",
                CACHE + "/purge",
                "operator",
                self.purge_cache,
                {200: "It is in force on every level.", 503: "It is not on every level; the receipt tells where."},
                limit=LIMIT,
            ),
        )

    async def cache_stats(self, call: Call, query: StatsQuery) -> CacheStats:
        """How full the cache is, how much it spares the servers, and what is asked for most."""
        control = self._control
        report = await control.report()
        enabled = report.cache is not None
        if report.cache is None:
            nothing = MemoryFigures(0, 0, control.snapshot.config.cache.memory, 0, 0, 0, 0, 0, 0)
            report = replace(report, cache=CacheReport(nothing, CacheTally()))
        figures = cache_figures(report, self._services.recent)
        assert figures is not None  # as there is a report
        contents = await control.contents(query.top)
        redaction = Redaction(control.snapshot.config.logs.access.redact)
        return CacheStats(
            **{name: getattr(figures, name) for name in type(figures).model_fields},
            at=self._services.wall(),
            enabled=enabled,
            history=[
                HitPoint(at=self._services.moment(point.at), lookups=point.lookups, hits=point.hits)
                for point in self._services.recent.cache.points()
            ],
            top_keys=[_key(stored, redaction) for stored in contents.urls],
            top_tags=[TagAnswer(tag=_text(tag), entries=count) for tag, count in contents.tags],
        )

    async def purge_cache(self, call: Call, body: PurgeRequest) -> Reply[PurgeAnswer]:
        """Purge stored answers, or with `soft` make them stale, on every level of the cache.

        It is in force at once: no request that comes later is answered with what it meets, and what is being fetched
        meanwhile is not stored. A level that does not take it keeps the others from nothing. To purge what is gone
        already does no harm.
        """
        purges = _purges(body)
        if body.dry_run:
            return Reply(await self._rehearsed(purges))
        receipts = await self._control.purge(purges)
        redaction = Redaction(self._control.snapshot.config.logs.access.redact)
        for receipt in receipts:
            what = " ".join((receipt.purge.kind, redaction.path(_text(receipt.purge.value)))).strip()
            call.note("cache", what, "stale" if receipt.purge.soft else "purged")
        items = [_item(receipt) for receipt in receipts]
        ok = all(item.ok for item in items)
        names = dict.fromkeys(level.level for item in items for level in item.levels)
        levels = [_sum([level for item in items for level in item.levels if level.level == name]) for name in names]
        return Reply(PurgeAnswer(ok=ok, levels=levels, items=items), 200 if ok else 503)

    async def _rehearsed(self, purges: list[Purge]) -> PurgeAnswer:
        met = await self._control.rehearse(purges, EXAMPLES)
        redaction = Redaction(self._control.snapshot.config.logs.access.redact)
        items = [
            PurgedAnswer(kind=one.kind, value=_text(one.value), soft=one.soft, ok=True, levels=[_forecast(count)])
            for one, count in zip(purges, met.by_purge, strict=True)
        ]
        urls = [redaction.path(_text(url)) for url in met.urls]
        would = WouldMeet(entries=met.entries, bytes=met.size, urls=urls)
        return PurgeAnswer(ok=True, levels=[_forecast(met.entries)], items=items, would=would)


def _forecast(entries: int) -> LevelAnswer:
    return LevelAnswer(level="memory", ok=True, entries=entries, seconds=0.0, reason="nothing was purged: a dry run")


def _purges(body: PurgeRequest) -> list[Purge]:
    """What is meant; Problem with each place that means nothing."""
    purges: list[Purge] = []
    faults: list[Fault] = []
    for name, kind in _KINDS.items():
        for position, value in enumerate(getattr(body, name)):
            try:
                purges.append(parse(kind, value, body.soft))
            except ValueError as error:
                faults.append(Fault(pointer=f"/{name}/{position}", message=str(error)))
    if body.everything:
        purges.append(replace(EVERYTHING, soft=body.soft))
    wide = sum(purge.kind != "everything" and not purge.exact for purge in purges)
    if wide > MOST_WIDE:
        message = f"must be at most {MOST_WIDE} prefixes, patterns and hosts with a star in all, not {wide}"
        faults.append(Fault(pointer="/patterns", message=message))
    if faults:
        count = "1 field is" if len(faults) == 1 else f"{len(faults)} fields are"
        raise Problem(422, f"{count} not as expected; nothing was purged", faults)
    return purges


def _item(receipt: PurgeReceipt) -> PurgedAnswer:
    purge = receipt.purge
    return PurgedAnswer(
        kind=purge.kind,
        value=_text(purge.value),
        soft=purge.soft,
        ok=receipt.ok,
        levels=[_level(level) for level in receipt.levels],
    )


def _level(level: LevelReceipt) -> LevelAnswer:
    return LevelAnswer(
        level=level.level, ok=level.ok, entries=level.entries, seconds=level.seconds, reason=level.reason
    )


def _sum(levels: Iterable[LevelAnswer]) -> LevelAnswer:
    """What one level says of all items."""
    all_ = list(levels)
    known = [level.entries for level in all_ if level.entries is not None]
    failed = [level for level in all_ if not level.ok]
    return LevelAnswer(
        level=all_[0].level,
        ok=not failed,
        entries=sum(known) if len(known) == len(all_) else None,
        seconds=max(level.seconds for level in all_),
        reason=next((level.reason for level in failed or all_ if level.reason is not None), None),
    )


def _key(stored: StoredUrl, redaction: Redaction) -> KeyAnswer:
    return KeyAnswer(
        url=redaction.path(_text(stored.url)),
        variants=stored.variants,
        hits=stored.hits,
        bytes=stored.bytes,
        status=stored.status,
        age=stored.age,
        ttl=stored.fresh_for,
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
