"""What is being done by something that is to be closed: it has its time to end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from balancer.cdn.errors import Unavailable

Value = TypeVar("Value")
LONGEST: Final = 600.0
"""Seconds that what is under way has, where nobody says more or less."""
LAST: Final = 5.0
"""Seconds for what has to be cleared away of what was broken off."""


class UnderWay:
    """All of it, each in a task of its own, so that it can be broken off and clear away behind itself."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over = False

    def __len__(self) -> int:
        return len(self._tasks)

    async def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        """To its end. Whoever waits for it and leaves breaks it off. Unavailable: `end` did."""
        if self._over:
            work.close()
            raise _changed()
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await task
        except asyncio.CancelledError:
            if self._over and task.cancelled():
                own = asyncio.current_task()
                if own is None or not own.cancelling():
                    raise _changed() from None
            raise

    async def end(self, seconds: float) -> None:
        """Let it end, and break off what has not after so long, or when whoever waits here leaves; what comes now is
        still done, as long as something else is under way."""
        try:
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            pass
        finally:
            self._over = True
            if self._tasks:
                for task in self._tasks:
                    task.cancel()
                await asyncio.wait(self._tasks, timeout=LAST)


def _changed() -> Unavailable:
    return Unavailable("the configuration has changed meanwhile; ask again", retry_after_s=1.0)
