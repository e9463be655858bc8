"""What came of a purge, level by level."""

from __future__ import annotations

from dataclasses import dataclass

from balancer.cache.purges import Purge


@dataclass(frozen=True, slots=True)
class LevelReceipt:
    """What one level says of one purge."""

    level: str
    """Memory, redis, or a CDN's name."""
    ok: bool
    """It is in force there."""
    entries: int | None
    """Stored answers that it met; None when that cannot be known."""
    seconds: float
    """Until it was in force."""
    reason: str | None = None
    """Why it is not, or why there is no count."""


@dataclass(frozen=True, slots=True)
class PurgeReceipt:
    """One purge, with what every level says of it, the nearest first."""

    purge: Purge
    levels: tuple[LevelReceipt, ...]

    @property
    def ok(self) -> bool:
        """Whether it is in force everywhere."""
        return all(level.ok for level in self.levels)
