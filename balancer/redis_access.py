"""The one gateway to Redis of a plane, for all that use it: there while the configuration asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ssl import SSLContext

from balancer.redis_gateway import Gateway
from balancer.server_tls import build
from balancer.telemetry.redis_report import NodeReport, RedisReport
from config.redis_url import is_secured
from config.schema import Config, ServerTls


class RedisAccess:
    """Owns the gateway.

    Another server means another gateway: what was begun with the one that was can not end at its successor. Whoever
    uses it takes it from here each time, or compares it with the one that they have.
    """

    def __init__(self, on_event: Callable[[str, str, str], None] = lambda event, where, detail: None) -> None:
        self.gateway: Gateway | None = None
        """None while nothing uses Redis, or none is configured."""
        self._on_event = on_event
        self._prepared: tuple[ServerTls, int, SSLContext] | None = None

    async def prepare(self, config: Config, reads: int) -> None:
        """Read the files that TLS needs, if they may be others than before. Raises `BadTls`; nothing has changed."""
        if not is_secured(config.redis.url):
            return
        known = self._prepared
        if known is None or known[:2] != (config.redis.tls, reads):
            self._prepared = config.redis.tls, reads, await asyncio.to_thread(build, config.redis.tls, ())

    def keeps(self, config: Config, *, wanted: bool) -> bool:
        """Whether `change` would leave the gateway that there is; if not, last words over it come before that."""
        before = self.gateway
        return before is None or (wanted and bool(config.redis.url) and before.serves(config.redis))

    async def change(self, config: Config, *, wanted: bool) -> None:
        """Take a configuration; `wanted` says whether anything in it uses Redis."""
        settings = config.redis if wanted and config.redis.url else None
        before = self.gateway
        context = self._prepared[2] if self._prepared is not None and is_secured(config.redis.url) else None
        if before is not None and settings is not None and before.serves(settings):
            before.take(settings, context)
            return
        counts = before.state.counts if before is not None else None
        self.gateway = None
        if settings is not None:
            self.gateway = Gateway(settings, context=context, counts=counts, on_event=self._on_event)
        if before is not None:
            await before.close()

    def report(self) -> RedisReport | None:
        """How it goes, with the live tally in it; None while nothing uses Redis."""
        gateway = self.gateway
        if gateway is None:
            return None
        state, counts = gateway.state, gateway.state.counts
        return RedisReport(
            state=state.phase,
            reason=state.reason,
            waiting=gateway.waiting,
            nodes=tuple(NodeReport(name, node.phase, node.reason) for name, node in gateway.nodes()),
            commands=dict(counts.results),
            seconds=counts.latency,
            opened=counts.opened,
            connects=counts.connects,
            redirected=counts.redirected,
        )

    async def close(self) -> None:
        gateway, self.gateway = self.gateway, None
        if gateway is not None:
            await gateway.close()
