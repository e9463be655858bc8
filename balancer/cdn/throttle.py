"""Whether one more call may be made of a provider: the same for all calls, whatever they are for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from balancer.cdn.errors import CdnError, RateLimited, Unavailable
from balancer.cdn.purging.breaker import FAILURES, Breaker
from balancer.cdn.purging.buckets import Bucket

PATIENCE: Final = 5.0
"""Seconds that a call waits for its turn; one that would have to wait for longer is not made."""
AWAY: Final = 1.0
"""Seconds to stay away where a provider that wants fewer calls does not say how many."""


class Throttle:
    """For one host of a provider. Nothing is queued that has no turn soon: whoever asked is told when to ask again.

    Purges have a queue of their own, with their own limits, and so take their turns there; what comes of them is told
    here as well.
    """

    def __init__(
        self,
        provider: str,
        clock: Callable[[], float],
        bucket: Bucket | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`bucket` is of all calls of the account together, and may be shared; None: there is no such limit."""
        self._provider = provider
        self._clock = clock
        self._bucket = bucket
        self._pause = pause
        self._breaker = Breaker()
        self._blocked_until = -math.inf

    def wait(self, calls: int = 1) -> float:
        """Seconds until the provider takes so many more calls."""
        now = self._clock()
        limited = self._bucket.wait(calls, now) if self._bucket is not None else 0.0
        return max(limited, self._blocked_until - now, 0.0)

    async def turn(self) -> None:
        """Until a call may be made. RateLimited, Unavailable: it may not, and when it may."""
        now = self._clock()
        if (away := self._breaker.wait(now)) > 0:
            raise Unavailable(
                f"{self._provider} gave no answer {FAILURES} times in a row and is left alone for {away:.0f} s",
                provider=self._provider,
                retry_after_s=away,
            )
        wait = self.wait()
        if wait > PATIENCE:
            raise RateLimited(
                f"{self._provider} takes no more calls for {wait:.0f} s",
                provider=self._provider,
                retry_after_s=wait,
            )
        if self._bucket is not None:
            self._bucket.take(1, now)  # of what is still to come, if need be: first come, first served
        if wait > 0:
            await self._pause(wait)

    def ended(self, error: CdnError | None, *, of_purge: bool = False) -> None:
        """What came of a call; None: all was well. That purges are too many says nothing of other calls."""
        now = self._clock()
        if isinstance(error, Unavailable):
            self._breaker.failed(now)
            return
        self._breaker.answered()
        if isinstance(error, RateLimited) and not of_purge:
            seconds = error.retry_after_s if error.retry_after_s is not None else AWAY
            self._blocked_until = max(self._blocked_until, now + seconds)
            if self._bucket is not None:
                self._bucket.empty(seconds, now)

    def left(self, calls: float, reset_s: float) -> None:
        """What the provider says is left of all calls, and for how long."""
        if self._bucket is None:
            return
        now = self._clock()
        self._bucket.correct(calls, now)
        if calls < 1:
            self._bucket.empty(reset_s, now)
