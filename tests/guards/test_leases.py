"""Several balancers that take from one bucket in lots, on a clock of the test's own."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import ceil, floor
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.guards.leases import ASK, LIFE, LOW, PAUSE, SPENT, Leases, Lot

KEY = "somebody"


class Bucket:
    """What Redis keeps of one key, by the textbook."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self.full = 0.0

    def take(self, want: int, least: int, now: float) -> tuple[int, float]:
        debt = max(self.full - now, 0.0)
        granted = min(want, floor(self.burst - debt * self.rate + 1e-6))
        if granted < least:
            return 0, debt
        self.full = now + debt + granted / self.rate
        return granted, self.full - now


class World:
    """Balancers on one bucket; answers take up to `slow` seconds. Remembers when who was let through."""

    def __init__(self, rate: float, burst: int, balancers: int, *, exact: bool, slow: float, seed: int) -> None:
        self.bucket = Bucket(rate, burst)
        self.rng = Random(seed)
        self.slow = slow
        self.balancers: list[Leases[int]] = []
        for _ in range(balancers):
            leases = Leases[int](rate, burst, 10, exact=exact)
            leases.share(balancers)
            self.balancers.append(leases)
        self.passed: list[tuple[float, int]] = []
        self.refused: list[tuple[float, float]] = []
        self.asked = 0
        self.requests = 0
        self._events: list[tuple[float, int, tuple[object, ...]]] = []
        self._order = count()

    def at(self, when: float, *event: object) -> None:
        heappush(self._events, (when, next(self._order), event))

    def run(self) -> None:
        while self._events:
            now, _, event = heappop(self._events)
            getattr(self, event[0])(now, *event[1:])  # type: ignore[call-overload]  # the event's name

    def request(self, now: float, which: int, cost: int = 1) -> None:
        self.requests += 1
        leases = self.balancers[which]
        lot = leases.lot(KEY, now)
        said = leases.spend(lot, cost, now)
        if said in (SPENT, LOW):
            self.passed.append((now, cost))
        elif said == ASK:
            leases.queue(lot, cost, self.requests)
        else:
            self.refused.append((now, said))
        if said in (ASK, LOW) and not lot.asked:
            self.order(now, which, lot)
        self.look(leases, lot)

    def order(self, now: float, which: int, lot: Lot[int]) -> None:
        want, least = self.balancers[which].order(lot, now)
        assert want >= least >= 1
        self.asked += 1
        there = now + self.rng.random() * self.slow / 2
        self.at(there, "reach", which, want, least)

    def reach(self, now: float, which: int, want: int, least: int) -> None:
        self.at(now + self.rng.random() * self.slow / 2, "answer", which, *self.bucket.take(want, least, now))

    def answer(self, now: float, which: int, granted: int, debt: float) -> None:
        leases = self.balancers[which]
        lot = leases.lot(KEY, now)
        costs = {who: cost for cost, who in lot.queue or ()}
        for who, said in leases.told(lot, granted, debt, now):
            if said == SPENT:
                self.passed.append((now, costs[who]))
            else:
                assert said > 0
                self.refused.append((now, said))
        if lot.owed:
            self.order(now, which, lot)
        self.look(leases, lot)

    def look(self, leases: Leases[int], lot: Lot[int]) -> None:
        assert lot.left >= 0
        assert lot.owed == sum(cost for cost, _ in lot.queue or ())
        if not lot.owed:
            assert lot.left + (lot.asked if lot.left <= lot.low else 0) <= max(leases.held, MOST_COST - 1)
            assert lot.left <= max(leases.held, MOST_COST - 1)

    def excess(self) -> float:
        """By how much what passed went beyond `burst + rate * (t + d)`, in the worst of all stretches of time."""
        full, worst = 0.0, 0.0
        burst = self.bucket.burst + self.bucket.rate * self.slow
        for now, cost in sorted(self.passed):
            full = max(full - (now - before) * self.bucket.rate, 0.0) if (before := self._before) is not None else 0.0
            self._before = now
            full += cost
            worst = max(worst, full - burst)
        return worst

    _before: float | None = None


