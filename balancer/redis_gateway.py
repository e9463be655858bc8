"""The way to Redis for whatever serves requests: one server, the master that sentinels know, or a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from ssl import SSLContext
from time import monotonic
from typing import Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from balancer.redis_breaker import FAILURES
from balancer.redis_cluster import Cluster
from balancer.redis_connection import Part, Reach, Unreached, ended, packed
from balancer.redis_deadlines import Ask
from balancer.redis_listener import RedisListener
from balancer.redis_node import MOST, Node, NodeSurroundings
from balancer.redis_sentinel import SWITCH, Sentinels
from balancer.redis_state import GatewayCounts, GatewayState, Unavailable
from config.redis_url import RedisPlace
from config.schema import Redis

__all__ = ["FAILURES", "MOST", "Gateway", "GatewayState", "Unavailable"]

DOWN: Final = "redis_down"
BACK: Final = "redis_back"
MOVED: Final = "redis_moved"
REFUSES: Final = "redis_refuses"
OF_REDIS: Final = frozenset((DOWN, BACK, MOVED, REFUSES))
"""Events, each with the server's name."""
NOT_CONFIGURED: Final = "not configured: redis.url is empty"
AGAIN: Final = 60.0
"""Seconds after which the log is told again of a kind of error that goes on."""
UNTOLD: Final = frozenset(("NOSCRIPT", "MOVED", "ASK", "TRYAGAIN", "ERR"))
"""Errors that are nothing to an operator, or may be of any number of kinds."""
_NOWHERE: Final = RedisPlace("", 0)


