"""What a fill holds while it grows."""

from __future__ import annotations

from typing import cast

from balancer.cache.entry import Entry
from balancer.cache.memory import Memory
from balancer.caching.fill import UNKNOWN, Cache, Fill
from balancer.caching.stock import Stock
from config.schema import Cache as Settings


def stock() -> Stock:
    made = Stock(Memory(2**24))
    made.configure(Settings(enabled=True))
    return made


def test_tiny_chunks_are_held_together() -> None:
    """Each by itself would take twenty times what it counts for."""
    fill = Fill(stock(), cast(Cache, None), b"http://site.test/", (), (), 0)
    fill.begin(Entry(b"http://site.test/", (), (), 200, b"HTTP/1.1 200 OK\r\n", ()), UNKNOWN)
    for _ in range(3):
        fill.feed([b"xy"] * 1000)
    fill.feed([b"z" * 4096, b"z" * 4096])
    assert [len(piece) for piece in fill.pieces] == [2000, 2000, 2000, 4096, 4096]
    fill.complete()
    assert fill.entry is not None
    assert fill.entry.body == b"xy" * 3000 + b"z" * 8192
