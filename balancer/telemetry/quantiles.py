"""Quantiles of latencies that were counted in buckets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from balancer.tally import BOUNDS


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The latency that `share` (0..1) of the counted ones do not exceed; None when nothing was counted.

    Right to within the bucket it falls into, in which latencies are taken to be spread evenly. What lies
    above the last bound is not known, so the last bound stands for it: read 60 s as "60 s or more".
    """
    return quantiles(counts, (share,))[0]


def quantiles(counts: Sequence[int], shares: Sequence[float]) -> list[float | None]:
    """Several quantiles at once."""
    reached = list(accumulate(counts))
    total = reached[-1]
    if not total:
        return [None] * len(shares)
    told: list[float | None] = []
    for share in shares:
        rank = share * total
        index = bisect_left(reached, max(rank, 1.0))  # at least 1: an empty bucket in front holds no latency
        before = reached[index] - counts[index]
        told.append(_within(index, (rank - before) / counts[index]))
    return told


def _within(index: int, share: float) -> float:
    """The latency a `share` of the way through a bucket."""
    if index == len(BOUNDS):
        return BOUNDS[-1]
    low = BOUNDS[index - 1] if index else 0.0
    return low + (BOUNDS[index] - low) * share
