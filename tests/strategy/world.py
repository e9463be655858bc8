"""Servers for strategies to pick from, and a world on a virtual clock in which they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from random import Random

from hypothesis import strategies as st

from balancer.ewma import PeakEwma
from balancer.server import Server
from balancer.strategy import STRATEGIES, Strategy

PENALTY = 5.0
"""Seconds, as configured by default."""

Answer = tuple[float, bool]
"""After how many seconds a server answers, and whether it is no error."""

names = st.sampled_from(sorted(STRATEGIES))
weights = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def server(name: str, weight: float = 1.0, latency: float | None = None, inflight: int = 0) -> Server:
    made = Server(("pool", name), f"http://{name}", name, 80, PeakEwma(decay=10.0, start=0.030))
    made.weight = weight
    made.inflight = inflight
    if latency is not None:
        made.latency.observe(latency, 0.0)
    return made


def servers(*weights: float, latency: float | None = None) -> list[Server]:
    """Servers s0, s1, ... of these weights, unmeasured or all of one latency."""
    return [server(f"s{index}", weight, latency) for index, weight in enumerate(weights)]


def keys(count: int, seed: int = 1) -> list[int]:
    """Keys as a pool would make them: 64 well mixed bits, none of them 0."""
    rng = Random(seed)
    return [rng.getrandbits(64) or 1 for _ in range(count)]


def picks(strategy: Strategy, count: int, *, hold: bool = False, seed: int = 1) -> Counter[Server]:
    """How often each server is picked, one request after the other, or all of them staying in flight."""
    counts: Counter[Server] = Counter()
    for key in keys(count, seed):
        picked = strategy.pick(key, 0.0)
        assert picked is not None
        counts[picked] += 1
        picked.inflight += hold
    return counts


def simulate(
    strategy: Strategy,
    answers: Mapping[Server, Callable[[float], Answer]],
    *,
    rate: float,
    seconds: float,
    start: float = 0.0,
    seed: int = 1,
) -> Counter[Server]:
    """How many requests each server is sent when they come at `rate` a second, at random, for so long.

    Latencies and penalties are taken in as the proxy does. Requests under way at the end are answered.
    """
    rng = Random(seed)
    sent: Counter[Server] = Counter()
    under_way: list[tuple[float, int, Server, float, bool]] = []
    now = start
    while now < start + seconds:
        now += rng.expovariate(rate)
        _answer(under_way, until=now)
        picked = strategy.pick(rng.getrandbits(64), now)
        assert picked is not None
        picked.inflight += 1
        sent[picked] += 1
        takes, ok = answers[picked](now)
        heappush(under_way, (now + takes, sent.total(), picked, takes, ok))
    _answer(under_way, until=float("inf"))
    return sent


def _answer(under_way: list[tuple[float, int, Server, float, bool]], until: float) -> None:
    while under_way and under_way[0][0] <= until:
        now, _, answering, takes, ok = heappop(under_way)
        answering.inflight -= 1
        if ok:
            answering.latency.observe(takes, now)
        else:
            answering.latency.punish(PENALTY, now)


def always(seconds: float, ok: bool = True) -> Callable[[float], Answer]:
    return lambda now: (seconds, ok)


def shares(counts: Mapping[Server, int], members: Sequence[Server]) -> list[float]:
    total = sum(counts.values())
    return [counts[member] / total for member in members]
