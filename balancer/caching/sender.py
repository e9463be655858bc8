"""Stored answers on their way to clients."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final, Protocol

from balancer.cache.cache_status import line as cache_status
from balancer.cache.entry import Entry
from balancer.cache.memory import Memory
from balancer.caching import order as why
from balancer.caching.order import Order
from balancer.caching.stored import SEPARATE, WITHOUT_CONTENT, answer, connection_line, encoded
from balancer.compression import compress as compressed
from balancer.compression.coders import SLICE
from balancer.decision import Decision
from balancer.proxy.sides import ClientSide, Surroundings
from balancer.routing import Route
from balancer.tally import ListenerTally

HIT: Final = "hit"


class Counting(Surroundings, Protocol):
    """Where it is counted what became of requests: the reception."""

    def ended(self, decision: Decision, listener: ListenerTally, route: Route) -> None:
        """A request is over and its decision complete."""


class Sender:
    """Sends what is in memory, compressed where a client takes that."""

    def __init__(self, around: Counting, memory: Memory) -> None:
        self._around = around
        self._memory = memory
        self._compressing: set[asyncio.Task[None]] = set()

    def hit(
        self,
        client: ClientSide,
        route: Route,
        entry: Entry,
        wanted: bytes | None,
        decision: Decision,
        listener: ListenerTally,
        now: float,
    ) -> None:
        """The usual case of `serve`, and nothing but it: a whole fresh answer to a plain GET."""
        edits = route.edits
        if edits.for_cdn is not None and client.trusted:
            edits = edits.for_cdn
        if edits.request_id:
            request_id = decision.request_id = b"%032x" % self._around.rng.getrandbits(128)
            named = b"%b: %b\r\n" % (edits.request_id, request_id)
        else:
            named = b""
        told = encoded(entry, edits, route.compress, wanted)
        head = told.plain
        body = entry.body
        if told.coding is not None:
            coded = self._coded(entry, told.coding)
            if coded is not None:
                head, body = told.head, coded
        size = len(body)
        sent = b"%bContent-Length: %d\r\nAge: %d\r\nCache-Status: balancer; hit; ttl=%d\r\n%b\r\n" % (
            head,
            size,
            now - entry.born,
            entry.fresh_until - now,
            named,
        )
        if entry.status in WITHOUT_CONTENT:
            sent = sent.replace(b"Content-Length: 0\r\n", b"", 1)
        if size < SEPARATE:
            client.send(sent + body)
        else:
            client.send(sent)
            client.send(body)
        entry.visited = True
        entry.hits += 1
        decision.status = entry.status
        decision.bytes_out = size
        decision.cache = HIT
        decision.outcome = "ok"
        decision.finished = monotonic()
        self._around.ended(decision, listener, route)
        client.finished(True)

    def serve(self, order: Order, entry: Entry, verdict: str, fwd_status: int = 0, *, shows_key: bool = False) -> None:
        """Answer with what is stored. `fwd_status` is what a server has said meanwhile."""
        client, head, rule, decision = order.client, order.head, order.rule, order.decision
        now = monotonic()
        minor = head.minor
        persistent = head.common.persistent and not client.last
        compress = order.route.compress
        edits = order.edits
        if compress is not None and (wanted := compress.takes(head)) is not None:
            told = encoded(entry, edits, compress, wanted)
            if told.coding is not None:
                self._coded(entry, told.coding)
        sent = answer(entry, edits, compress, order.asks, head)
        body = sent.body
        parts = [sent.head, order.extra(self._around.rng)]
        if sent.status not in WITHOUT_CONTENT:
            parts.append(b"Content-Length: %d\r\n" % len(body))
        parts.append(b"Age: %d\r\n" % max(now - entry.born, 0))
        if rule.status_header:
            hit = verdict == HIT or (verdict == "stale" and order.why is why.URI_MISS)
            key = order.key if shows_key else None
            parts.append(
                cache_status(hit=True, ttl=int(entry.fresh_until - now), key=key)
                if hit
                else cache_status(fwd=order.why, fwd_status=fwd_status, key=key)
            )
        parts.append(connection_line(minor, persistent))
        parts.append(b"\r\n")
        if head.method == b"HEAD":
            body = b""
        if len(body) < SEPARATE:
            parts.append(body)
            client.send(b"".join(parts))
        else:
            client.send(b"".join(parts))
            client.send(body)
        entry.visited = True
        entry.hits += 1
        decision.status = sent.status
        decision.bytes_out = len(body)
        decision.cache = verdict
        decision.outcome = "ok"
        decision.finished = now
        self._around.over(order)
        client.finished(persistent)

    def _coded(self, entry: Entry, coding: bytes) -> bytes | None:
        """The body in a coding, made when it is asked for first; a large one is made beside the loop."""
        encodings = entry.encodings
        if encodings is None:
            encodings = entry.encodings = {}
        elif coding in encodings:
            return encodings[coding] or None
        body = entry.body
        if len(body) > SLICE:
            encodings[coding] = None  # until it is there it goes as it is
            task = asyncio.get_running_loop().create_task(self._compress(entry, coding))
            self._compressing.add(task)
            task.add_done_callback(self._compressing.discard)
            return None
        made = encodings[coding] = compressed(coding, body)
        self._memory.resize(entry)
        return made

    async def _compress(self, entry: Entry, coding: bytes) -> None:
        made = await asyncio.to_thread(compressed, coding, entry.body)
        if entry.encodings is not None:
            entry.encodings[coding] = made
            self._memory.resize(entry)
