"""The databases as the rest of the process sees them: told of a new configuration, asked how they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from balancer.databases.advice import of_redis
from balancer.databases.redis import details
from balancer.redis_link import RedisLink
from balancer.telemetry.database_figures import DatabaseProblem, DatabaseReport, PostgresFigures
from config.database_checks import kind_of
from config.databases import Database
from config.schema import Redis

if TYPE_CHECKING:
    from balancer.databases.postgres import PostgresWatch

FRESH: Final = 2.0
"""Seconds that whoever asks anew waits at most."""
SPARED: Final = 1.0
"""Seconds after a look in which nobody's asking makes another."""


class RedisWatch:
    """A Redis of `databases`."""

    def __init__(self, settings: Database) -> None:
        self.link = RedisLink(
            Redis(url=settings.url, timeout=settings.timeout, tls=settings.tls), every=settings.interval
        )

    def start(self) -> None:
        self.link.start()

    async def close(self) -> None:
        await self.link.close()

    async def look(self) -> None:
        await self.link.check_now()


class Unwatched:
    """One without a URL, or with one of a kind that is not looked at."""

    def __init__(self, reason: str) -> None:
        self.figures = PostgresFigures(
            ok=None, reason=reason, server=None, latency=None, checked=None, seen=None, age=None
        )

    def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def look(self) -> None:
        pass


Watch: TypeAlias = "PostgresWatch | RedisWatch | Unwatched"


class Databases:
    """Everything that is watched. To be made on the loop that it will run on; nothing here waits for a database."""

    def __init__(self, redis: RedisLink, *, patience: float = FRESH) -> None:
        """`redis` is the balancer's own, which is watched anyway; `patience` is that of `refresh`, in seconds."""
        self._patience = patience
        self.redis = redis
        self.watches: dict[str, Watch] = {}
        self._settings: Mapping[str, Database] = {}
        self._asked: dict[str, float] = {}
        self._beside: set[asyncio.Task[None]] = set()

    async def change(self, settings: Mapping[str, Database]) -> None:
        """Take over a configuration that has come into force: who is as before is not disturbed."""
        before, self._settings = self._settings, settings
        for name in before:
            if before[name] != settings.get(name):
                self._leave(self.watches.pop(name))
        for name, database in settings.items():
            if name not in self.watches:
                self.watches[name] = _watch(name, database)
                self.watches[name].start()
        self.watches = {name: self.watches[name] for name in settings}

    def _leave(self, watch: Watch) -> None:
        """Beside the rest: a reload must not wait for a server that is away."""
        self._keep(asyncio.get_running_loop().create_task(watch.close()))

    async def close(self) -> None:
        for watch in self.watches.values():
            self._leave(watch)
        self.watches, self._settings = {}, {}
        if self._beside:
            await asyncio.wait(self._beside)

    async def refresh(self) -> None:
        """Look at all of them now, as far as they answer soon and were not looked at just now."""
        now = monotonic()
        late = [name for name in self.watches if now - self._asked.get(name, -SPARED) >= SPARED]
        self._asked = {
            **{name: at for name, at in self._asked.items() if name in self.watches},
            **dict.fromkeys(late, now),
        }
        loop = asyncio.get_running_loop()
        looks = [loop.create_task(self.watches[name].look()) for name in late]
        if looks:
            _, slow = await asyncio.wait(looks, timeout=self._patience)
            for look in slow:
                self._keep(look)

    def _keep(self, task: asyncio.Task[None]) -> None:
        """To its end."""
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def reports(self) -> Mapping[str, DatabaseReport]:
        """For metrics: those that were looked at."""
        found = {}
        for name, watch in self.watches.items():
            if not isinstance(watch, RedisWatch):
                figures = watch.figures
                if figures.ok is not None:
                    found[name] = DatabaseReport(
                        kind="postgres",
                        ok=figures.ok,
                        latency=figures.latency,
                        age=figures.age,
                        postgres=figures if figures.ok else None,
                        problems=figures.problems,
                    )
            elif (report := redis_report(watch.link)) is not None:
                found[name] = report
        own = redis_report(self.redis)
        return {**({"redis": own} if own is not None else {}), **found}

    def problems(self) -> Mapping[str, tuple[bool | None, str | None]]:
        """For the summary of health: whether each of `databases` is well, and what is wrong."""
        found: dict[str, tuple[bool | None, str | None]] = {}
        for name, watch in self.watches.items():
            if isinstance(watch, RedisWatch):
                ok, reason = watch.link.state.ok, watch.link.state.reason
                problems = redis_problems(watch.link)
            else:
                ok, reason, problems = watch.figures.ok, watch.figures.reason, watch.figures.problems
            told = "; ".join(problem.message for problem in problems)
            found[name] = (ok and not told, reason or told or None)
        return found


def redis_problems(link: RedisLink) -> list[DatabaseProblem]:
    said = details(link.state, link.before)
    return list(of_redis(said)) if said is not None else []


def redis_report(link: RedisLink) -> DatabaseReport | None:
    """None while it was not asked."""
    state = link.state
    if state.ok is None:
        return None
    said = details(state, link.before)
    return DatabaseReport(
        kind="redis",
        ok=state.ok,
        latency=state.latency,
        age=(datetime.now(UTC) - state.checked).total_seconds() if state.checked is not None else None,
        redis=said,
        problems=list(of_redis(said)) if said is not None else [],
    )


def _watch(name: str, settings: Database) -> Watch:
    kind = kind_of(settings.url)
    if kind == "postgres":
        from balancer.databases.postgres import PostgresWatch  # what it imports is not for those who have none

        return PostgresWatch(settings)
    if kind == "redis":
        return RedisWatch(settings)
    if kind == "":
        return Unwatched(f"not configured: databases.{name}.url is empty")
    return Unwatched("it is of no kind that is looked at, which are PostgreSQL and Redis")
