from bisect import bisect_left
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.tally import BOUNDS, Histogram
from balancer.telemetry.quantiles import quantile

latencies = st.lists(st.floats(1e-6, 59.9), min_size=1, max_size=200)


def counted(values: list[float]) -> list[int]:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    return histogram.counts


@given(values=latencies, share=st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_value_it_stands_for(values, share):
    right = sorted(values)[ceil(share * len(values)) - 1]
    bucket = bisect_left(BOUNDS, right)
    low = BOUNDS[bucket - 1] if bucket else 0.0
    told = quantile(counted(values), share)
    assert low <= told <= BOUNDS[bucket] * (1 + 1e-12)


@given(values=latencies, shares=st.lists(st.floats(0, 1), min_size=2, max_size=5).map(sorted))
def test_a_larger_share_never_has_a_smaller_latency(values, shares):
    told = [quantile(counted(values), share) for share in shares]
    assert told == sorted(told)


@given(latencies)
def test_no_latency_exceeds_the_quantile_of_all(values):
    assert quantile(counted(values), 1.0) >= max(values)


def test_of_nothing_there_is_no_quantile():
    assert quantile(counted([]), 0.5) is None


def test_the_median_of_even_latencies_is_near_their_middle():
    values = [n / 1000 for n in range(1, 1001)]
    assert quantile(counted(values), 0.5) == pytest.approx(0.5, rel=0.05)
    assert quantile(counted(values), 0.99) == pytest.approx(0.99, rel=0.05)


def test_what_took_longer_than_the_last_bound_is_told_as_the_last_bound():
    assert quantile(counted([61.0, 1000.0]), 0.5) == BOUNDS[-1]
