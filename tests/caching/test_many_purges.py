"""More purges at once than can be told apart: the store is gone through in between, and nothing else goes."""

from __future__ import annotations

import pytest

from balancer.cache.entry import Entry
from balancer.cache.memory import Memory
from balancer.cache.purge_log import MOST_WIDE
from balancer.cache.purges import MOST_STARS, Purge, parse
from balancer.caching.stock import OVERFLOWN, Stock


def stock(entries: int = 300) -> Stock:
    made = Stock(Memory(2**24))
    for number in range(entries):
        key = f"https://example.com/kept/{number}".encode()
        assert made.memory.put(Entry(key, (b"-",), (), 200, b"HTTP/1.1 200 OK\r\n", ()), made.memory.moment)
    return made


async def test_patterns_that_meet_nothing_take_nothing_however_many_there_are() -> None:
    made = stock()
    receipts = await made.purge_all([Purge("pattern", b"/gone/*/%d" % number) for number in range(3 * MOST_WIDE)])
    assert {receipt.levels[0].entries for receipt in receipts} == {0}
    assert made.memory.entries == 300
    assert made.memory.figures().overflows == 0


async def test_what_the_first_and_the_last_of_many_meet_is_gone() -> None:
    made = stock()
    others = [Purge("pattern", b"/gone/*/%d" % number) for number in range(2 * MOST_WIDE)]
    receipts = await made.purge_all([Purge("prefix", b"/kept/1"), *others, Purge("prefix", b"/kept/2")])
    met = 1 + 10 + 100
    assert [receipts[0].levels[0].entries, receipts[-1].levels[0].entries] == [met, met]
    assert made.memory.entries == 300 - 2 * met


def test_whoever_does_not_wait_is_told_that_everything_went() -> None:
    made = stock()
    found = made.purge([Purge("pattern", b"/gone/*/%d" % number) for number in range(MOST_WIDE + 1)])
    assert found[-1].purge.kind == "everything"
    assert "all that was stored" in OVERFLOWN


@pytest.mark.parametrize(("stars", "taken"), [(MOST_STARS, True), (MOST_STARS + 1, False)])
def test_a_pattern_has_no_more_stars_than_can_be_looked_for_quickly(stars: int, taken: bool) -> None:
    text = "/" + "*a" * stars
    if taken:
        assert parse("pattern", text).value == text.encode()
    else:
        with pytest.raises(ValueError, match="16 times"):
            parse("pattern", text)
