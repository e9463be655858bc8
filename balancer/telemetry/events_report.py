"""Product events on their way to the store, for metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventsReport:
    """Counts are since the start."""

    up: bool
    """Whether the store takes them."""
    counted: int
    excluded: Mapping[str, int]
    """By why: bot, opt-out, duplicate."""
    dropped: int
    """For want of room while the store was away or too slow."""
    waiting: int
    stored: int
    seconds: float
    """That the store has spent writing."""
    restarts: int
    """Of the store's process."""
