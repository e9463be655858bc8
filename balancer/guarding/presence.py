"""How many balancers share the limits in one Redis."""

from __future__ import annotations

from collections import deque
from secrets import token_hex
from typing import Final

from balancer.redis_gateway import Gateway, Unavailable
from balancer.redis_script import Script

LIFE: Final = 10.0
"""Seconds after which a balancer that has not been heard of counts no longer."""
MOST: Final = 10_000
"""Balancers that can be believed to share one Redis: a share of nothing would refuse everybody."""

_HERE: Final = Script(
    """local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""
)


class Presence:
    """Says that this balancer is there, and remembers how many are.

    The number falls no sooner than `LIFE` seconds after it was last as high: a Redis that was restarted empty learns of
    one balancer after the other.
    """

    def __init__(self) -> None:
        self._name = token_hex(8)
        self._place = ""  # where it has said that it is there
        self._counts: deque[tuple[float, int]] = deque()  # of the last seconds, falling

    @property
    def instances(self) -> int:
        """Balancers that share the limits, this one included, by what was known last."""
        return self._counts[0][1] if self._counts else 1

    async def tell(self, gateway: Gateway, prefix: str, now: float) -> None:
        """Be there for `LIFE` seconds more. Raises `Unavailable`."""
        place = f"{prefix}rl:instances"
        if place != self._place:
            await self.leave(gateway)
        self._place = place
        found = await _HERE.run(gateway, [self._place], self._name, int(LIFE * 1000))
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= MOST:
            raise Unavailable("nonsense")
        self.heard(found, now)

    def heard(self, count: int, now: float) -> None:
        """So many are there."""
        counts = self._counts
        while counts and counts[-1][1] <= count:
            counts.pop()
        counts.append((now, count))
        while len(counts) > 1 and counts[0][0] + LIFE <= now:
            counts.popleft()

    async def leave(self, gateway: Gateway) -> None:
        """Not be there any more; if that can not be said, it shows within `LIFE` seconds."""
        place, self._place = self._place, ""
        if not place:
            return
        try:
            await gateway.run("ZREM", place, self._name)
        except Unavailable:
            return