MOST_COST = 4

limits = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([0.1, 1.0, 7.0, 100.0, 3000.0]),
        "burst": st.sampled_from([1, 2, 5, 20, 200, 5000]),
        "balancers": st.integers(1, 5),
        "slow": st.sampled_from([0.0, 0.001, 0.05]),
        "seed": st.integers(0, 10**6),
    }
)


def crowd(world: World, seconds: float, pace: float, most: int, costs: int = 1) -> None:
    """Requests at about `pace` a second, that come and go in waves and prefer some balancers to others."""
    rng = world.rng
    favour = [rng.random() ** 2 + 0.01 for _ in world.balancers]
    now = 0.0
    for _ in range(most):
        now += rng.expovariate(pace) if rng.random() > 0.01 else rng.random() * 2 * LIFE
        if now > seconds:
            break
        if rng.random() < 0.02:
            favour = [rng.random() ** 2 + 0.01 for _ in world.balancers]
        world.at(now, "request", rng.choices(range(len(favour)), favour)[0], rng.randint(1, costs))
    world.run()


@pytest.mark.slow
@given(limits, st.sampled_from([0.3, 1.0, 3.0, 20.0]), st.integers(1, MOST_COST))
@settings(max_examples=150, deadline=None)
def test_no_more_is_let_through_than_the_bound_says(limit: dict[str, float], load: float, costs: int) -> None:
    world = World(**limit, exact=False)  # type: ignore[arg-type]  # of mixed types
    crowd(world, 120.0, load * limit["rate"], 3000, costs)
    held = max(world.balancers[0].held, costs - 1)
    assert world.excess() <= len(world.balancers) * held + 1e-6
    assert len(world.passed) + len(world.refused) == world.requests, "everybody is answered"


@pytest.mark.slow
@given(limits, st.sampled_from([0.3, 1.0, 3.0, 20.0]))
@settings(max_examples=100, deadline=None)
def test_an_exact_limit_lets_no_more_through_than_it_says(limit: dict[str, float], load: float) -> None:
    world = World(**limit, exact=True)  # type: ignore[arg-type]  # of mixed types
    crowd(world, 120.0, load * limit["rate"], 3000)
    assert world.excess() <= 1e-6
    assert len(world.passed) + len(world.refused) == world.requests


@pytest.mark.slow
@given(limits)
@settings(max_examples=150, deadline=None)
def test_nobody_is_refused_who_stays_below_the_bound(limit: dict[str, float]) -> None:
    world = World(**limit, exact=False)  # type: ignore[arg-type]  # of mixed types
    leases = world.balancers[0]
    stranded = len(world.balancers) * leases.held
    # What arrives goes through a bucket of that size first, and what does not fit does not arrive.
    burst = leases.burst - 2 * stranded - leases.rate * world.slow
    rate = leases.rate - stranded / LIFE
    if burst < 1 or rate <= 0:
        return
    rng = world.rng
    now = level = 0.0
    for _ in range(2000):
        passed = rng.expovariate(1.2 * rate) if rng.random() > 0.02 else rng.random() * 2 * LIFE
        now += passed
        level = max(level - passed * rate, 0.0)
        if level + 1 <= burst:
            level += 1
            world.at(now, "request", rng.randrange(len(world.balancers)))
    world.run()
    assert not world.refused


@pytest.mark.slow
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("rate", "burst"), [(100.0, 200), (20.0, 20), (400.0, 40), (5 / 60, 5)])
@pytest.mark.parametrize("balancers", [1, 2, 5])
def test_a_client_at_ten_times_the_limit_gets_what_the_limit_says(
    rate: float, burst: int, balancers: int, exact: bool
) -> None:
    world = World(rate, burst, balancers, exact=exact, slow=0.002, seed=1)
    seconds, rng = 60.0, world.rng
    for n in range(int(10 * rate * seconds)):
        world.at(n / (10 * rate), "request", rng.randrange(balancers))
    world.run()
    whole = burst + rate * seconds
    passed = len(world.passed)
    held = balancers * world.balancers[0].held
    print(f"{passed} of {whole:.0f} ({passed / whole - 1:+.2%}), {world.asked} questions for {world.requests}")
    assert passed <= whole + held + 1
    assert passed >= whole - held - rate * PAUSE - 1


