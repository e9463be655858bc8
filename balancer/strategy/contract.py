"""What a strategy is: to the pool that asks it, and to the user who writes one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Protocol

from balancer.server import Server
from config.schema import Pool


class StrategyError(Exception):
    """A strategy cannot be had under its name, or broke its promise. The message says what to do about it."""


class Plugin(Protocol):
    """All that a user's class must have; docs/strategies.md tells how it is constructed."""

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        """One of its servers that is not in `tried`; None when all are."""


class Strategy(Protocol):
    """Picks a server for each request.

    It is built over the servers in rotation and built anew whenever these or a weight change, so it may
    compute in its constructor what a pick only looks up. It never returns a server in `tried` while another
    is left, and changes nothing but itself: `preview` asks a copy.
    """

    @property
    def servers(self) -> Sequence[Server]:
        """Those it picks from."""

    @property
    def keyed(self) -> bool:
        """Whether `pick` looks at `key`; otherwise callers need not compute one."""

    @property
    def reason(self) -> str:
        """Why it picks whom it picks, in a few words for the operator."""

    def pick(self, key: int, now: float, tried: Collection[Server] = ()) -> Server | None:
        """The server to ask; None if all are in `tried`. `key` is a 64-bit hash, or 0 for nothing to hash."""

    def figures(self, server: Server, key: int, now: float) -> dict[str, float]:
        """What it knows of one of its servers. `score`, if it is there, is what it compares: lowest wins."""


OnError = Callable[[Exception], None]
Build = Callable[[Sequence[Server], Random, Pool, OnError], Strategy]
"""Makes a strategy; `OnError` is told of each fault of a user's own."""
