"""Servers that misbehave on request."""

from __future__ import annotations

import aiohttp
import pytest

from examples.community.chaos import Chaos
from examples.community.site import CRASHED
from tests.examples.copies import Copy, browser


class Sequence:
    """A Random whose draws are known."""

    def __init__(self, *draws: float) -> None:
        self._draws = list(draws)

    def random(self) -> float:
        return self._draws.pop(0)


def test_only_the_asked_share_of_requests_is_hit():
    chaos = Chaos("failing", 0.2, Sequence(0.1, 0.19, 0.2, 0.9))
    assert [chaos.strikes() for _ in range(4)] == ["failing", "failing", "none", "none"]


def test_a_calm_server_draws_nothing():
    assert Chaos("none", 1.0, Sequence()).strikes() == "none"


async def test_a_failing_server_answers_500_and_calls_itself_well(copy):
    async with browser(copy.url) as session:
        copy.chaos("failing", 1.0)
        try:
            for path in ("/", "/api/communities", "/avatars/1.png", "/nothing"):
                async with session.get(path) as answer:
                    assert answer.status == 500
                    assert answer.headers["X-Served-By"] == copy.name
            async with session.get("/health") as answer:
                assert answer.status == 200
        finally:
            copy.chaos("none", 0.2)
        async with session.get("/") as answer:
            assert answer.status == 200


@pytest.mark.slow
async def test_a_slow_server_answers_late_and_rightly(tmp_path):
    with Copy(tmp_path / "slow.db", "app-1", "--chaos", "slow", "--chaos-rate", "1") as copy:
        async with browser(copy.url) as session:
            with pytest.raises(TimeoutError):
                await session.get("/", timeout=aiohttp.ClientTimeout(total=0.25))
            async with session.get("/") as answer:
                assert answer.status == 200
            async with session.get("/health", timeout=aiohttp.ClientTimeout(total=0.25)) as answer:
                assert answer.status == 200


@pytest.mark.slow
async def test_a_crashing_server_ends_in_the_middle_of_a_request(tmp_path):
    with Copy(tmp_path / "crash.db", "app-1", "--chaos", "crashing", "--chaos-rate", "1") as copy:
        async with browser(copy.url) as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get("/")
        assert copy.process.wait(5) == CRASHED


@pytest.mark.parametrize("body", [{"mode": "angry"}, {"mode": "slow", "rate": 2}, {"mode": "slow", "rate": "1"}])
async def test_a_wish_for_chaos_is_checked(copy, body):
    async with browser(copy.url) as session, session.post("/chaos", json=body) as answer:
        assert answer.status == 400
