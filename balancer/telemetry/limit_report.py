"""What a plane hands over about its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import nlargest

from balancer.guards.limiter import Policy
from balancer.guards.rulings import masked_key, name_of
from balancer.telemetry.sums import add_up
from config.guards import RateLimit

TOP = 20
"""Keys that are told of a policy."""


@dataclass(frozen=True, slots=True)
class KeyReport:
    """One key that was refused something, or of which an operator has said something."""

    name: str
    masked: str
    refused: int
    order: str | None
    """lift or block; None: as all others."""
    seconds: float | None
    """For how long still."""


@dataclass(frozen=True, slots=True)
class LimitReport:
    """One policy, with what it decided so far."""

    settings: RateLimit
    decisions: Mapping[str, int]
    keys: int
    """That are remembered."""
    under_way: int
    """Requests that have a place now."""
    mode: str = "local"
    """local; leased or exact while Redis is used; fallback while it should be and is not."""
    reason: str | None = None
    """Why it is in fallback."""
    since: datetime | None = None
    """When that mode began; None where it is not shared."""
    instances: int = 1
    """Balancers that are known to share it, this one included."""
    questions: int = 0
    """How often Redis was asked for its tokens."""
    held: int = 0
    """Tokens of a key that this balancer may have taken and not spent."""


def of_policy(policy: Policy) -> LimitReport:
    return LimitReport(
        settings=policy.settings,
        decisions=dict(policy.tally.decisions),
        keys=len(policy.buckets),
        under_way=sum(policy.places.values()),
    )


def top_keys(policy: Policy, secret: bytes, now: float, most: int = TOP) -> tuple[KeyReport, ...]:
    """The keys with orders, and those that were refused most. Reports are made each second, and so are without them."""
    refused = policy.tally.limited
    found = nlargest(most, policy.known(), key=lambda key: (key in policy.rulings, refused.get(key, 0)))
    return tuple(_key(policy, key, secret, now) for key in found)


def _key(policy: Policy, key: str, secret: bytes, now: float) -> KeyReport:
    ruling = policy.rulings.get(key)
    standing = ruling is not None and ruling.until > now
    return KeyReport(
        name=name_of(policy.name, key, secret),
        masked=masked_key(key),
        refused=policy.tally.limited.get(key, 0),
        order=ruling.order if ruling is not None and standing else None,
        seconds=ruling.until - now if ruling is not None and standing else None,
    )


def add(reports: Sequence[LimitReport]) -> LimitReport:
    """The sum of one policy over several planes; at least one."""
    first = reports[0]
    return replace(
        first,
        decisions=add_up(dict(report.decisions) for report in reports),
        keys=sum(report.keys for report in reports),
        under_way=sum(report.under_way for report in reports),
        questions=sum(report.questions for report in reports),
    )
