"""Whether a provider is well, asked now and then, once for all who want to know."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import NamedTuple

import structlog

from balancer.cdn.errors import CdnError
from balancer.cdn.provider import CdnProvider
from balancer.cdn.types import ProviderStatus

log = structlog.get_logger("balancer.cdn")
CHECKED = 60.0
"""Seconds for which what a check found is told again."""


class Verdict(NamedTuple):
    """How a provider is, as far as that is known."""

    ok: bool | None
    reason: str | None
    """Why it is not ok."""


class Checkup:
    """The checks of one provider."""

    def __init__(self, provider: CdnProvider, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._clock = clock
        self._check: asyncio.Task[ProviderStatus] | None = None  # the last one, or the one that is under way
        self._checked = -math.inf  # when that began
        self._found: ProviderStatus | CdnError | None = None

    async def status(self) -> ProviderStatus:
        """What the last check found, or a new one, if that was more than `CHECKED` seconds ago."""
        return await asyncio.shield(self._due())

    def look(self) -> Verdict:
        """The same without waiting. It is asked anew when it is time, so that whoever looks again knows."""
        self._due()
        found = self._found
        if found is None:
            return Verdict(None, "it has not been checked yet")
        if isinstance(found, CdnError):
            return Verdict(False, str(found))
        return Verdict(found.ok, "; ".join(problem.message for problem in found.problems) or None)

    def close(self) -> None:
        if self._check is not None:
            self._check.cancel()

    def _due(self) -> asyncio.Task[ProviderStatus]:
        now = self._clock()
        if self._check is None or (self._check.done() and now - self._checked >= CHECKED):
            self._checked = now
            self._check = asyncio.get_running_loop().create_task(self._provider.status(), name="cdn-check")
            self._check.add_done_callback(self._note)
        return self._check

    def _note(self, check: asyncio.Task[ProviderStatus]) -> None:
        if check.cancelled():
            return
        error = check.exception()
        if error is None:
            self._found = check.result()
        elif isinstance(error, CdnError):
            self._found = error
        else:
            log.error("cdn_check_failed", exc_info=error)
