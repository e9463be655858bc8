"""The method PURGE: one URL, from clients that may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from balancer.cache.purges import Purge
from balancer.cache.receipts import PurgeReceipt
from balancer.decision import Decision
from balancer.http1 import canned
from balancer.http1.fields import Field
from balancer.http1.head import RequestHead
from balancer.proxy.sides import ClientSide, Surroundings
from balancer.routing import Route
from balancer.tally import ListenerTally

PURGE: Final = b"PURGE"
JSON: Final = b"application/json"


class Purging:
    """Such a request: to its client's connection it is an exchange, and it asks no server."""

    __slots__ = ("_around", "_client", "_head", "_over", "_purge", "_purger", "_task", "decision", "listener", "route")

    def __init__(
        self,
        around: Surroundings,
        client: ClientSide,
        head: RequestHead,
        route: Route,
        decision: Decision,
        listener: ListenerTally,
        purge: Purge,
        purger: Callable[[list[Purge]], Awaitable[list[PurgeReceipt]]],
    ) -> None:
        self._around = around
        self._client = client
        self._head = head
        self._purge = purge
        self._purger = purger
        self._over = False
        self._task: asyncio.Task[None] | None = None
        self.route = route
        self.decision = decision
        self.listener = listener

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        (receipt,) = await self._purger([self._purge])
        if not self._over:
            self._answer(receipt)

    def _answer(self, receipt: PurgeReceipt) -> None:
        head, decision = self._head, self.decision
        levels = [
            {"level": level.level, "ok": level.ok, "entries": level.entries, "reason": level.reason}
            for level in receipt.levels
        ]
        body = json.dumps({"ok": receipt.ok, "levels": levels}).encode() + b"\n"
        status = 200 if receipt.ok else 503
        persistent = head.common.persistent and not head.common.has_body and not self._client.last
        self._client.send(
            canned.answer(
                status,
                body,
                date=self._around.date,
                content_type=JSON,
                extra=b"Cache-Control: no-store\r\n",
                persistent=persistent,
                minor=head.minor,
            )
        )
        decision.status = status
        decision.bytes_out = len(body)
        self._end("answered")
        self._client.finished(persistent)

    def _end(self, outcome: str) -> None:
        self._over = True
        self.decision.outcome = outcome
        self.decision.finished = monotonic()
        self._around.over(self)

    # What the client's connection says.

    def request_body(self, pieces: list[bytes]) -> None:
        """Nothing is made of a body."""

    def request_end(self, trailers: list[Field]) -> None:
        pass

    def client_fault(self, status: int, reason: str) -> None:
        self.client_gone()
        self._client.cut()

    def client_gone(self) -> None:
        """The purge goes on: it was asked for."""
        if not self._over:
            self.decision.status = 499
            self._end("client-abort")

    def client_full(self) -> None:
        pass

    def client_drained(self) -> None:
        pass
