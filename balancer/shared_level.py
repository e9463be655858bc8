"""The level of a plane's cache that is shared with other balancers: there while the configuration asks for it."""

from __future__ import annotations

from balancer.cache.purges import Purge
from balancer.caching.stock import Stock
from balancer.redis_gateway import Gateway
from balancer.second_level import SecondLevel
from balancer.telemetry.cache_report import SecondReport
from config.schema import Config


class SharedLevel:
    """Redis below a stock's memory. What others purge is purged in that memory, too."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._gateway: Gateway | None = None  # whose it is: the plane's
        self._prefix = ""
        self._level: SecondLevel | None = None
        self._owed: dict[Purge, float] = {}  # what no Redis has taken yet, since when; for the next one

    async def change(self, config: Config, gateway: Gateway | None, *, caches: bool) -> None:
        """Take a configuration; `caches` says whether it has a route whose answers are cached."""
        wanted = gateway if caches and config.cache.redis else None
        if wanted is not self._gateway or config.redis.prefix != self._prefix:
            await self.close()
            if wanted is not None:
                self._open(wanted, config.redis.prefix)
        if self._level is not None:
            self._level.largest = config.cache.redis_max_object

    def _open(self, gateway: Gateway, prefix: str) -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._level = SecondLevel(gateway, gateway.settings, self._heard, self._stock.forget)
        for purge, at in self._owed.items():
            self._level.purges.owe(purge, at)
        self._stock.second = self._level
        self._level.start()

    def _heard(self, purge: Purge) -> None:
        self._stock.purge([purge])

    async def close(self) -> None:
        """Do without it; the gateway is its owner's to close."""
        level = self._level
        self._level = self._gateway = self._stock.second = None
        if level is not None:
            await level.close()
            self._owed = {purge: at for purge, (_, at) in level.purges.owed.items()}

    def report(self) -> SecondReport | None:
        """How it goes; None where there is none."""
        level, gateway = self._level, self._gateway
        if level is None or gateway is None:
            return None
        state = gateway.state
        hears = level.in_step
        reason = state.reason if state.phase != "up" else None if hears else level.listener.reason
        return SecondReport(
            state=state.phase if state.phase != "up" or hears else "deaf",
            up=gateway.up,
            reason=reason,
            commands=dict(state.results),
            seconds=state.latency,
            lookups=dict(level.counts),
            gaps=level.purges.gaps,
            owed=len(level.purges.owed),
        )