def test_a_key_that_is_seen_rarely_takes_one_token_at_a_time() -> None:
    world = World(100.0, 200, 3, exact=False, slow=0.001, seed=1)
    for n in range(20):
        world.at(n * 20.0, "request", n % 3)
    world.run()
    assert world.asked == len(world.passed) == 20
    assert all(leases.lots[KEY].left == 0 for leases in world.balancers)


def test_a_busy_key_asks_once_for_many_requests_and_nobody_waits() -> None:
    world = World(1000.0, 2000, 2, exact=False, slow=0.001, seed=1)
    for n in range(10_000):
        world.at(n / 500, "request", n % 2)
    world.run()
    assert len(world.passed) == 10_000
    assert world.asked < 10_000 / 50


def test_a_limited_key_asks_twice_in_each_pause_at_most() -> None:
    world = World(100.0, 200, 1, exact=False, slow=0.001, seed=1)
    for n in range(20_000):
        world.at(n / 2000, "request", 0)
    world.run()
    assert len(world.refused) > 15_000
    assert world.asked < 2 * 10 / PAUSE + 60


def test_who_waits_is_served_in_turn() -> None:
    leases = Leases[str](1.0, 3, 10)
    lot = leases.lot(KEY, 0.0)
    for name in "abcd":
        assert leases.spend(lot, 1, 0.0) == ASK
        leases.queue(lot, 1, name)
        if not lot.asked:
            assert leases.order(lot, 0.0) == (1, 1)
    assert leases.told(lot, 1, 1.0, 0.01) == [("a", SPENT)]
    assert leases.order(lot, 0.01) == (3, 1)
    (b, c, d) = leases.told(lot, 2, 2.99, 0.02)
    assert (b, c) == (("b", SPENT), ("c", SPENT))
    assert d[0] == "d"
    assert d[1] == pytest.approx(0.99)


def test_what_is_left_of_a_lot_lapses() -> None:
    leases = Leases[str](1000.0, 1000, 10)
    lot = leases.lot(KEY, 0.0)
    leases.order(lot, 0.0)
    leases.told(lot, 50, 0.05, 0.0)
    assert leases.spend(lot, 1, LIFE - 0.01) in (SPENT, LOW)
    assert lot.left == 49
    assert leases.spend(lot, 1, LIFE) == ASK


def test_without_an_answer_all_who_wait_are_given_back() -> None:
    leases = Leases[str](1.0, 3, 10)
    lot = leases.lot(KEY, 0.0)
    leases.queue(lot, 1, "a")
    leases.order(lot, 0.0)
    leases.queue(lot, 2, "b")
    assert leases.failed(lot) == [(1, "a"), (2, "b")]
    assert (lot.asked, lot.owed) == (0, 0)


@given(st.integers(1, 50), st.floats(0.01, 1e5), st.integers(1, 10**6))
def test_what_all_balancers_hold_is_no_more_than_half_a_burst(balancers: int, rate: float, burst: int) -> None:
    leases = Leases[str](rate, burst, 10)
    leases.share(balancers)
    assert balancers * leases.held <= burst / 2
    assert leases.largest <= max(ceil(burst / 20), ceil(rate / 10))


def test_no_more_keys_are_remembered_than_allowed() -> None:
    leases = Leases[str](1.0, 1, 3)
    kept = leases.lot("0", 0.0)
    for n in range(1, 100):
        leases.lot(str(n), 0.0)
        assert leases.lot("0", 0.0) is kept
    assert len(leases.lots) == 3
