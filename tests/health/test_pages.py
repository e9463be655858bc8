"""Patterns against pages: what is found is right, and what takes long is ended while the loop goes on."""

import asyncio
import re
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.health.pages import PATIENCE, STEPS, Unmatched, has, steps
from balancer.health.probes import BODY_LIMIT
from config.schema import ActiveChecks
from tests.health.sites import ask, say, site

SLOW = [("(a+)+$", b"a" * 40 + b"b"), ("a+$", b"a" * (BODY_LIMIT - 1) + b"b"), ("(a|aa)+$", b"a" * 60 + b"b")]


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "page"), SLOW)
async def test_a_pattern_that_takes_too_long_is_given_up_and_the_loop_goes_on(pattern: str, page: bytes) -> None:
    late = 0.0

    async def beat() -> None:
        nonlocal late
        while True:
            began = monotonic()
            await asyncio.sleep(0.01)
            late = max(late, monotonic() - began - 0.01)

    beating = asyncio.create_task(beat())
    with pytest.raises(Unmatched, match=f"could not be matched with /{re.escape(pattern)}/ within 1s"):
        await has(pattern, page)
    beating.cancel()
    assert late < 0.5


@pytest.mark.slow
async def test_a_check_whose_pattern_takes_too_long_has_failed_and_says_why() -> None:
    async with site(say("a" * 40 + "b")) as url:
        result = await ask(url, ActiveChecks(body="(a+)+$"))
    assert (result.ok, result.status) == (False, 200)
    assert result.reason == f"body could not be matched with /(a+)+$/ within {PATIENCE:g}s"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "page", "found"),
    [
        ("(ok )+fine", b"ok ok fine", True),
        ("(ok )+fine", b"ok ok", False),
        ('"status": *"ok"', b"x" * BODY_LIMIT, False),
        ("(?i)é+\\0", "\u00c9\0".encode(), True),
        ("(\ufffd)+ok", b"\xff\xfeok", True),
        ("\udcff*(x)+", b"x", True),
    ],
)
async def test_a_search_in_another_process_finds_the_same(pattern: str, page: bytes, found: bool) -> None:
    assert steps(pattern, len(page)) > STEPS
    assert await has(pattern, page) is found


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}"])
async def test_what_is_no_pattern_is_an_error_of_its_own(pattern: str) -> None:
    with pytest.raises((re.error, OverflowError)):
        await has(pattern, b"page")


@pytest.mark.parametrize(
    ("pattern", "length"),
    [("ok", BODY_LIMIT), ('"database":"(ok|degraded)"', BODY_LIMIT), ('"database": *"ok"', 400), ("^ok$", BODY_LIMIT)],
)
def test_usual_patterns_on_usual_pages_are_searched_at_once(pattern: str, length: int) -> None:
    assert steps(pattern, length) <= STEPS


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*", "(a*){9}", "(a?)?", r"(a*)\1", "(?=a*)a", "a?" * 30])
def test_a_pattern_whose_ways_can_not_be_counted_is_never_searched_at_once(pattern: str) -> None:
    assert steps(pattern, 30) > STEPS


@pytest.mark.filterwarnings("ignore::FutureWarning")  # "[[" may mean something else one day
@given(
    pattern=st.text(alphabet="ab.*+?|()[]{}1,\\^$", max_size=12),
    page=st.text(alphabet="ab", max_size=40),
)
def test_what_is_searched_at_once_is_short(pattern: str, page: str) -> None:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError):
        return
    if steps(pattern, len(page)) <= STEPS:
        began = monotonic()
        compiled.search(page)
        assert monotonic() - began < 0.5
