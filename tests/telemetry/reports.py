"""Reports for tests: a small one to fill by hand, and any at all for property tests."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from balancer.cache.memory import MemoryFigures
from balancer.tally import CacheTally, Histogram, ListenerTally, PoolTally, RouteTally, ServerTally
from balancer.telemetry.cache_report import CacheReport, SecondReport
from balancer.telemetry.families import Vitals
from balancer.telemetry.report import STATES, PoolReport, Report, ServerReport

VITALS = Vitals(version="1.2.3", python="3.11.7", loop="uvloop")


def server(name: str = "a", **changes: object) -> ServerReport:
    fields: dict[str, object] = {
        "name": name,
        "url": "http://127.0.0.1:3001",
        "state": "up",
        "in_rotation": True,
        "weight": 1,
        "effective_weight": 1.0,
        "backup": False,
        "cap": 0,
        "inflight": 0,
        "idle": 0,
        "tunnels": 0,
        "latency": None,
        "ejected_until": None,
        "tally": ServerTally(),
    }
    return ServerReport(**{**fields, **changes})


def pool(name: str = "app", servers: Sequence[ServerReport] = (), **changes: object) -> PoolReport:
    fields: dict[str, object] = {
        "strategy": "round-robin",
        "panic": False,
        "queue": 0,
        "tally": PoolTally(),
        "servers": servers,
    }
    return PoolReport(name, **{**fields, **changes})


def report(*pools: PoolReport, now: float = 100.0, generation: int = 1) -> Report:
    """One listener "main", one route "api" and these pools."""
    return Report(
        generation=generation,
        started=0.0,
        now=now,
        listeners={"main": ListenerTally()},
        routes={"api": RouteTally()},
        pools={pool.name: pool for pool in pools},
    )


counts = st.integers(0, 10**9)
# Fractions of a power of two, whose sums are exact in any order.
seconds = st.integers(0, 100 * 1024).map(lambda n: n / 1024)
# Names are the operator's: nothing says that they are simple.
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
codes = st.dictionaries(st.integers(100, 599), counts, max_size=3)
words = st.dictionaries(st.sampled_from(["connect", "reset", "timeout"]), counts)


def histograms() -> st.SearchStrategy[Histogram]:
    def filled(latencies: list[float]) -> Histogram:
        histogram = Histogram()
        for latency in latencies:
            histogram.observe(latency)
        return histogram

    return st.lists(seconds, max_size=5).map(filled)


@st.composite
def tallies(draw: st.DrawFn, kind: type) -> object:
    """A tally of this class with anything in each field."""
    tally = kind()
    for name in tally.__slots__:
        value = getattr(tally, name)
        if isinstance(value, Histogram):
            setattr(tally, name, draw(histograms()))
        elif isinstance(value, int):
            setattr(tally, name, draw(counts))
        elif name == "requests":
            value.update({("GET", code): count for code, count in draw(codes).items()})
        else:
            value.update(draw(codes if name in ("codes", "unserved") else words))
    return tally


@st.composite
def servers(draw: st.DrawFn) -> ServerReport:
    return server(
        draw(names),
        state=draw(st.sampled_from(STATES)),
        in_rotation=draw(st.booleans()),
        weight=draw(st.integers(1, 1000)),
        effective_weight=draw(seconds),
        inflight=draw(counts),
        idle=draw(counts),
        tunnels=draw(counts),
        latency=draw(st.none() | seconds),
        ejected_until=draw(st.none() | seconds),
        tally=draw(tallies(ServerTally)),
    )


@st.composite
def caches(draw: st.DrawFn) -> CacheReport:
    second = SecondReport(
        state=draw(st.sampled_from(["up", "open", "half-open"])),
        up=draw(st.booleans()),
        reason=draw(st.none() | st.just("timeout")),
        commands=draw(words),
        seconds=draw(st.none() | histograms()),
        lookups=draw(words),
        gaps=draw(counts),
        owed=draw(counts),
    )
    return CacheReport(
        memory=MemoryFigures(*(draw(counts) for _ in MemoryFigures.__slots__)),
        tally=draw(tallies(CacheTally)),
        fills=draw(counts),
        followers=draw(counts),
        uncacheable=draw(counts),
        second=draw(st.none() | st.just(second)),
    )


@st.composite
def reports(draw: st.DrawFn) -> Report:
    pools = [
        pool(
            draw(names),
            draw(st.lists(servers(), max_size=2, unique_by=lambda it: it.name)),
            panic=draw(st.booleans()),
            queue=draw(counts),
            tally=draw(tallies(PoolTally)),
            retired=draw(tallies(ServerTally)),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    return Report(
        generation=draw(counts),
        started=draw(seconds),
        now=draw(seconds),
        listeners=draw(st.dictionaries(names, tallies(ListenerTally), max_size=2)),
        routes=draw(st.dictionaries(names, tallies(RouteTally), max_size=2)),
        pools={pool.name: pool for pool in pools},
        cache=draw(st.none() | caches()),
    )
