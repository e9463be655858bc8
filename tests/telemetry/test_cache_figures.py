import json

import pytest

from balancer.cache.memory import MemoryFigures
from balancer.tally import CacheTally, Histogram
from balancer.telemetry.cache_report import CacheReport, SecondReport, add
from balancer.telemetry.hit_ratio import STEP, HitRatios
from balancer.telemetry.metrics import Metrics
from balancer.telemetry.process import Process
from balancer.telemetry.rates import Recent
from balancer.telemetry.redis_report import NodeReport, RedisReport
from balancer.telemetry.report import Report
from tests.telemetry.reports import VITALS, report
from tests.telemetry.test_summary import told

FIGURES = MemoryFigures(
    entries=3, bytes=4000, limit=65536, stored=9, evicted=4, refused=1, purged=2, pending=0, overflows=0
)


def cached(**results: int) -> Report:
    """A report of a balancer whose only route is cached and has had these results."""
    seen = report()
    seen.routes["api"].cache.update(results)
    tally = CacheTally()
    tally.refused["private"] = 5
    tally.purges["tag"] = 2
    tally.fills = 7
    return Report(
        **{name: getattr(seen, name) for name in seen.__slots__} | {"cache": CacheReport(FIGURES, tally, 1, 2)}
    )


def ratios(seconds: int, seen: Report, start: float = 0.0, into: HitRatios | None = None, **each: int) -> HitRatios:
    """Samples of so many seconds, in each of which there are so many results."""
    into = into or HitRatios()
    for second in range(seconds + 1):
        into.sample(start + second, seen)
        for result, count in each.items():
            seen.routes["api"].cache[result] += count
    return into


def test_a_ratio_is_not_known_before_something_was_asked_for():
    found = HitRatios()
    assert found.ratio("now") is None
    quiet = ratios(3, cached(bypass=100))
    assert [quiet.ratio(window) for window in ("now", "five_minutes", "hour")] == [None, None, None]


def test_what_came_before_the_first_sample_counts_too():
    found = ratios(1, cached(hit=3, miss=1))
    assert [found.ratio(window) for window in ("now", "five_minutes", "hour")] == [None, 0.75, 0.75]


def test_a_steady_ratio_is_told_in_every_window():
    found = ratios(400, cached(), hit=2, stale=1, miss=1)
    assert [found.ratio(window) for window in ("now", "five_minutes", "hour")] == [0.75, 0.75, 0.75]


def test_what_goes_past_the_cache_is_no_part_of_its_ratio():
    assert ratios(5, cached(), hit=1, expired=1, bypass=50, purge=50).ratio("now") == 0.5


def test_each_window_forgets_what_is_older_than_it():
    seen = cached()
    found = ratios(4000, seen, miss=1)
    ratios(400, seen, start=4001, into=found, hit=1)
    assert found.ratio("now") == 1.0
    assert found.ratio("five_minutes") == 1.0
    assert found.ratio("hour") == pytest.approx(400 / 3600, abs=(STEP + 2) / 3600)
    ratios(3, seen, start=4402, into=found, miss=1)
    assert found.ratio("now") == 0.0
    assert found.ratio("five_minutes") == pytest.approx(298 / 300, abs=(STEP + 2) / 300)


def test_counts_that_begin_anew_make_no_negative_ratio():
    found = ratios(100, cached(hit=1000, miss=1000), hit=1)
    again = cached()
    ratios(20, again, start=101, into=found, miss=1)
    assert [found.ratio(window) for window in ("now", "five_minutes", "hour")] == [0.0, 0.0, 0.0]


def test_the_figures_of_a_cache_say_what_it_holds_and_did():
    recent = Recent()
    seen = cached(hit=6, miss=2, bypass=3)
    recent.sample(1.0, seen)
    seen.routes["api"].cache["hit"] += 2
    recent.sample(2.0, seen)
    figures = told(seen, recent).cache
    assert figures is not None
    assert (figures.entries, figures.bytes, figures.limit, figures.evicted) == (3, 4000, 65536, 4)
    assert figures.requests == {"hit": 8, "miss": 2, "bypass": 3}
    assert figures.routes == {"api": figures.requests}
    assert (figures.hit_ratio.now, figures.hit_ratio.since_start) == (1.0, 0.8)
    assert figures.not_stored == {"private": 5, "store": 1}
    assert (figures.fills, figures.fills_under_way, figures.waiting) == (7, 1, 2)
    assert figures.redis is None
    assert json.loads(figures.model_dump_json())["purges"] == {"tag": 2}


def test_without_a_cached_route_there_are_no_figures_of_a_cache():
    assert told(report()).cache is None
    body, _ = Metrics(5000, Process()).page(report(), VITALS, "")
    assert b"\nbalancer_cache_entries " not in body


def test_prometheus_is_told_of_memory_and_of_the_level_in_redis():
    seen = cached(hit=6, miss=2)
    assert seen.cache is not None
    seconds = Histogram()
    seconds.observe(0.002)
    second = SecondReport("open", False, "timeout", {"ok": 4, "timeout": 5}, seconds, {"hit": 1}, 2, 3)
    whole = CacheReport(seen.cache.memory, seen.cache.tally, second=second)
    nodes = (NodeReport("h:1", "open", "timeout"),)
    redis = RedisReport("open", "timeout", 7, nodes, {"ok": 4, "timeout": 5}, seconds, opened=1, connects=2)
    seen = Report(**{name: getattr(seen, name) for name in seen.__slots__} | {"cache": whole, "redis": redis})
    lines = Metrics(5000, Process()).page(seen, VITALS, "")[0].decode().splitlines()
    for line in (
        'balancer_cache_requests_total{route="api",result="hit"} 6',
        "balancer_cache_entries 3",
        "balancer_cache_evictions_total 4",
        'balancer_cache_refused_total{reason="private"} 5',
        'balancer_cache_purges_total{kind="tag"} 2',
        'balancer_cache_purges_total{kind="everything"} 0',
        "balancer_cache_redis_up 0",
        'balancer_redis_commands_total{result="timeout"} 5',
        'balancer_redis_nodes{state="open"} 1',
        'balancer_redis_nodes{state="up"} 0',
        "balancer_redis_commands_waiting 7",
        "balancer_redis_breaker_openings_total 1",
        "balancer_redis_connects_total 2",
        'balancer_cache_redis_results_total{result="hit"} 1',
        "balancer_cache_redis_gaps_total 2",
        "balancer_cache_redis_purges_owed 3",
        "balancer_redis_command_duration_seconds_count 1",
    ):
        assert line in lines, line


def test_of_several_planes_the_one_whose_redis_is_away_is_told():
    up, away = SecondReport("up", True, None, {"ok": 3}), SecondReport("open", False, "refused", {"ok": 1})
    whole = add([CacheReport(FIGURES, CacheTally(), second=level) for level in (up, away)])
    assert whole is not None
    assert whole.second == SecondReport("open", False, "refused", {"ok": 4})
    assert (whole.memory.entries, whole.memory.limit) == (6, 131072)
    assert add([]) is None
