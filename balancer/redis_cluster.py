"""The nodes of a cluster: each command goes to the one that has its key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from balancer.redis_connection import Part, Reach, Unreached, asked, disconnect, ended, packed
from balancer.redis_deadlines import Ask
from balancer.redis_node import CONNECT, Node, NodeSurroundings
from balancer.redis_slots import SLOTS, SlotMap, redirection, slot_of
from balancer.redis_state import GatewayCounts, GatewayState, Phase, Unavailable
from config.redis_url import RedisPlace, RedisUrl

MOST: Final = 1000
"""Nodes; a cluster is not meant to have more."""
PATIENCE: Final = 0.5
"""Seconds for a node that is asked where slots are; there are others."""
APART: Final = 0.1
"""Seconds between two looks, however many nodes say that what is known is out of date."""
AGAIN: Final = 1.0
"""Seconds between two looks while a node is not used: another may have taken its slots."""
_SLOTS: Final = packed(("CLUSTER", "SLOTS"))
_ASKING: Final = packed(("ASKING",))
_OUT_OF_DATE: Final = frozenset(("CLUSTERDOWN", "MOVED", "READONLY", "MASTERDOWN"))


class Cluster:
    """Keeps one node for each master, and knows who has which slots.

    What is known is brought up to date by a task of its own: as soon as a node says that it is wrong, and once a second
    while a node is not used. A command that came to the wrong node is sent on once, within its deadline; nothing is
    ever asked twice otherwise. Nodes fail each for itself.
    """

    def __init__(
        self,
        reach: Reach,
        url: RedisUrl,
        timeout: float,
        counts: GatewayCounts,
        around: NodeSurroundings,
    ) -> None:
        self.nodes: dict[RedisPlace, Node] = {}
        self.known = False
        """Whether it has been told who has which slots."""
        self.looks = 0
        """Times that it has been told."""
        self.timeout = timeout
        self.reason: str | None = None
        """Why it could not be told the last time."""
        self._reach = reach
        self._url = url
        self._counts = counts
        self._around = replace(around, turned=self._node_turned, refused=self._refused, keeps=True)
        self._turned, self._tell = around.turned, around.refused
        self._rng: Random = around.rng
        self._slots: list[Node | None] = [None] * SLOTS
        self._out_of_date = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._retired: dict[Node, asyncio.TimerHandle] = {}
        self._closed = False

    def node_of(self, command: Sequence[Part]) -> Node:
        """The node to ask. As long as nothing is known it is any, which knows who to ask."""
        if self._keeper is None or self._keeper.done():
            self._start()
        slot = slot_of(command)
        node = self._slots[slot] if slot is not None else None
        return node if node is not None else self._any()

    @property
    def phase(self) -> Phase:
        phases = {node.state.phase for node in self.nodes.values()}
        if not phases or phases == {"up"}:
            return "up"
        return "partial" if "up" in phases else "open"

    @property
    def waiting(self) -> int:
        return sum(node.waiting for node in self.nodes.values())

    async def open(self, patience: float) -> AbstractConnection:
        """A connection to any node, to listen on: what is published reaches all. Raises what the last try does."""
        last: Exception = Unreached("connect", "there is no node")
        for place in self._places():
            try:
                return await self._reach.open(place, patience)
            except Exception as error:  # whatever it was, there are others
                last = error
        raise last

    async def close(self) -> None:
        self._closed = True
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await ended(keeper)
        retired = list(self._retired)
        for timer in self._retired.values():
            timer.cancel()
        self._retired.clear()
        for node in (*self.nodes.values(), *retired):
            await node.close()
        if self._closing:
            await asyncio.wait(self._closing)

    # Nodes.

    def _node(self, place: RedisPlace) -> Node:
        node = self.nodes.get(place)
        if node is None:

            async def open_(patience: float) -> AbstractConnection:
                return await self._reach.open(place, patience)

            state = GatewayState("up", None, self._counts)
            node = self.nodes[place] = Node(place, self.timeout, state, open_, self._around)
        return node

    def _any(self) -> Node:
        """One that is used, if there is one."""
        if not self.nodes:
            for place in self._url.nodes:
                self._node(place)
        nodes = list(self.nodes.values())
        return self._rng.choice([node for node in nodes if node.up] or nodes)

    def _places(self) -> list[RedisPlace]:
        """Where one may ask: nodes that are used first."""
        used = [place for place, node in self.nodes.items() if node.up]
        self._rng.shuffle(used)
        return list(dict.fromkeys((*used, *self._url.nodes, *self.nodes)))

    def _retire(self, node: Node) -> None:
        """It has no slots any more; what is under way there may be answered."""

        def close() -> None:
            del self._retired[node]
            closing = asyncio.get_running_loop().create_task(node.close(), name="redis-cluster-retired")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

        self._retired[node] = asyncio.get_running_loop().call_later(2 * self.timeout, close)

    # What nodes say.

    def _node_turned(self, node: Node) -> None:
        if node in self._retired:
            return
        if not node.up:
            self._out_of_date.set()
        self._turned(node)

    def _refused(self, node: Node, ask: Ask, kind: str, error: ResponseError) -> bool:
        if kind in _OUT_OF_DATE:
            self._out_of_date.set()
        if kind not in ("MOVED", "ASK") or self._closed:
            return self._tell(node, ask, kind, error)
        told = redirection(f"{kind} {str(error).removeprefix(kind).lstrip()}", node.place)
        if told is None:
            return False
        how, slot, place = told
        if place not in self.nodes and len(self.nodes) >= MOST:
            return False
        other = self._node(place)
        if how == "MOVED":
            self._slots[slot] = other
        if ask.moved or ask.missed or ask.future.done() or not ask.data:
            return False
        self._counts.redirected += 1
        if how == "ASK":
            other.take(self._asking(ask), ask.again())
        else:
            other.take(ask.again())
        return True

    def _asking(self, ask: Ask) -> Ask:
        """What has to be said right before a command that a slot's next owner is asked."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        return Ask(future, _ASKING, ask.asked, ask.until, ask.limit)

    # Who has which slots.

    def _start(self) -> None:
        self._out_of_date.set()
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="redis-cluster")

    async def _keep(self) -> None:
        me = asyncio.current_task()
        # redis-py 8.1 now and then swallows a cancellation, so the end must not depend on it alone.
        while self._keeper is me:
            settled = self.known and self.reason is None and self.phase == "up"
            try:
                async with asyncio.timeout(None if settled else AGAIN):
                    await self._out_of_date.wait()
            except TimeoutError:
                pass
            self._out_of_date.clear()
            await self._look()
            await self._around.sleep(APART)

    async def _look(self) -> None:
        """Ask until somebody knows."""
        failed = None
        for place in self._places():
            try:
                slots = SlotMap.of(await self._told(place), place)
            except Unavailable as error:
                failed = f"{place}: {self.nodes[place].state.reason or error}"
                continue
            except Exception as error:  # whatever it was, there are others
                failed = f"{place}: {self._reach.reason(error)}"
                continue
            if slots is not None and len(slots.masters) <= MOST:
                self._adopt(slots)
                return
            failed = f"{place}: it is no node of a cluster with slots"
        self.reason = failed

    async def _told(self, place: RedisPlace) -> object:
        node = self.nodes.get(place)
        if node is not None and node.up:
            return await node.run(_SLOTS, max(PATIENCE, self.timeout))
        connection = await self._reach.open(place, min(CONNECT, PATIENCE), lasting=False)
        try:
            return await asked(connection, PATIENCE, "CLUSTER", "SLOTS")
        finally:
            await disconnect(connection)

    def _adopt(self, slots: SlotMap) -> None:
        nodes = {place: self._node(place) for place in slots.masters}
        self._slots = [nodes[place] if place is not None else None for place in slots.owners]
        gone = [node for place, node in self.nodes.items() if place not in nodes]
        self.nodes = nodes
        for node in gone:
            self._retire(node)
        self.known = True
        self.looks += 1
        self.reason = None
        for node in gone:
            if node.state.phase != "up":
                self._turned(node)  # it is not missed any more
