"""How many invalidation paths a month has cost: the first thousand of an account are free, each further one is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import structlog

from balancer.cdn.errors import QuotaExhausted
from balancer.sqlite import Database

log = structlog.get_logger("balancer.cdn")
NEARLY: Final = 0.8
"""Of the free paths: from here on somebody should know."""
_TABLE: Final = "CREATE TABLE spent (month TEXT PRIMARY KEY, paths INTEGER NOT NULL);"
_ADD: Final = (
    "INSERT INTO spent (month, paths) VALUES (?, ?) ON CONFLICT (month) DO UPDATE SET paths = paths + excluded.paths"
)
_GET: Final = "SELECT paths FROM spent WHERE month = ?"

_FAILURES: Final = (sqlite3.Error, RuntimeError)
"""The second: it was closed while somebody purged."""


class PathBudget(Protocol):
    """Keeps a number for each month, over restarts. A month is 2026-11."""

    async def open(self) -> None: ...

    async def add(self, paths: int, month: str) -> None: ...

    async def get(self, month: str) -> int: ...

    async def close(self) -> None: ...


class PathCounts:
    """The numbers in a file of their own.

    A disk that fails must not keep anybody from purging: what it does not take is counted as long as the process lives.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._database = Database(file, (_TABLE,), "aws-paths")
        self._lost: dict[str, int] = {}
        """By month, what the file does not know."""

    async def open(self) -> None:
        try:
            await self._database.open()
        except (OSError, sqlite3.Error) as error:
            self._warn(error)

    async def add(self, paths: int, month: str) -> None:
        try:
            await self._database.run(lambda connection: connection.execute(_ADD, (month, paths)))
        except _FAILURES as error:
            self._warn(error)
            self._lost = {month: self._lost.get(month, 0) + paths}

    async def get(self, month: str) -> int:
        lost = self._lost.get(month, 0)
        try:
            row = await self._database.run(lambda connection: connection.execute(_GET, (month,)).fetchone())
        except _FAILURES:
            return lost
        return lost + (int(row[0]) if row is not None else 0)

    async def close(self) -> None:
        await self._database.close()

    def _warn(self, error: Exception) -> None:
        log.warning("cdn_paths_not_kept", file=str(self._file), reason=str(error))


class Spending:
    """What this balancer has spent, and what it may."""

    def __init__(self, budget: PathBudget, free: int, most: int | None, now: Callable[[], datetime]) -> None:
        """`most` paths in a month; None: as many as there are to purge."""
        self.free = free
        self.most = most
        self._budget = budget
        self._now = now
        self._warned = ""

    async def spent(self) -> int:
        """Paths in this month."""
        return await self._budget.get(self._month())

    async def ask(self, paths: int) -> None:
        """QuotaExhausted: so many more would be too many."""
        if self.most is None:
            return
        spent = await self.spent()
        if spent + paths > self.most:
            raise QuotaExhausted(
                f"{paths} paths more would be {spent + paths} in {self._month()}, and cdn.aws.most_paths is "
                f"{self.most}: raise it, or purge by a tag or a star, which count as one",
                provider="aws",
            )

    async def pay(self, paths: int) -> None:
        """So many were taken by CloudFront."""
        month = self._month()
        await self._budget.add(paths, month)
        spent = await self._budget.get(month)
        if self.is_high(spent) and self._warned != month:
            self._warned = month
            log.warning("cdn_paths_nearly_spent", month=month, paths=spent, free=self.free)

    def is_high(self, spent: int) -> bool:
        """Whether what is free is nearly gone, or gone."""
        return spent >= self.free * NEARLY

    def _month(self) -> str:
        return f"{self._now():%Y-%m}"
