"""Cloudflare's documented rate limits of purges, by plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from balancer.cdn.types import CALLS, LimitState

Plan = Literal["free", "pro", "business", "enterprise"]

FILES: Final = "files"
"""Counts URLs."""
OTHER: Final = "other"
"""Counts calls: tags, hosts, prefixes and everything together."""

_FILES: Final[Mapping[Plan, float]] = {"free": 800, "pro": 1500, "business": 1500, "enterprise": 3000}
_OTHER: Final[Mapping[Plan, tuple[float, float]]] = {
    "free": (25, 5 / 60),
    "pro": (25, 5),
    "business": (50, 10),
    "enterprise": (500, 50),
}
"""Size of the bucket, and calls in a second."""
_CALLS: Final = (600.0, 2.0)
"""1200 calls in 5 minutes are allowed to a user; whoever makes more is refused everything for 5 minutes. A bucket of
half of them that takes 5 minutes to fill never makes more in any 5 minutes."""


def limits(plan: Plan) -> Mapping[str, LimitState]:
    files = _FILES[plan]
    size, refill = _OTHER[plan]
    calls, calls_refill = _CALLS
    return {
        FILES: LimitState(files, files, files),
        OTHER: LimitState(size, size, refill),
        CALLS: LimitState(calls, calls, calls_refill),
    }


def items(kind: str, plan: Plan, configured: int) -> int:
    """How many may be in one call."""
    return min(configured, 500 if kind == FILES and plan == "enterprise" else 100)
