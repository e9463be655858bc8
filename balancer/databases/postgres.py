"""One PostgreSQL that is watched: a connection, a look at each interval, and patience while it is away."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import asyncpg

from balancer.databases.advice import DEADLOCKS, of_postgres
from balancer.databases.figures import told
from balancer.databases.reading import Large, Look, Reading, TooOld
from balancer.telemetry.database_figures import DatabaseProblem, PostgresFigures
from config.databases import Database
from config.postgres_url import PostgresUrl

if TYPE_CHECKING:
    from asyncpg import Connection

FIRST_AGAIN: Final = 2.0
"""Seconds after which one that was lost is looked for; each time twice as long, up to `LONGEST`."""
LONGEST: Final = 60.0
LARGE: Final = 60.0
"""Seconds between two looks at what takes long on a large database: sizes, tables, statements."""
FAREWELL: Final = 0.5
"""Seconds for telling a server that it is left."""
NOT_ASKED: Final = "not asked yet"


class PostgresWatch:
    """A PostgreSQL as it was seen last.

    Nothing waits for it: the watcher looks in its own task, everybody else reads `figures`. A server that is away, slow
    or odd changes what is told of it and nothing else.
    """

    def __init__(
        self,
        settings: Database,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: Random | None = None,
    ) -> None:
        """The URL in `settings` is one that can be read."""
        self._settings = settings
        self._url = PostgresUrl.of(settings.url)
        self._sleep = sleep
        self._clock = clock
        self._wall = wall
        self._rng = rng or Random()
        self._connection: Connection[Any] | None = None
        self._look: Look | None = None
        self._figures: PostgresFigures | None = None
        self._seen: datetime | None = None
        self._checked: datetime | None = None
        self._reason: str | None = NOT_ASKED
        self._ok: bool | None = None
        self._deadlocks: deque[tuple[float, int]] = deque(maxlen=1000)
        self._since: dict[str, datetime] = {}
        self._looking: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._failures = 0

    def start(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch(), name="postgres-watch")

    async def close(self) -> None:
        tasks = [task for task in (self._watcher, self._looking) if task is not None and not task.done()]
        self._watcher = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=FAREWELL)
            except Exception:  # whatever it was, it is left
                connection.terminate()

    async def look(self) -> None:
        """Look now, or see the end of a look that is under way. A server that is away is no error."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look_once())
        await asyncio.shield(self._looking)

    @property
    def figures(self) -> PostgresFigures:
        """As it was seen last, with what is wrong; `ok` says whether that was at the last look."""
        now = self._wall()
        about: dict[str, Any] = {
            "ok": self._ok,
            "reason": self._reason,
            "server": str(self._url),
            "latency": self._look.latency if self._ok and self._look is not None else None,
            "checked": self._checked,
            "seen": self._seen,
            "age": round((now - self._seen).total_seconds(), 3) if self._seen is not None else None,
        }
        if self._figures is None:
            return PostgresFigures(**about)
        return self._figures.model_copy(update={**about, "problems": self._problems(self._figures)})

    def _problems(self, figures: PostgresFigures) -> list[DatabaseProblem]:
        """Each with when it was first found. None of one that is away: that alone is told."""
        if not self._ok:
            return []
        return [found.model_copy(update={"since": self._since.get(found.about)}) for found in self._found(figures)]

    def _found(self, figures: PostgresFigures) -> Sequence[DatabaseProblem]:
        recent = sum(count for at, count in self._deadlocks if self._clock() - at < DEADLOCKS)
        return list(of_postgres(figures, recent))

    async def _watch(self) -> None:
        while True:
            await self.look()
            await self._sleep(self.pause())

    def pause(self) -> float:
        """Seconds to the next look: the interval, and longer and longer ones while it is away.

        Not quite the same each time, so that many balancers do not come at once.
        """
        base = self._settings.interval
        if self._failures:
            base = min(FIRST_AGAIN * 2.0 ** min(self._failures - 1, 10), max(LONGEST, base))
        return base * self._rng.uniform(0.9, 1.1)

    async def _look_once(self) -> None:
        kept = self._connection is not None
        try:
            try:
                look = await self._asked()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                if not kept or isinstance(error, (TimeoutError, asyncpg.QueryCanceledError)):
                    raise
                self._drop()  # it may have been restarted since: a new connection tells
                look = await self._asked()
            self._take(look)
        except BaseException as error:
            self._drop()
            if not isinstance(error, Exception):
                raise
            # An odd server's answers can make anything be raised, and it is looked at again.
            self._ok, self._reason, self._checked = False, self._told(error), self._wall()
            self._since.clear()
            self._failures += 1

    def _take(self, look: Look) -> None:
        """What was seen. Rates are with the look before, if that was answered."""
        before = self._look if self._ok else None
        bare = dict.fromkeys(("ok", "reason", "server", "latency", "checked", "seen", "age"))
        self._figures = told(look, before, **bare)
        self._look = look
        self._ok, self._reason, self._failures = True, None, 0
        self._seen = self._checked = self._wall()
        if before is not None:
            more = look.database["deadlocks"] - before.database["deadlocks"]
            if more > 0:
                self._deadlocks.append((look.at, more))
        found = {problem.about for problem in self._found(self._figures)}
        self._since = {about: self._since.get(about, self._seen) for about in found}

    async def _asked(self) -> Look:
        timeout = self._settings.timeout
        try:
            async with asyncio.timeout(timeout):
                if self._connection is None:
                    self._connection = await self._open(timeout)
                return await Reading(self._connection, timeout).look(
                    self._clock(), self._large(), self._settings.tables, self._settings.statements, self._wall()
                )
        except TimeoutError:
            raise TimeoutError(f"no answer within {timeout:g} s") from None

    def _large(self) -> Large | None:
        """What is known of before, and still recent."""
        large = self._look.large if self._look is not None else None
        if large is None or (self._wall() - large.at).total_seconds() >= max(LARGE, self._settings.interval) - 1.0:
            return None
        return large

    async def _open(self, patience: float) -> Connection[Any]:
        """Nothing is left to the environment of this process, whose variables may be about another database."""
        url = self._url
        return await asyncpg.connect(
            dsn=f"postgresql://?{urlencode(url.tls)}" if url.tls else "postgresql://",
            host=[place.host for place in url.places],
            port=[place.port for place in url.places],
            user=url.user,
            password=url.password or "",
            database=url.database,
            ssl=None if "sslmode" in url.tls else "prefer",
            target_session_attrs=url.target_session_attrs,
            timeout=patience,
            command_timeout=patience,
            statement_cache_size=0,  # a pooler may give the next transaction to another server process
            server_settings={"application_name": "balancer"},
        )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _told(self, error: Exception) -> str:
        """One line without credentials."""
        text = " ".join(str(error).split()) or type(error).__name__
        places = ", ".join(map(str, self._url.places))
        if isinstance(error, ConnectionRefusedError):  # for which asyncio has other words than uvloop
            text = f"connection refused at {places}"
        elif isinstance(error, OSError) and not isinstance(error, TimeoutError):
            text = text if places in text else f"{error.strerror or text} at {places}"
        elif not isinstance(error, (asyncpg.PostgresError, TimeoutError, TooOld)):
            text = f"{type(error).__name__}: {text}"
        for secret in self._url.secrets:
            text = text.replace(secret, "***")
        return text[:300]
