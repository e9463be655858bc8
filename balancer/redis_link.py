"""The link to Redis: one long-lived client, and a watcher that knows whether the server is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, perf_counter

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from balancer.redis_connection import UNREADABLE, Reach, asked, disconnect
from balancer.redis_sentinel import Sentinels
from config.schema import Redis

EVERY = 5.0
"""Seconds between two looks: soon enough for an alarm, and three commands are nothing to a server."""

DIGEST = (
    "redis_version",
    "valkey_version",
    "role",
    "uptime_in_seconds",
    "connected_clients",
    "blocked_clients",
    "used_memory",
    "used_memory_rss",
    "maxmemory",
    "mem_fragmentation_ratio",
    "instantaneous_ops_per_sec",
    "total_commands_processed",
    "keyspace_hits",
    "keyspace_misses",
    "expired_keys",
    "evicted_keys",
    "rejected_connections",
    "master_link_status",
)
"""What is kept of INFO; fields come and go with versions, so each may be missing."""
FIELDS = 500
"""Of INFO that are kept; there are about 250."""
OF_CLUSTER = ("cluster_state", "cluster_slots_assigned", "cluster_known_nodes", "cluster_size")
"""The same of CLUSTER INFO."""

NOT_CONFIGURED = "not configured: redis.url is empty"
NOT_CHECKED = "not asked yet"


@dataclass(frozen=True, slots=True)
class RedisState:
    """What the last look found; `ok` is None while nobody has looked or nothing is configured."""

    ok: bool | None = None
    reason: str | None = NOT_CONFIGURED
    latency: float | None = None
    """Seconds from PING to its answer; None unless `ok`."""
    checked: datetime | None = None
    digest: Mapping[str, str | int | float] = field(default_factory=dict)
    """The known fields of INFO, and `hit_ratio`; empty unless `ok`."""
    info: Mapping[str, str] = field(default_factory=dict)
    """All of INFO, as far as it is of a sensible size."""
    slow: int | None = None
    """Commands in SLOWLOG; None where the user may not ask."""
    at: float = 0.0
    """When it was looked, by the monotonic clock."""


class RedisLink:
    """A Redis server as the balancer sees it.

    Nothing waits for it: the watcher looks in its own task, everybody else reads `state`. A server that is
    away, slow or odd changes `state` and nothing else.
    """

    def __init__(
        self,
        settings: Redis,
        *,
        every: float = EVERY,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.state = RedisState(reason=NOT_CHECKED if settings.url else NOT_CONFIGURED)
        self._settings = settings
        self._every = every
        self._sleep = sleep
        self._wall = wall
        self._reach = Reach(settings)
        self._connection: AbstractConnection | None = None
        self._refused = False  # of this connection: to tell of slow commands
        self.before: RedisState | None = None
        """The look before, if both were answered: what rates are made with."""
        self._one_at_a_time = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def configured(self) -> bool:
        return bool(self._settings.url)

    def start(self) -> None:
        """Begin to watch; does nothing when no URL is set or the watcher runs."""
        if self.configured and self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch(), name="redis-link")

    async def close(self) -> None:
        """Stop watching and close the client's connections; `start` may follow."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])
        await self._drop()

    async def change(self, settings: Redis) -> None:
        """Take the settings of a reload: another URL or time limit means another client."""
        if settings == self._settings:
            return
        running = self._watcher is not None
        await self.close()
        self._settings = settings
        self._reach = Reach(settings)
        self.state = RedisState(reason=NOT_CHECKED if settings.url else NOT_CONFIGURED)
        if running or self.configured:
            self.start()

    async def check_now(self) -> RedisState:
        """Look once; a server that is away and a URL that can not be read are states and no errors."""
        if not self.configured:
            return self.state
        if self._reach.url is None:
            return self._down(UNREADABLE)
        async with self._one_at_a_time:
            kept, last = self._connection is not None, self.state
            try:
                try:
                    self.state = await self._look()
                except (RedisError, OSError) as error:
                    if not kept or isinstance(error, TimeoutError):
                        raise
                    await self._drop()  # it may have been restarted since: a new connection tells
                    self.state = await self._look()
            except BaseException as error:
                await self._drop()  # what was asked may still be answered
                self._reach = Reach(self._settings)  # which reads the files of TLS again
                if not isinstance(error, Exception):
                    raise
                self._down(self._reach.reason(error))  # an odd server's answers can make redis-py raise anything
            self.before = last if last.ok and self.state.ok else None
        return self.state

    async def _look(self) -> RedisState:
        patience = self._settings.timeout
        connection = self._connection = self._connection or await self._open(patience)
        # The first command may pay for more than itself; a second one tells the latency.
        await asked(connection, patience, "PING")
        began = perf_counter()
        await asked(connection, patience, "PING")
        latency = perf_counter() - began
        at = monotonic()
        info = _fields(await asked(connection, patience, "INFO"))
        digest = _digest(info, DIGEST)
        if self._reach.url is not None and self._reach.url.kind == "cluster":
            try:
                digest |= _digest(_fields(await asked(connection, patience, "CLUSTER", "INFO")), OF_CLUSTER)
            except ResponseError:
                pass  # a user who may not ask
        if digest.get("cluster_state", "ok") != "ok":
            return RedisState(False, f"cluster_state is {digest['cluster_state']}", None, self._wall(), digest)
        slow = await self._slow(connection, patience)
        return RedisState(True, None, latency, self._wall(), digest, info, slow, at)

    async def _slow(self, connection: AbstractConnection, patience: float) -> int | None:
        """How many commands are in SLOWLOG. A user who may not ask does so once per connection: each is noted there."""
        if self._refused:
            return None
        try:
            said = await asked(connection, patience, "SLOWLOG", "LEN")
        except ResponseError:
            self._refused = True
            return None
        return said if isinstance(said, int) else None

    async def _open(self, patience: float) -> AbstractConnection:
        """A connection to the server, to the master, or to any node."""
        url = self._reach.url
        assert url is not None, "it is looked at before"
        if url.kind == "sentinel":
            return await Sentinels(self._reach, url).open(patience)
        *others, last = url.nodes
        for place in others:
            try:
                return await self._reach.open(place, patience)
            except Exception:  # whatever it was, there are others
                continue
        return await self._reach.open(last, patience)

    async def _watch(self) -> None:
        me = asyncio.current_task()
        # redis-py 8.1 now and then swallows a cancellation, so the end must not depend on it alone.
        while self._watcher is me:
            try:
                await self.check_now()
            except Exception as error:  # the task's outermost place: an odd server's answers
                self._down(self._reach.reason(error))
            if self._watcher is me:
                await self._sleep(self._every)

    def _down(self, reason: str) -> RedisState:
        self.state = RedisState(False, reason, None, self._wall())
        return self.state

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._refused = False
        if connection is not None:
            await disconnect(connection)


def _fields(said: object) -> dict[str, str]:
    """The lines of INFO that have a value."""
    lines = said.decode("utf-8", "replace").splitlines() if isinstance(said, bytes) else []
    pairs = (line.partition(":") for line in lines[: 2 * FIELDS])
    return dict([(name[:100], value[:200]) for name, colon, value in pairs if colon][:FIELDS])


def _digest(info: Mapping[str, str], kept: Collection[str]) -> dict[str, str | int | float]:
    """Those of the fields that are kept, and the share of hits."""
    digest: dict[str, str | int | float] = {name: _number(info[name]) for name in kept if name in info}
    hits, misses = digest.get("keyspace_hits"), digest.get("keyspace_misses")
    if isinstance(hits, int) and isinstance(misses, int) and hits + misses:
        digest["hit_ratio"] = hits / (hits + misses)
    return digest


def _number(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text[:100]
