"""Weights as strategies use them, and one weighted draw."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random

from balancer.server import Server

LEAST = 0.001
"""A server in rotation keeps some share, even if slow start begins at none; and nothing divides by zero."""


def weights_of(servers: Sequence[Server]) -> list[float]:
    """The servers' weights, all above zero."""
    return [max(float(server.weight), LEAST) for server in servers]


def bounds_of(weights: Sequence[float]) -> list[float]:
    """The upper bound of each weight's stretch when all are laid end to end, for `draw`."""
    return list(accumulate(weights))


def draw(bounds: Sequence[float], rng: Random) -> int:
    """An index, each as likely as its weight; `bounds` has at least one entry."""
    # The product is below the last bound even after rounding: `random` is at most 1 - 2**-53, and taking that part
    # away is more than half a unit in the last place.
    return bisect(bounds, rng.random() * bounds[-1])
