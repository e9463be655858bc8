"""The one gateway to Redis of a plane, for all that use it: there while the configuration asks for it."""

from __future__ import annotations

from balancer.redis_gateway import Gateway
from config.schema import Config


class RedisAccess:
    """Owns the gateway.

    Another server means another gateway: what was begun with the one that was can not end at its successor. Whoever
    uses it takes it from here each time, or compares it with the one that they have.
    """

    def __init__(self) -> None:
        self.gateway: Gateway | None = None
        """None while nothing uses Redis, or none is configured."""

    async def change(self, config: Config, *, wanted: bool) -> None:
        """Take a configuration; `wanted` says whether anything in it uses Redis."""
        settings = config.redis if wanted and config.redis.url else None
        before = self.gateway
        if before is not None and settings is not None and before.serves(settings):
            before.settings = settings
            return
        self.gateway = Gateway(settings) if settings is not None else None
        if before is not None:
            if self.gateway is not None:
                self.gateway.state.go_on_from(before.state)
            await before.close()

    async def close(self) -> None:
        gateway, self.gateway = self.gateway, None
        if gateway is not None:
            await gateway.close()