class Gateway:
    """Runs commands, each on the server that it is for; all that are asked in one turn of the loop in one write.

    Who asks gets a future that is done by the deadline, come what may: with the answer, or with `Unavailable`. Nothing
    is asked a second time. While a server fails, everything for it fails at once (see `Node`, `Cluster`).
    """

    def __init__(
        self,
        settings: Redis,
        *,
        context: SSLContext | None = None,
        counts: GatewayCounts | None = None,
        on_event: Callable[[str, str, str], None] = lambda event, where, detail: None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        """`counts`: to be counted on; `on_event` is told what an operator should read (see `Pool`)."""
        self.on_heal: list[Callable[[], None]] = []
        """Called when a server is used again after it was not, or is another one than before."""
        self.on_move: list[Callable[[], None]] = []
        """Called when the server is another one: what was published there is not heard here."""
        self.reach = Reach(settings, context)
        self._settings = settings
        self._on_event = on_event
        self._told: dict[str, float] = {}  # kinds of errors that the log was told of, and when
        self._clock = clock
        self._closed = False
        self._node: Node | None = None
        self._cluster: Cluster | None = None
        self._sentinels: Sentinels | None = None
        self._watch: RedisListener | None = None
        self._looking: asyncio.Task[None] | None = None
        self._around = NodeSurroundings(clock, sleep, rng or Random(), self.reach.reason, self._turned, self._refused)
        self.state = GatewayState("up", None, counts)
        url = self.reach.url
        if url is not None and url.kind == "cluster":
            self._cluster = Cluster(self.reach, url, settings.timeout, self.state.counts, self._around)
            return
        if not settings.url:
            self.state.phase, self.state.reason = "off", NOT_CONFIGURED
        if url is not None and url.kind == "sentinel":
            sentinels = self._sentinels = Sentinels(self.reach, url, self._moved)
            self._watch = RedisListener(
                sentinels.open_sentinel, self.reach.reason, SWITCH, self._switched, self._look, sleep=sleep, rng=rng
            )
        place = url.nodes[0] if url is not None else _NOWHERE
        self._node = Node(place, settings.timeout, self.state, self.open, self._around)

    @property
    def settings(self) -> Redis:
        return self._settings

    def take(self, settings: Redis, context: SSLContext | None = None) -> None:
        """Take settings that name the same server; connections made from now on begin with this context."""
        self._settings = settings
        self.reach.context = context
        for node in self._nodes():
            node.timeout = settings.timeout
        if self._cluster is not None:
            self._cluster.timeout = settings.timeout

    def serves(self, settings: Redis) -> bool:
        """Whether it goes to the server of these settings: the others of them may change as it goes."""
        return settings.url == self._settings.url and settings.tls == self._settings.tls

    @property
    def up(self) -> bool:
        """Whether it is worth asking."""
        return self.state.phase in ("up", "partial") and not self._closed

    @property
    def waiting(self) -> int:
        """Commands without an answer."""
        return sum(node.waiting for node in self._nodes())

    def run(self, *command: Part, deadline: float | None = None) -> asyncio.Future[object]:
        """Have a command run; the future may be cancelled without harm to others.

        Answers are as redis-py reads them: bytes, int, list, None. It fails with `Unavailable` alone, at the latest
        after `deadline` seconds; None: `redis.timeout`.
        """
        node = self._node
        if node is None:
            assert self._cluster is not None
            node = self._cluster.node_of(command)
        elif self._watch is not None:
            self._watch.start()
        return node.run(packed(command), deadline)

    async def open(self, patience: float) -> AbstractConnection:
        """A connection for what can not share one, such as listening; each step within so many seconds.

        Raises what `Reach.open` does.
        """
        if self._cluster is not None:
            return await self._cluster.open(patience)
        if self._sentinels is not None:
            return await self._sentinels.open(patience)
        return await self.reach.open(None, patience)

    async def close(self) -> None:
        """Let everybody go and close the connections."""
        self._closed = True
        if self._watch is not None:
            await self._watch.close()
        if self._looking is not None:
            await ended(self._looking)
        if self._node is not None:
            await self._node.close()
        if self._cluster is not None:
            await self._cluster.close()

    def nodes(self) -> Sequence[tuple[str, GatewayState]]:
        """Each server, and how it is."""
        if self._sentinels is not None:
            return [(str(self._sentinels.master or self._sentinels.name), self.state)]
        return [(str(node.place), node.state) for node in self._nodes()]

    def _nodes(self) -> Sequence[Node]:
        if self._cluster is not None:
            return list(self._cluster.nodes.values())
        return [self._node] if self._node is not None else []

    # What nodes and sentinels say.

    def _turned(self, node: Node) -> None:
        where = self._name(node)
        state = node.state
        if self._cluster is not None:
            self.state.phase = self._cluster.phase
            down = [one.state.reason for one in self._cluster.nodes.values() if not one.up]
            self.state.reason = down[0] if down else None
        if self._closed:
            return
        if state.phase == "open" and self._in_use(node):
            self._on_event(DOWN, where, state.reason or "")
            return
        self._on_event(BACK, where, "" if node.up else "another node has its slots")
        for heal in tuple(self.on_heal):
            heal()

    def _refused(self, node: Node, ask: Ask, kind: str, error: ResponseError) -> bool:
        if kind == "READONLY" and self._sentinels is not None:
            node.renew(kind)
        now = self._clock()
        if kind not in UNTOLD and now - self._told.get(kind, -AGAIN) >= AGAIN:
            self._told[kind] = now
            self._on_event(REFUSES, self._name(node), self.reach.reason(error))
        return False

    def _in_use(self, node: Node) -> bool:
        return self._cluster is None or self._cluster.nodes.get(node.place) is node

    def _name(self, node: Node) -> str:
        return str(node.place) if self._sentinels is None else self._sentinels.name

    def _moved(self, place: RedisPlace) -> None:
        """The master is another server."""
        assert self._sentinels is not None
        self._on_event(MOVED, self._sentinels.name, str(place))
        for told in (*self.on_move, *self.on_heal):
            told()

    def _switched(self, message: bytes) -> None:
        if self._sentinels is not None and self._sentinels.concerns(message):
            self._renew()

    def _look(self) -> None:
        """Sentinels are heard again: what they have said meanwhile is made up for."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._compare(), name="redis-sentinel")

    async def _compare(self) -> None:
        sentinels = self._sentinels
        assert sentinels is not None
        try:
            place = await sentinels.ask()
        except Unreached:
            return
        if sentinels.master is not None and place != sentinels.master:
            self._renew()

    def _renew(self) -> None:
        if self._node is not None:
            self._node.renew("moved")
