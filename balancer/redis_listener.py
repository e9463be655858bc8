"""Hears what is published on a channel of Redis, and comes back whenever the connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from redis.asyncio.connection import AbstractConnection

from balancer.redis_connection import disconnect, ended

PATIENCE: Final = 1.0
"""Seconds that a step of connecting may take; nobody waits for it."""
SHORTEST, LONGEST = 0.1, 5.0
"""Seconds between two attempts, doubled after each: whoever does not hear is behind with purges."""
QUIET: Final = 10.0
"""Seconds of silence after which the server is asked whether it is there; as long again, and it is not."""


class RedisListener:
    """A subscription in a task of its own.

    `message` gets what is published, `subscribed` is called after each time that hearing has begun: what was published
    before is lost, and has to be looked for then.
    """

    def __init__(
        self,
        open_: Callable[[float], Awaitable[AbstractConnection]],
        explain: Callable[[Exception], str],
        channel: bytes,
        message: Callable[[bytes], None],
        subscribed: Callable[[], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
        quiet: float = QUIET,
    ) -> None:
        """`open_` opens a connection, each step within so many seconds; `explain` makes a line of what went wrong."""
        self.hears = False
        self.began = 0
        """Times that hearing has begun."""
        self.reason: str | None = None
        """Why it does not hear, or did not last."""
        self._open = open_
        self._explain = explain
        self._endings: set[asyncio.Task[None]] = set()
        self._channel = channel
        self._message = message
        self._subscribed = subscribed
        self._sleep = sleep
        self._rng = rng or Random()
        self._quiet = quiet
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._listen(), name="redis-listener")

    def again(self) -> None:
        """Begin anew with another connection: the server is another one."""
        task, self._task = self._task, None
        if task is None:
            return
        self.hears = False
        ending = asyncio.get_running_loop().create_task(ended(task), name="redis-listener-end")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        self.start()

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await ended(task)
        self.hears = False
        while self._endings:
            await asyncio.wait(self._endings)

    async def _listen(self) -> None:
        me = asyncio.current_task()
        pause = SHORTEST
        # redis-py 8.1 now and then swallows a cancellation, so the end must not depend on it alone.
        while self._task is me:
            connection = None
            try:
                connection = await self._open(PATIENCE)
                await connection.send_command("SUBSCRIBE", self._channel)
                await self._hear(connection, me)
            except Exception as error:  # the task's outermost place: whatever it was, it is tried again
                if self._task is me:
                    self.reason = self._explain(error)
            finally:
                if self._task is me:
                    if self.hears:
                        pause = SHORTEST
                    self.hears = False
                if connection is not None:
                    await disconnect(connection)
            if self._task is me:
                await self._sleep(self._rng.uniform(pause / 2, pause))
                pause = min(2 * pause, LONGEST)

    async def _hear(self, connection: AbstractConnection, me: asyncio.Task[None] | None) -> None:
        asked = False
        while self._task is me:
            try:
                async with asyncio.timeout(self._quiet):
                    said = await connection.read_response(
                        disable_decoding=True, timeout=None, disconnect_on_error=False, push_request=True
                    )
            except TimeoutError:
                if asked:
                    raise
                asked = True
                await connection.send_command("PING", check_health=False)
                continue
            asked = False
            if not isinstance(said, list) or len(said) < 3:
                continue  # the answer to PING
            if said[0] == b"subscribe":
                self.hears = True
                self.began += 1
                self.reason = None
                self._subscribed()
            elif said[0] == b"message" and isinstance(said[2], bytes):
                self._message(said[2])
