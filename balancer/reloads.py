"""The record of configurations that were taken and refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from config.diff import Change
from config.problems import Problem
from config.schema import Config

AT_START_ONLY = (
    "admin.audit",
    "admin.listen",
    "admin.state",
    "admin.tls",
    "metrics.listen",
    "metrics.path",
    "metrics.max_series",
)
"""Settings that are read when the process starts and at no other time."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload has changed."""

    generation: int
    changes: tuple[Change, ...]
    restart_required: tuple[str, ...]
    """Settings that differ from those the process started with and take effect only at the next start."""
    warnings: tuple[Problem, ...]


@dataclass(slots=True)
class Reloads:
    """How often configurations were taken and refused since the start, and when last (owner: Control)."""

    success: int = 0
    failure: int = 0
    last_ok: bool = True
    last: datetime | None = None
    """None before the first; the start is none."""
    last_success: datetime | None = None
    """When the configuration in force was taken; the start counts. None before it."""

    def refused(self, at: datetime) -> None:
        self.failure += 1
        self.last_ok = False
        self.last = at

    def taken(self, at: datetime) -> None:
        self.success += 1
        self.last_ok = True
        self.last = self.last_success = at


def restart_required(started: Config, now: Config) -> tuple[str, ...]:
    """The settings whose value is not the one the process started, and still works, with."""
    return tuple(path for path in AT_START_ONLY if attrgetter(path)(started) != attrgetter(path)(now))
