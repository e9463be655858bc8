"""The bucket in a real Redis, held against the arithmetic written down a second time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from hashlib import blake2b
from math import floor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis as Client

from balancer.guarding.shared_bucket import BUCKET, Terms, bucket_key, told
from balancer.redis_gateway import Gateway, Unavailable
from config.schema import Redis
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture

CLOCK = "redis.call('TIME')"
KEPT = "math.ceil((full - now) / 1000)"
TEST_CLOCK = BUCKET.text.replace(CLOCK, "{ARGV[5], ARGV[6]}").replace(KEPT, "600000")
"""The same script, with the test's time in the place of the server's, which would let keys expire."""
BEGIN = 1_800_000_000_000_000
"""Microseconds since 1970, as the server's clock has them: numbers that only just fit where Lua keeps them."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    server.start()
    with Client.from_url(server.url) as client:
        yield client
    server.kill()


class Model:
    """The same in whole microseconds."""

    def __init__(self, rate: float, burst: int) -> None:
        self.terms = Terms(rate, burst)
        self.full = 0

    def take(self, want: int, least: int, now: int) -> tuple[int, int]:
        interval, depth = float(self.terms.interval), int(self.terms.depth)
        full = max(now, min(self.full, now + depth))
        granted = min(want, floor((now + depth - full) / interval))
        if granted < least:
            return 0, full - now
        self.full = full + floor(granted * interval + 0.5)
        return granted, self.full - now


def test_the_clock_of_the_script_is_the_servers() -> None:
    assert BUCKET.text.count(CLOCK) == BUCKET.text.count(KEPT) == 1
    assert "redis.call('T" not in TEST_CLOCK


rates = st.one_of(st.sampled_from([1 / 3600, 5 / 60, 1.0, 3.0, 7.0, 100.0, 1e5]), st.floats(1e-4, 1e5))
steps = st.lists(
    st.tuples(
        st.one_of(st.integers(-(10**6), 10**8), st.integers(0, 2000)),  # microseconds; clocks are set back now and then
        st.integers(1, 300),
        st.integers(1, 300),
    ),
    min_size=1,
    max_size=40,
)


@given(rates, st.integers(1, 1000), steps)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@pytest.mark.slow
def test_redis_decides_as_the_arithmetic_does(
    client: Client, rate: float, burst: int, steps: list[tuple[int, int, int]]
) -> None:
    client.delete("k")
    model = Model(rate, burst)
    now = BEGIN
    for passed, want, least in steps:
        now += passed
        least = min(least, want)
        said = client.eval(
            TEST_CLOCK, 1, "k", model.terms.interval, model.terms.depth, want, least, now // 10**6, now % 10**6
        )
        granted, debt = told(said, want, model.terms.longest)
        assert (granted, round(debt * 10**6)) == model.take(want, least, now)


@given(rates, st.integers(1, 1000), st.lists(st.integers(1, 50), min_size=1, max_size=60))
def test_the_whole_burst_can_be_taken_and_not_more(rate: float, burst: int, wants: list[int]) -> None:
    model = Model(rate, burst)
    taken = 0
    for want in wants:
        granted, _ = model.take(want, 1, BEGIN)
        taken += granted
    # A token of which rounding has taken a part is there again within as many microseconds as there were steps.
    lost = len(wants) / 2 / float(model.terms.interval)
    assert min(sum(wants), burst) - 1 - lost <= taken <= burst + lost
    if lost < 0.01:
        assert taken == min(sum(wants), burst)


def taken(client: Client, terms: Terms, key: str, want: int, least: int = 1) -> tuple[int, float]:
    said = client.eval(BUCKET.text, 1, key, terms.interval, terms.depth, want, least)
    return told(said, want, terms.longest)


def test_less_than_the_least_is_not_taken_at_all(client: Client) -> None:
    terms = Terms(0.001, 5)
    assert taken(client, terms, "least", 3, 3)[0] == 3
    assert taken(client, terms, "least", 3, 3)[0] == 0
    assert taken(client, terms, "least", 3, 2)[0] == 2
    granted, debt = taken(client, terms, "least", 1)
    assert granted == 0
    assert 4999 < debt <= 5000


def test_a_bucket_that_is_full_again_is_not_kept(client: Client) -> None:
    taken(client, Terms(0.5, 5), "brief", 2)
    assert 0 < client.pttl("brief") <= 4_001
    taken(client, Terms(1.0, 60), "long", 60)
    assert 59_000 < client.pttl("long") <= 60_001


def test_a_limit_that_was_made_smaller_holds_at_once(client: Client) -> None:
    taken(client, Terms(0.01, 1000), "smaller", 900)
    granted, debt = taken(client, Terms(1.0, 10), "smaller", 1)
    assert granted == 0
    assert debt <= 10.1, "what was taken under the old limit would be a day's wait"


async def test_many_that_ask_at_once_get_no_more_than_there_is(redis_server: RedisServer) -> None:
    """Over several connections, as several balancers have."""
    gateways = [Gateway(Redis(url=redis_server.url, timeout=5.0)) for _ in range(4)]
    terms = Terms(0.001, 100)
    try:
        asked = [
            BUCKET.run(gateway, ["one"], terms.interval, terms.depth, 1, 1) for _ in range(50) for gateway in gateways
        ]
        granted = [told(answer, 1, terms.longest)[0] for answer in await asyncio.gather(*asked)]
    finally:
        for gateway in gateways:
            await gateway.close()
    assert sum(granted) == 100


SECRET = blake2b(digest_size=12, key=b"secret")


def test_a_key_tells_nothing_of_the_client_and_is_of_one_slot() -> None:
    key = bucket_key("balancer:", "per-client", "10.1.2.3" * 1000, SECRET)
    assert key.startswith("balancer:rl:{per-client:")
    assert key.endswith("}")
    assert "10.1" not in key
    assert len(key) < 60
    assert key == bucket_key("balancer:", "per-client", "10.1.2.3" * 1000, SECRET)
    assert key != bucket_key("balancer:", "per-client", "10.1.2.3" * 1000, blake2b(key=b"another"))
    assert key != bucket_key("balancer:", "per-client", "10.1.2.4", SECRET)


NONSENSE = [None, 1, b"", b"1", b"1 x", b"-1 5", [1, 2], b"1 2 3", b"6 0", b"0 1001", b"1" * 5000, b"0 " + b"1" * 400]
"""Where five tokens were asked for, and a bucket is full within 1000 microseconds."""


@pytest.mark.parametrize("answer", NONSENSE)
def test_any_other_answer_is_nonsense(answer: object) -> None:
    with pytest.raises(Unavailable, match="nonsense"):
        told(answer, 5, 1000)
    assert told(b"5 1000", 5, 1000) == (5, 0.001)
