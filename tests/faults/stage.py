"""A plane between clients and a server that lies, with bystanders who must not notice."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import uvloop

from balancer.decision import Decision
from balancer.limits.outlier import Outlier
from balancer.server import Server
from config.schema import Config
from tests.faults.base import Base
from tests.faults.server import FaultServer
from tests.faults.sight import Seen, Sight
from tests.proxy.wire import Peer, Site, site

PATIENCE = 5.0

SHORT = {"connect": "1s", "first_byte": "500ms", "idle": "500ms", "request_body_idle": "300ms", "request_head": "300ms"}
"""Time-outs in which a test can wait for the worst."""
PATIENT: Mapping[str, str] = {}
"""Those of the shipped configuration, for tests whose server is silent while they look at something else."""


@dataclass(frozen=True, slots=True)
class Cloth:
    """What connections are clothed in: nothing, or TLS with a context for each end of each side."""

    to_server: ssl.SSLContext | None = None  # the fault server's own
    to_client: ssl.SSLContext | None = None  # the tests' clients'
    pools: Mapping[str, Any] = field(default_factory=dict)  # options of both
    listener: Mapping[str, Any] = field(default_factory=dict)


PLAIN = Cloth()
BOTH_LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
"""The sockets' last words come in another order on each."""
LOOPS = BOTH_LOOPS if os.environ.get("FAULTS_ON") == "both" else pytest.mark.parametrize("loop", ["uvloop"])
"""The same for the long tables, which take minutes: FAULTS_ON=both runs them on asyncio's own loop, too."""


def on(loop: str, work: Coroutine[Any, Any, None]) -> None:
    """Run it to its end on that loop."""
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


class Stage:
    """Two pools: `lies` behind `/lie` and `/good`, and `honest` behind everything else."""

    def __init__(self, here: Site, liar: FaultServer, honest: FaultServer, cloth: Cloth) -> None:
        self.site = here
        self.plane = here.plane
        self.liar = liar
        self.honest = honest
        self.cloth = cloth
        self.turns = 0  # of bystanders that were answered
        self._tokens = count(1)
        self._bystander: asyncio.Task[None] | None = None

    @property
    def server(self) -> Server:
        """The plane's record of the liar."""
        return self.plane.pools["lies"].servers["liar"]

    @property
    def blamed(self) -> int:
        """Failures that the outlier detector holds against the liar."""
        outlier = self.server.outlier
        assert isinstance(outlier, Outlier)
        return outlier._failed + sum(failed for _, failed in outlier._earlier)

    def decision(self, token: str) -> Decision:
        found = [one for one in self.site.decisions if one.target.endswith(b"/" + token.encode())]
        assert len(found) == 1, f"{len(found)} decisions for {token}"
        return found[0]

    def token(self) -> str:
        return f"t{next(self._tokens)}"

    async def connect(self) -> Peer:
        extra = {"server_hostname": "localhost"} if self.cloth.to_client else {}
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.site.port, ssl=self.cloth.to_client, limit=2**20, **extra
        )
        peer = Peer(reader, writer)
        self.site.peers.append(peer)  # cut in the end, whatever happens
        return peer

    async def good(self, peer: Peer, where: str) -> None:
        """One honest request: its answer is its own and whole."""
        token = self.token()
        try:
            await peer.send(f"GET {where}/{token} HTTP/1.1\r\nHost: s\r\n\r\n".encode())
        except (ConnectionError, RuntimeError):  # uvloop's word for a transport that is closed
            raise AssertionError("a bystander's connection was cut") from None
        seen = await Sight().read(peer.reader, PATIENCE)
        assert (seen.status, seen.body, seen.whole, seen.rest) == (200, token.encode(), True, b""), seen

    async def begin(self) -> None:
        """Bystanders come in: one who asks the honest server all the time."""
        self._standing = await self.connect()
        await self.good(self._standing, "/honest/good")
        self._bystander = asyncio.create_task(self._stand_by())

    async def _stand_by(self) -> None:
        while True:
            await self.good(self._standing, "/honest/good")
            self.turns += 1
            await asyncio.sleep(0.002)

    async def end(self) -> None:
        """They leave; what they had to complain of is raised."""
        assert self._bystander is not None
        self._bystander.cancel()
        (complaint,) = await asyncio.gather(self._bystander, return_exceptions=True)
        for peer in self.site.peers:
            peer.cut()
        if isinstance(complaint, Exception):
            raise complaint

    def fresh(self) -> None:
        """The next request to the liar gets a new connection."""
        self.plane.dialer.close_idle(self.server)

    async def until(self, fact: Callable[[], object]) -> None:
        for _ in range(100):  # mostly it is a matter of some turns of the loop
            if fact():
                return
            await asyncio.sleep(0)
        await self.site.until(fact)

    async def connected(self, count: int) -> None:
        """The plane has so many clients, the bystander among them."""
        await self.until(lambda: len(self.plane.listeners["main"].connections) == count)

    async def quiet(self) -> None:
        """Nothing of the liar's is under way any more."""
        await self.until(lambda: self.server.inflight == 0 and not self.plane.dialer.dials)


def settings(
    liar: FaultServer, honest: FaultServer, cloth: Cloth, timeouts: Mapping[str, str], more: Mapping[str, Any]
) -> Config:
    def pool(name: str, server: FaultServer) -> dict[str, Any]:
        scheme = "https" if cloth.to_server else "http"
        return {"servers": {name: {"url": f"{scheme}://127.0.0.1:{server.port}"}}, **cloth.pools}

    passive = {"failures": 1_000_000, "window": "1h"}  # counts, and never ejects
    return Config.model_validate(
        {
            "listeners": {"main": {"address": "127.0.0.1:0", **cloth.listener}},
            "timeouts": {**SHORT, "tls_handshake": "1s"},
            "limits": {"lag": None},  # clients, servers and plane share a loop, and may keep each other waiting
            "pools": {
                "lies": {**pool("liar", liar), "timeouts": timeouts, "health": {"active": None, "passive": passive}},
                "honest": {**pool("honest", honest), "health": {"active": None}},
            },
            "routes": {
                "lies": {"pool": "lies"},
                "honest": {"match": {"path": "/honest/**"}, "pool": "honest", "rewrite": {"strip_prefix": "/honest"}},
            },
            **more,
        }
    )


@asynccontextmanager
async def stage(
    cloth: Cloth = PLAIN, liar: FaultServer | None = None, timeouts: Mapping[str, str] = SHORT, **more: Any
) -> AsyncIterator[Stage]:
    """The stage with its bystanders; in the end they were all served, and nothing is left over."""
    liar, honest = liar or FaultServer(cloth.to_server), FaultServer(cloth.to_server)
    await liar.start()
    await honest.start()
    try:
        async with site(settings(liar, honest, cloth, timeouts, more)) as here:
            set_up = Stage(here, liar, honest, cloth)
            base = await Base.settled(set_up.plane)
            await set_up.begin()
            try:
                yield set_up
            finally:
                await set_up.end()
            await base.is_back(set_up.plane)
    finally:
        await liar.stop()
        await honest.stop()
    for failure in (*liar.failures, *honest.failures):
        raise failure


__all__ = ["LOOPS", "PLAIN", "Cloth", "Seen", "Stage", "on", "stage"]
