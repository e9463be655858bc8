"""Passwords are looked at in threads: each takes some tenths of a second and much memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from balancer.guards.passwords import matches
from config.passwords import PasswordHash

THREADS: Final = 2
MOST_WAITING: Final = 32
"""Looks that are under way or wait: some seconds of work. Who comes after is told to come again."""


class Threads:
    """The threads of a plane, made when the first password comes."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._waiting = 0

    def begin(self, kept: PasswordHash, given: bytes, done: Callable[[bool | None], None]) -> bool:
        if self._waiting >= MOST_WAITING:
            return False
        if self._executor is None:
            self._executor = ThreadPoolExecutor(THREADS, "balancer-passwords")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, matches, kept, given)

        def finished(future: asyncio.Future[bool]) -> None:
            self._waiting -= 1
            if not future.cancelled():
                done(None if future.exception() is not None else future.result())

        future.add_done_callback(finished)
        return True

    def close(self) -> None:
        """Nobody waits for what is still under way."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
