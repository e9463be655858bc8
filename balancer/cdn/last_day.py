"""The traffic of the last 24 hours, asked of a provider now and then: it is slow to tell, and may cost money."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from balancer.cdn.errors import CdnError
from balancer.cdn.provider import CdnProvider
from balancer.cdn.types import Capability, CdnStats

log = structlog.get_logger("balancer.cdn")
KEPT: Final = 600.0
"""Seconds for which the figures are told again."""
KEPT_WHERE_DEAR: Final = 3600.0
"""The same at AWS, which takes money for each call."""
PATIENCE: Final = 3.0
"""Seconds that somebody waits for them; who comes later may have them."""


class LastDay:
    """Of one provider."""

    def __init__(
        self,
        provider: CdnProvider,
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._now = now
        self._kept = KEPT_WHERE_DEAR if provider.name == "aws" else KEPT
        self._asked = -math.inf
        self._asking: asyncio.Task[CdnStats] | None = None
        self._found: CdnStats | None = None

    async def stats(self) -> CdnStats | None:
        """As they were told last; None: they never were, or there are none."""
        if Capability.STATS not in self._provider.capabilities:
            return None
        if self._asking is None or (self._asking.done() and self._clock() - self._asked >= self._kept):
            self._asked = self._clock()
            end = self._now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            asked = self._provider.stats(end - timedelta(hours=24), end, 3600)
            self._asking = asyncio.get_running_loop().create_task(asked, name="cdn-last-day")
            self._asking.add_done_callback(self._note)
        await asyncio.wait([self._asking], timeout=PATIENCE)
        return self._found

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def _note(self, asking: asyncio.Task[CdnStats]) -> None:
        if asking.cancelled():
            return
        error = asking.exception()
        if error is None:
            self._found = asking.result()
        else:
            self._found = None  # of which day they were nobody would know
            if not isinstance(error, CdnError):
                log.error("cdn_stats_failed", exc_info=error)
