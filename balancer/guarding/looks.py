"""Passwords are looked at in threads: each takes some tenths of a second and much memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from balancer.guards.passwords import matches
from config.passwords import PasswordHash

THREADS: Final = 2
MOST_WAITING: Final = 32
"""Looks that are under way or wait: some seconds of work. Who comes after is told to come again."""


class _Look(NamedTuple):
    kept: PasswordHash
    given: bytes
    done: Callable[[bool | None], None]


class Threads:
    """The threads of a plane, made when the first password comes.

    Networks take turns, and when all places are taken, one that has fewer who wait than another gets a place of that
    one: nobody is kept out by those who guess, unless they are in as many networks as there are places.
    """

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._lines: OrderedDict[str, deque[_Look]] = OrderedDict()  # the first has the next turn
        self._waiting = 0
        self._running = 0

    def begin(self, kept: PasswordHash, given: bytes, network: str, done: Callable[[bool | None], None]) -> bool:
        if self._waiting + self._running >= MOST_WAITING and not self._makes_room(network):
            return False
        if self._executor is None:
            self._executor = ThreadPoolExecutor(THREADS, "balancer-passwords")
        self._lines.setdefault(network, deque()).append(_Look(kept, given, done))
        self._waiting += 1
        self._next()
        return True

    def call_soon(self, callback: Callable[..., object], *given: object) -> object:
        return asyncio.get_running_loop().call_soon(callback, *given)

    def close(self) -> None:
        """Nobody waits for what is still under way."""
        self._lines.clear()
        self._waiting = 0
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def _makes_room(self, network: str) -> bool:
        """Whether another network has so many who wait that the last of them has to go."""
        longest = max(self._lines.values(), key=len, default=None)
        own = len(self._lines.get(network, ()))
        if longest is None or len(longest) <= own + 1:
            return False
        last = longest.pop()
        self._waiting -= 1
        self.call_soon(last.done, None)
        return True

    def _next(self) -> None:
        while self._lines and self._running < THREADS and self._executor is not None:
            network, line = self._lines.popitem(last=False)
            look = line.popleft()
            if line:
                self._lines[network] = line  # behind the others
            self._waiting -= 1
            self._running += 1
            try:
                future = asyncio.get_running_loop().run_in_executor(self._executor, matches, look.kept, look.given)
            except RuntimeError:  # no thread can be made
                self._running -= 1
                self.call_soon(look.done, None)
                continue
            future.add_done_callback(lambda future, look=look: self._finished(look, future))  # type: ignore[misc]  # mypy can not infer a lambda with a default

    def _finished(self, look: _Look, future: asyncio.Future[bool]) -> None:
        self._running -= 1
        self._next()
        if not future.cancelled():
            look.done(None if future.exception() is not None else future.result())
