"""Strategies as users write them: good ones, and each kind of bad one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from threading import Lock

from balancer.server import Server
from config.schema import Pool

NOT_A_CLASS = 3


class First:
    """Always the first of its servers that is left."""

    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        self.servers = servers

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        return next((server for server in self.servers if server not in tried), None)

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        return {"score": self.servers.index(server)}


class Bare:
    """Has no constructor, and finds `servers` and `rng` all the same."""

    servers: Sequence[Server]
    rng: Random

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        left = [server for server in self.servers if server not in tried]
        return self.rng.choice(left) if left else None


@dataclass
class Recorded:
    """Has the constructor that a dataclass gets."""

    servers: Sequence[Server]
    rng: Random

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        return next((server for server in self.servers if server not in tried), None)


class Keyed(First):
    """Wants a key and the pool's settings."""

    keyed = True

    def __init__(self, servers: Sequence[Server], rng: Random, settings: Pool) -> None:
        super().__init__(servers, rng)
        self.strategy = settings.strategy

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        return {"key": key, "named": self.strategy.endswith(":Keyed")}


class Raising(First):
    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        raise KeyError("price")

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        raise KeyError("price")


class NotBuilt(First):
    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        raise OSError("prices.csv is missing")


class Scripted:
    """Returns what a test puts into `script`, one entry for each pick, or raises it."""

    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        self.servers = servers
        self.script: list[object] = []

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> object:
        entry = self.script.pop(0)
        if isinstance(entry, Exception):
            raise entry
        return entry


class Locked(First):
    """Cannot be copied."""

    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        super().__init__(servers, rng)
        self.lock = Lock()


class Unreadable(dict[str, float]):
    """Inherits a constructor that is written in C and tells no signature."""

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        return None


class NoPick:
    pass


class ShortPick:
    def pick(self) -> None:
        pass


class AsyncPick:
    async def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        return None


class Demanding(First):
    def __init__(self, servers: Sequence[Server], rng: Random, region: str, price: float) -> None:
        super().__init__(servers, rng)


def function(key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
    return None
