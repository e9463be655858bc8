"""Real clusters and sentinels of Redis (or Valkey) servers on loopback ports."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from random import randrange
from types import TracebackType

from bench.redis_server import RedisServer

SLOTS = 16384
PATIENCE = 30.0


def _until(what: str, done: object, *arguments: object) -> None:
    assert callable(done)
    end = time.monotonic() + PATIENCE
    while not done(*arguments):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.05)  # a server tells nobody when it is so far


def _cluster_port() -> int:
    """A free port whose number plus 10000 is free, too: nodes talk to each other there.

    Neither is of those that the system gives to connections as they come.
    """
    while True:
        port = randrange(10_500, 22_500)
        try:
            for number in (port, port + 10_000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port


class RedisCluster:
    """Masters that share the slots, and `replicas` of the first of them."""

    def __init__(
        self,
        directory: Path,
        masters: int = 3,
        replicas: int = 0,
        full_coverage: bool = False,
        tls: Sequence[str] = (),
    ) -> None:
        """`tls`: options of servers that speak it, too, each on a port of `tls_ports`, and with each other."""
        self.masters = masters
        self.tls_ports: list[int] = []
        self.nodes: list[RedisServer] = []
        for number in range(masters + replicas):
            place = directory / f"node-{number}"
            place.mkdir()
            options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
            options += ["--cluster-require-full-coverage", "yes" if full_coverage else "no"]
            options += ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
            if tls:
                self.tls_ports.append(_cluster_port())
                options += ["--tls-port", str(self.tls_ports[-1]), "--tls-cluster", "yes", *tls]
            self.nodes.append(RedisServer(place, port=_cluster_port(), options=options))

    def __enter__(self) -> RedisCluster:
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.kill()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[: self.masters])

    def slots(self, number: int) -> range:
        """Those of a master as they are dealt in the beginning."""
        return range(SLOTS * number // self.masters, SLOTS * (number + 1) // self.masters)

    def owner(self, slot: int) -> RedisServer:
        """Who has a slot in the beginning."""
        return next(node for number, node in enumerate(self.nodes) if slot in self.slots(number))

    def identity(self, node: RedisServer) -> str:
        return node.do_all("CLUSTER", "MYID")

    def move(self, slot: int, source: RedisServer, target: RedisServer, *, halfway: bool = False) -> None:
        """Give a slot to another master; `halfway`: only begin to. Its keys stay where they are."""
        target.do("CLUSTER", "SETSLOT", slot, "IMPORTING", self.identity(source))
        source.do("CLUSTER", "SETSLOT", slot, "MIGRATING", self.identity(target))
        if not halfway:
            for node in (target, source):
                node.do("CLUSTER", "SETSLOT", slot, "NODE", self.identity(target))

    def _join(self) -> None:
        first, *others = self.nodes
        for number, node in enumerate(self.nodes):
            node.do("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < self.masters:
                slots = self.slots(number)
                node.do("CLUSTER", "ADDSLOTSRANGE", slots.start, slots.stop - 1)
        for port in self.tls_ports[1:] or [node.port for node in others]:
            first.do("CLUSTER", "MEET", "127.0.0.1", port)
        _until("all know each other", self._is_met)
        for node in self.nodes[self.masters :]:
            node.do("CLUSTER", "REPLICATE", self.identity(first))
        _until("the cluster is whole", self.is_whole)

    def _is_met(self) -> bool:
        known = f"cluster_known_nodes:{len(self.nodes)}"
        return all(known in node.do_all("CLUSTER", "INFO") for node in self.nodes)

    def is_whole(self) -> bool:
        """Whether all nodes say that it works, and that replicas have what their master has."""
        if not all("cluster_state:ok" in node.do_all("CLUSTER", "INFO") for node in self.nodes):
            return False
        replicas = self.nodes[self.masters :]
        return all("master_link_status:up" in node.do_all("INFO", "replication") for node in replicas)


class RedisSentinels:
    """A master, a replica, and sentinels that watch them."""

    NAME = "mymaster"

    def __init__(self, directory: Path, sentinels: int = 3, password: str = "", sentinel_password: str = "") -> None:
        self.servers = []
        for number in range(2):
            place = directory / f"server-{number}"
            place.mkdir()
            options = ["--repl-diskless-sync-delay", "0", *(["--masterauth", password] if password else [])]
            self.servers.append(RedisServer(place, password, options=options))
        self.sentinels: list[RedisServer] = []
        self._secret = sentinel_password
        for number in range(sentinels):
            place = directory / f"sentinel-{number}"
            place.mkdir()
            self.sentinels.append(RedisServer(place, sentinel_password, configuration=place / "sentinel.conf"))

    def __enter__(self) -> RedisSentinels:
        master, replica = self.servers
        try:
            master.start()
            replica.start()
            replica.do("REPLICAOF", "127.0.0.1", master.port)
            for sentinel in self.sentinels:
                self._configure(sentinel)
                sentinel.start()
            _until("the sentinels know all", self._is_ready)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (*self.sentinels, *self.servers):
            server.kill()

    @property
    def url(self) -> str:
        password = self.servers[0].password
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        query = f"?sentinel_password={self._secret}" if self._secret else ""
        return f"redis+sentinel://{f':{password}@' if password else ''}{hosts}/{self.NAME}/0{query}"

    def fail_over(self) -> None:
        """Have the replica made the master, as an operator does."""
        self.sentinels[0].do("SENTINEL", "FAILOVER", self.NAME)

    def master(self) -> RedisServer:
        """Who the sentinels say it is."""
        said = self.sentinels[0].do_all("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)
        return next(server for server in self.servers if str(server.port) in said)

    def _configure(self, sentinel: RedisServer) -> None:
        master = self.servers[0]
        lines = [
            f"port {sentinel.port}",
            "bind 127.0.0.1",
            f"sentinel monitor {self.NAME} 127.0.0.1 {master.port} {len(self.sentinels) // 2 + 1}",
            f"sentinel down-after-milliseconds {self.NAME} 1000",
            f"sentinel failover-timeout {self.NAME} 5000",
        ]
        lines += [f"sentinel auth-pass {self.NAME} {master.password}"] if master.password else []
        if self._secret:
            lines += [f"requirepass {self._secret}", f"sentinel sentinel-pass {self._secret}"]
        assert sentinel.configuration is not None
        sentinel.configuration.write_text("\n".join(lines) + "\n")

    def _is_ready(self) -> bool:
        if "master_link_status:up" not in self.servers[1].do_all("INFO", "replication"):
            return False
        wanted = f"status=ok,address=127.0.0.1:{self.servers[0].port},slaves=1,sentinels={len(self.sentinels)}"
        return all(wanted in sentinel.do_all("INFO", "sentinel") for sentinel in self.sentinels)
