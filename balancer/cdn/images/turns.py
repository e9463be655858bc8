"""Whose turn it is to be fetched: few at a time, fewer of one domain, and the rest waits in a queue that ends."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from balancer.cdn.errors import Full

RETRY_AFTER: Final = 1.0
"""Seconds after which a full queue is asked again."""


class Turns:
    """Lets in `most` at a time and `most_of_one` of the same domain, in the order of asking.

    Of the places in the queue a quarter is left to other domains than the one that has the most in it: a domain that
    is slow makes only those wait, and be refused, who want something of it.
    """

    def __init__(self, most: int, most_of_one: int, waiting: int, patience: float) -> None:
        """`waiting` is for how many there is room in the queue, `patience` for how many seconds."""
        self._most = most
        self._most_of_one = most_of_one
        self._room = waiting
        self._room_of_one = waiting - waiting // 4
        self._patience = patience
        self._inside = 0
        self._of: Counter[str] = Counter()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @property
    def inside(self) -> int:
        return self._inside

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def of(self, domain: str) -> AsyncIterator[None]:
        """Around what is done in a turn. Full: no place in the queue, or no turn in time."""
        if not self._enter(domain):
            await self._wait(domain)
        try:
            yield
        finally:
            self._leave(domain)

    def _enter(self, domain: str) -> bool:
        if self._inside >= self._most or self._of[domain] >= self._most_of_one:
            return False
        self._inside += 1
        self._of[domain] += 1
        return True

    def _leave(self, domain: str) -> None:
        self._inside -= 1
        self._of[domain] -= 1
        if not self._of[domain]:
            del self._of[domain]
        for one in list(self._waiting):
            if self._inside >= self._most:
                return
            if not one[1].done() and self._enter(one[0]):
                self._waiting.remove(one)
                one[1].set_result(None)

    async def _wait(self, domain: str) -> None:
        of_this = sum(other == domain for other, _ in self._waiting)
        if len(self._waiting) >= self._room or of_this >= self._room_of_one:
            raise Full(
                f"{len(self._waiting)} pictures wait to be fetched; more than cdn.images.queue = {self._room}, or "
                f"{self._room_of_one} of one domain, do not",
                retry_after_s=RETRY_AFTER,
            )
        one = domain, asyncio.get_running_loop().create_future()
        self._waiting.append(one)
        try:
            async with asyncio.timeout(self._patience):
                await one[1]
        except BaseException as error:
            if one[1].done() and not one[1].cancelled():
                self._leave(domain)  # it had been let in at this very moment
            else:
                self._waiting.remove(one)
            if isinstance(error, TimeoutError):
                raise Full(
                    f"its turn to be fetched did not come within {self._patience:g} s", retry_after_s=RETRY_AFTER
                ) from None
            raise
