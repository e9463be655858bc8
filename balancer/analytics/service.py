"""Analytics as the rest of the process sees them: told of a new configuration, given events, asked for reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import time as wall_time  # noqa: TID251  # salts are those of days
from typing import TYPE_CHECKING, Literal

import structlog

from balancer.analytics.collector import Collector
from balancer.analytics.desk import LARGEST, Desk
from balancer.analytics.events_source import EventsSource
from balancer.analytics.reports import REPORTS, Asking, Report, Wish
from balancer.analytics.salts import Salts, key_of
from balancer.analytics.source import Asked, Source, SourceError
from config.schema import Analytics
from config.schema import AppDatabase as AppSettings

if TYPE_CHECKING:
    from balancer.analytics.app_database.database import AppDatabase

log = structlog.get_logger("balancer.analytics")

BREATH = 0.002
"""Seconds between two batches."""
REST = 5.0
"""Seconds at the end for what still waits to be sent: a full queue of the usual size takes less."""
SALTS = 3600.0
"""Seconds between two looks at the salts of days."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the traffic has told, since the start."""

    counted: int
    dropped: int
    waiting: int
    """For the store, those that its process has included."""
    excluded: dict[str, int]


class Unconfigured(Exception):
    """What is asked for is not configured. The message says what to write where."""


