"""A strategy whose exceptions say what they should not; tests/test_hostile_text.py gives the words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random

from balancer.server import Server


class Shouted(Exception):
    words = ""

    def __str__(self) -> str:
        return self.words


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Shouting:
    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        pass

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        raise Shouted


class Dumb:
    def __init__(self, servers: Sequence[Server], rng: Random) -> None:
        pass

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        raise Speechless
