"""Periods of statistics: rounded to whole intervals, cut into what one query may cover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def floor(moment: datetime, seconds: int) -> datetime:
    """The beginning of the interval that it is in."""
    return moment - (moment - EPOCH) % timedelta(seconds=seconds)


def ceiling(moment: datetime, seconds: int) -> datetime:
    start = floor(moment, seconds)
    return start if start == moment else start + timedelta(seconds=seconds)


def pieces(start: datetime, end: datetime, longest: int, grain: int) -> list[tuple[datetime, datetime]]:
    """The period in parts of at most `longest` seconds, each of whole grains; one grain at least."""
    step = timedelta(seconds=max(longest // grain, 1) * grain)
    count = -((start - end) // step)
    return [(start + step * number, min(start + step * (number + 1), end)) for number in range(count)]
