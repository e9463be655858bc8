"""How much of what the cache was asked for it had, over time."""

from balancer.tally import RouteTally
from balancer.telemetry.hit_ratio import HitRatios
from balancer.telemetry.report import Report


def report(hits: int, misses: int) -> Report:
    tally = RouteTally()
    tally.cache.update({"hit": hits, "miss": misses})
    return Report(1, 0.0, 0.0, {}, {"r": tally}, {})


def test_each_step_of_ten_seconds_has_its_own_counts() -> None:
    ratios = HitRatios()
    for second, (hits, misses) in enumerate([(0, 0), *[(n, n) for n in range(1, 31)]]):
        ratios.sample(float(second), report(hits, misses))
    points = ratios.points()
    assert [point.at for point in points] == [10.0, 20.0, 30.0]
    assert [(point.lookups, point.hits) for point in points] == [(20, 10), (20, 10), (20, 10)]


def test_counts_that_begin_anew_begin_the_history_anew() -> None:
    ratios = HitRatios()
    for second in range(25):
        ratios.sample(float(second), report(second, 0))
    ratios.sample(25.0, report(1, 0))
    assert [(point.lookups, point.hits) for point in ratios.points()] == [(1, 1)]