class AnalyticsService:
    """Everything that one configuration of analytics makes, and what outlives it.

    To be made on the loop that it will run on. Nothing here delays a request, or a change of the configuration.
    """

    def __init__(self, folder: Path, watch: Callable[[Collector | None], None] = lambda collector: None) -> None:
        """`folder` is where files are whose names have no slash: that of `admin.state`. `watch` is told who is to
        be shown finished requests.
        """
        self._folder = folder
        self._watch = watch
        self._settings: Analytics | None = None
        self._salts: Salts | None = None
        self._salts_looked = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._pumping: asyncio.TimerHandle | None = None
        self.collector: Collector | None = None
        self.desk: Desk | None = None
        self.app: AppDatabase | None = None

    @property
    def settings(self) -> Analytics | None:
        """None: there are no analytics."""
        return self._settings

    async def change(self, settings: Analytics | None) -> None:
        """Take over a configuration that has come into force."""
        before, self._settings = self._settings, settings
        if settings == before:
            return
        await self._change_app(settings.database if settings is not None else None)
        if settings is None:
            self._watch(None)
            self.collector = None
            self._leave_desk()
            return
        if self._salts is None or before is None or before.salt != settings.salt:
            self._salts = Salts(self._folder, settings.salt)
            await asyncio.to_thread(self._prepare, self._salts)
        collector = Collector(settings, self._salts)
        if self.collector is not None:
            collector.adopt(self.collector)
        self.collector = collector
        self._watch(collector)
        if not settings.events:  # what the traffic looks like is looked at all the same, for rules to be suggested
            self._leave_desk()
        elif self.desk is None or before is None or _place(before) != _place(settings):
            store = settings.store if "/" in settings.store else str(self._folder / settings.store)
            old, self.desk = (
                self.desk,
                Desk(store, settings.time_zone, settings.keep, settings.keep_summaries, settings.max_size),
            )
            if old is None:
                self.desk.start()
            else:
                self._leave(self._succeeded(old, self.desk))

    def tick(self, now: float) -> None:
        """Ten times a second: what has been gathered is sent on its way."""
        collector, desk = self.collector, self.desk
        if collector is None or desk is None:
            return
        if self._pumping is None:
            self._pump()
        if now - self._salts_looked > SALTS and self._salts is not None:
            self._salts_looked = now
            if self._looking is None or self._looking.done():
                look = asyncio.to_thread(self._prepare, self._salts)
                self._looking = asyncio.get_running_loop().create_task(look)

    def _pump(self) -> None:
        """Send one batch, and the next one after whatever else the loop has to do: no request waits for all of them."""
        collector, desk = self.collector, self.desk
        self._pumping = None
        if collector is None or desk is None or not collector.has_some or not desk.has_room:
            return
        desk.send(collector.take(LARGEST))
        if len(collector.queue) >= LARGEST:  # less than that waits for the next beat: a frame for each event costs more
            self._pump_soon()

    async def _send_rest(self, collector: Collector, desk: Desk) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(REST):
                while collector.has_some:
                    while desk.has_room and collector.has_some:
                        desk.send(collector.take(LARGEST))
                    await asyncio.sleep(BREATH)
        if collector.queue:
            collector.dropped += len(collector.queue)
            log.warning("events are dropped", events=len(collector.queue), reason=desk.figures.reason)
            collector.queue.clear()

    def _pump_soon(self) -> None:
        if self._pumping is None:
            self._pumping = asyncio.get_running_loop().call_later(BREATH, self._pump)

    # Reports.

    def sources(self, wanted: Literal["auto", "traffic", "database"] | None = None) -> list[Source]:
        """Those that a report is made of, the first first. Raises Unconfigured."""
        settings = self._settings
        if settings is None:
            raise Unconfigured("analytics are not configured: write `analytics` with `events` in balancer.yaml")
        chosen = wanted or settings.source
        found: list[Source] = []
        if chosen != "traffic" and self.app is not None:
            found.append(self.app.source())
        if chosen != "database" and self.desk is not None:
            found.append(EventsSource(self.desk, settings))
        if not found:
            raise Unconfigured(
                "`analytics.database` has no `url`" if chosen == "database" else "`analytics.events` has no rules"
            )
        return found

    async def report(
        self, name: str, wish: Wish, wanted: Literal["auto", "traffic", "database"] | None = None
    ) -> Report:
        """One of REPORTS. Raises Unconfigured and SourceError."""
        sources = self.sources(wanted)
        asking = Asking(name, wish, sources, self.shown_key)
        await REPORTS[name](asking)
        report = asking.done()
        ages = [age for one in sources if (age := getattr(one, "age", None)) is not None]  # of what was kept
        report.age = max(ages, default=None)
        desk = self.desk
        if desk is not None and report.source != "sql" and desk.zone != wish.period.zone and name in _BY_DAYS:
            report.warnings.append(f"users are counted once a day by the days of {desk.zone}, the store's time zone")
        return report

    async def count(self, name: str, since: datetime, until: datetime) -> int | None:
        """How often an event happened, to within the quarters of an hour that the ends are in; None: not known."""
        desk = self.desk
        if desk is None:
            return None
        try:
            rows = await desk.rows("events.series", Asked(since, until, "hour"))
        except SourceError:
            return None
        return sum(int(str(row["n"])) for row in rows if row["name"] == name)

    def shown_key(self, user: str) -> str:
        """How a user's id is shown to those who may not see it."""
        salts = self._salts
        key = key_of(salts.users if salts is not None else b"", user.encode())
        return f"{key & (1 << 64) - 1:016x}"

    def gathered(self) -> Gathered | None:
        """None: nothing is gathered."""
        collector = self.collector
        if collector is None:
            return None
        waiting = len(collector.queue) + (self.desk.waiting if self.desk is not None else 0)
        return Gathered(collector.counted, collector.dropped, waiting, dict(collector.excluded))

    async def close(self) -> None:
        """What has been gathered is stored, as far as that does not take long."""
        self._watch(None)
        if self._pumping is not None:
            self._pumping.cancel()
        if self.collector is not None and self.desk is not None:
            await self._send_rest(self.collector, self.desk)
        self._leave_desk()
        if self._leaving:
            await asyncio.wait(self._leaving)
        await self._change_app(None)

    def _prepare(self, salts: Salts) -> None:
        salts.prepare(wall_time())
        if salts.problem is not None:
            log.warning("users and visitors will have other hashes after a restart", problem=salts.problem)

    async def _change_app(self, settings: AppSettings | None) -> None:
        if settings is not None and not settings.url:
            settings = None
        if self.app is not None and self.app.settings == settings:
            return
        if self.app is not None:
            await self.app.close()
            self.app = None
        if settings is not None:
            from balancer.analytics.app_database.database import AppDatabase  # not for those who have none

            self.app = AppDatabase(settings)
            self.app.start()

    def _leave_desk(self) -> None:
        """Beside the rest: a change of the configuration does not wait for a disk."""
        desk, self.desk = self.desk, None
        if desk is not None:
            self._leave(desk.close())

    async def _succeeded(self, old: Desk, new: Desk) -> None:
        """One after the other, as both may be about the same file."""
        await old.close()
        if new is self.desk:
            new.start()

    def _leave(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


_BY_DAYS = frozenset(("user-growth", "post-activity", "engagement", "communities", "users"))
"""Reports with users that are counted once a day, a week or a month."""


def _place(settings: Analytics) -> tuple[object, ...]:
    return settings.store, settings.time_zone, settings.keep, settings.keep_summaries, settings.max_size
