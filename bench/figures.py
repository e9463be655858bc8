"""What is made of the measured values: medians, spreads, ratios and slopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import linear_regression, median
from typing import Literal


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of the same thing."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def ratio(values: Sequence[float], reference: Sequence[float]) -> Spread:
    """How many times the reference the values are.

    Taken round by round, because what disturbs a round (another program, a hot processor) disturbs its
    neighbours too and cancels out, which it does not between two medians.
    """
    return spread([value / other for value, other in zip(values, reference, strict=True)])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much y grows with each x, by least squares."""
    return linear_regression([x for x, _ in points], [y for _, y in points]).slope


@dataclass(frozen=True, slots=True)
class Row:
    """What one program came to in one case; `extra` is what helps to judge it."""

    name: str
    value: Spread
    ratio: Spread | None
    """To nginx; None without an nginx, or where a ratio says nothing."""
    extra: dict[str, float | str] = field(default_factory=dict)
    rounds: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Goal:
    """What the balancer is to reach in a case."""

    of: Literal["ratio", "median"]
    most: float

    def reached(self, row: Row) -> float | None:
        """The figure that is compared with `most`; None when it could not be measured."""
        compared = row.ratio if self.of == "ratio" else row.value
        return compared.median if compared else None


@dataclass(frozen=True, slots=True)
class Case:
    """One question, answered for every program it was put to."""

    name: str
    title: str
    unit: str
    rows: Sequence[Row]
    goal: Goal | None = None
    errors: int = 0
    """Requests that failed in any round; they make the figures worthless."""
