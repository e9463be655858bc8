"""Messages on their way to one webhook: in their order, tried again, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from time import time as wall_time  # noqa: TID251  # when something was told is what the clock on the wall says
from typing import Final

import aiohttp
import structlog

from balancer.alerting.messages import body
from balancer.alerting.states import Told
from config.alerts import Webhook

log = structlog.get_logger("balancer.alerts")

QUEUE: Final = 100
"""Messages; the oldest is dropped for a new one."""
GROUPED: Final = 3.0
"""Seconds in which what fires together goes into one message."""
AGAIN: Final = (1.0, 5.0, 30.0, 120.0, 300.0)
"""Seconds before a message is tried again; then it is given up."""
LONGEST_WAIT: Final = 600.0


class Delivery:
    """One webhook. To be made on the loop."""

    def __init__(self, name: str, webhook: Webhook, sender: str, again: Sequence[float] = AGAIN) -> None:
        self.name = name
        self.webhook = webhook
        self.results: Counter[str] = Counter()
        self.last: tuple[float, str] | None = None
        """When a message was tried last, and what came of it."""
        self._sender = sender
        self._again = again
        self._waiting: deque[Told] = deque()
        self._something = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def tell(self, told: Sequence[Told]) -> None:
        for one in told:
            if len(self._waiting) >= QUEUE:
                self._waiting.popleft()
                self.results["dropped"] += 1
            self._waiting.append(one)
        self._something.set()

    async def send(self, told: Sequence[Told]) -> str:
        """Try once, now; what came of it in a few words: "sent", or why not."""
        content, fields = body(self.webhook, told, self._sender, wall_time())
        timeout = aiohttp.ClientTimeout(total=self.webhook.timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(self.webhook.url, data=content, headers=fields, allow_redirects=False) as answer,
            ):
                await answer.content.read(1024)
                if answer.status < 300:
                    return "sent"
                self._retry_after = _seconds(answer.headers.get("Retry-After"))
                return f"answered {answer.status}"
        except TimeoutError:
            return "no answer in time"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__  # its text may have the URL in it, which is a secret

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    _retry_after: float | None = None

    async def _run(self) -> None:
        while True:
            await self._something.wait()
            await asyncio.sleep(GROUPED)
            self._something.clear()
            told = list(self._waiting)
            self._waiting.clear()
            if told:
                await self._deliver(told)

    async def _deliver(self, told: Sequence[Told]) -> None:
        for wait in (*self._again, None):
            self._retry_after = None
            result = await self.send(told)
            self.last = (wall_time(), result)
            if result == "sent":
                self.results["sent"] += 1
                return
            log.warning("alert not delivered", webhook=self.name, reason=result, again_in=wait)
            if wait is None or _is_final(result):
                break
            later: float | None = self._retry_after  # `send` has set it
            await asyncio.sleep(min(wait if later is None else later, LONGEST_WAIT))
        self.results["failed"] += 1


def _is_final(result: str) -> bool:
    """What will not be otherwise when it is tried again."""
    found = result.removeprefix("answered ")
    return found != result and found not in ("408", "425", "429") and not found.startswith("5")


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isascii() and value.isdecimal() else None
