"""The networks of the CDNs that a configuration names: there at once, and kept up in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import time as wall_time  # noqa: TID251  # copies carry the date of the list, over restarts
from typing import Final

from balancer.ranges import copies
from balancer.ranges.copies import NONE, Copy
from balancer.ranges.fetch import fetch
from balancer.ranges.lists import PLACES, held_against, read
from balancer.tally import RangesTally
from balancer.telemetry.ranges_report import RangesReport
from config.addresses import CdnName
from config.values import Network

REFRESH: Final = 24 * 3600.0
"""Seconds after which a list is fetched anew: CDNs tell of new networks days before they use them."""
AGAIN: Final = 600.0
"""Seconds between two attempts."""
FILE: Final = "ranges.json"
Tell = Callable[[str, str, str], None]
Fetch = Callable[[str], Awaitable[bytes]]
FETCHED: Final = "ranges_fetched"
KEPT: Final = "ranges_kept"
OF_RANGES: Final = frozenset((FETCHED, KEPT))


class Ranges:
    """All that a process knows of them. A CDN that no configuration names is not asked for anything."""

    def __init__(
        self,
        folder: Path | None,
        tell: Tell,
        *,
        ask: Fetch = fetch,
        places: Mapping[CdnName, Sequence[str]] = PLACES,
        wall: Callable[[], float] = wall_time,
    ) -> None:
        """`folder` is where what was fetched is kept; None: nowhere. `tell` hears: event, name, detail."""
        self.copies: dict[CdnName, Copy] = {}
        self.tallies: dict[CdnName, RangesTally] = {}
        self.changed: Callable[[], None] | None = None
        """Called when networks are others than before (owner: the plane)."""
        self._path = folder / FILE if folder is not None else None
        self._tell = tell
        self._ask = ask
        self._places = places
        self._wall = wall
        self._asked: dict[CdnName, float] = {}
        self._failing: set[CdnName] = set()
        self._tasks: dict[CdnName, asyncio.Task[None]] = {}
        self._writing = asyncio.Lock()

    async def prepare(self, names: Iterable[CdnName]) -> None:
        """Have the newest copy of each: nothing is fetched yet, and nobody trusted who was not before."""
        for name in names:
            if name not in self.copies:
                self.copies[name] = await asyncio.to_thread(copies.load, self._path, name, self._wall())

    def adopt(self, names: Iterable[CdnName], now: float) -> None:
        """These are in force. Raises nothing, and awaits nothing."""
        wanted = dict.fromkeys(names)
        for name in self.copies.keys() - wanted.keys():
            del self.copies[name]
            if (task := self._tasks.get(name)) is not None:
                task.cancel()
        for name in self.tallies.keys() - wanted.keys():
            del self.tallies[name]
        for name in wanted:
            self.tallies.setdefault(name, RangesTally())
        self.second_passed(now)

    def networks(self, name: CdnName) -> tuple[Network, ...]:
        return self.copies.get(name, NONE).networks

    def report(self) -> dict[str, RangesReport]:
        return {
            name: RangesReport(len(self.networks(name)), self.copies[name].at, self.copies[name].origin, tally)
            for name, tally in self.tallies.items()
        }

    def second_passed(self, now: float) -> None:
        """Fetch what is a day old."""
        for name in self.tallies:
            if name in self._tasks or now - self._asked.get(name, float("-inf")) < AGAIN:
                continue
            if name in self._failing or not 0 <= self._wall() - self.copies[name].at < REFRESH:
                self._asked[name] = now
                task = asyncio.get_running_loop().create_task(self._renew(name))
                self._tasks[name] = task
                task.add_done_callback(lambda _, name=name: self._tasks.pop(name, None))  # type: ignore[misc]  # mypy can not infer a lambda with a default

    async def _renew(self, name: CdnName) -> None:
        tally = self.tallies[name]
        try:
            parts = [await self._ask(place) for place in self._places[name]]
            found = await asyncio.to_thread(read, name, parts)
            held_against(found, self.networks(name))
        except Exception as error:  # outermost place of this task: what comes from elsewhere may make anything fail
            tally.failures += 1
            if name not in self._failing:
                self._failing.add(name)
                reason = "it did not come in time" if isinstance(error, TimeoutError) else str(error)
                self._tell(KEPT, name, f"the list of networks was not taken: {reason}; {self._in_use(name)}")
            return
        tally.fetched += 1
        self._failing.discard(name)
        before = self.networks(name)
        self.copies[name] = Copy(found, self._wall(), "fetched")
        if found != before:
            self._tell(FETCHED, name, f"{len(found)} networks, {len(before)} before")
            if self.changed is not None:
                self.changed()
        await self._keep(name)

    async def _keep(self, name: CdnName) -> None:
        if self._path is None:
            return
        try:
            async with self._writing:  # one file for all: who writes keeps what another has written
                await asyncio.to_thread(copies.keep, self._path, {name: self.copies[name]})
        except OSError as error:
            self._tell(KEPT, name, f"what was fetched is not kept over a restart: {error.strerror or error}")

    def _in_use(self, name: CdnName) -> str:
        copy = self.copies[name]
        if not copy.networks:
            return "none is known, and none is trusted"
        days = max(self._wall() - copy.at, 0.0) / 86_400
        return f"{len(copy.networks)} networks stay in use, as of {days:.0f} days ago ({copy.origin})"

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
