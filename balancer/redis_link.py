"""The link to Redis: one long-lived client, and a watcher that knows whether the server is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter

from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from balancer.redis_connection import reason
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
        self._client: Client | None = None
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
        self.state = RedisState(reason=NOT_CHECKED if settings.url else NOT_CONFIGURED)
        if running or self.configured:
            self.start()

    async def check_now(self) -> RedisState:
        """Look once; a server that is away and a URL that can not be read are states and no errors."""
        if not self.configured:
            return self.state
        try:
            if self._client is None:
                self._client = _client(self._settings)
        except ValueError:  # not repeated here: what could not be read may be part of a password
            return self._down("redis.url is not of the form redis://[user:password@]host[:port][/database]")
        try:
            # The first command of a connection pays for the connection; a second one tells the latency.
            await self._client.ping()
            began = perf_counter()
            await self._client.ping()
            latency = perf_counter() - began
            info = await self._client.info()
        except (RedisError, OSError) as error:
            return self._down(reason(error, self._settings.url))
        self.state = RedisState(True, None, latency, self._wall(), _digest(info))
        return self.state

    async def _watch(self) -> None:
        me = asyncio.current_task()
        # redis-py 8.1 now and then swallows a cancellation, so the end must not depend on it alone.
        while self._watcher is me:
            try:
                await self.check_now()
            except Exception as error:  # the task's outermost place: an odd server's answers
                self._down(reason(error, self._settings.url))
            if self._watcher is me:
                await self._sleep(self._every)

    def _down(self, reason: str) -> RedisState:
        self.state = RedisState(False, reason, None, self._wall())
        return self.state

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _client(settings: Redis) -> Client:
    """Make a client that fails fast: by default it takes four seconds and ten tries to find a port closed."""
    client: Client = Client.from_url(
        settings.url,
        protocol=3,
        client_name="balancer",
        socket_connect_timeout=settings.timeout,
        socket_timeout=settings.timeout,
        retry=Retry(NoBackoff(), 0),
        max_connections=4,
        decode_responses=True,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return client


def _digest(info: Mapping[str, object]) -> dict[str, str | int | float]:
    digest = {name: value for name in DIGEST if isinstance(value := info.get(name), str | int | float)}
    hits, misses = info.get("keyspace_hits"), info.get("keyspace_misses")
    if isinstance(hits, int) and isinstance(misses, int) and hits + misses:
        digest["hit_ratio"] = hits / (hits + misses)
    return digest
