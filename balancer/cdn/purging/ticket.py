"""What is ordered to be purged, and what became of it: one ticket per order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Final, Literal, NamedTuple

from balancer.cache.receipts import PurgeReceipt
from balancer.cdn.types import PurgeState, PurgeTarget

Scope = Literal["own", "cdn"]
SCOPES: Final[tuple[Scope, ...]] = ("own", "cdn")
DONE: Final = frozenset({PurgeState.SUBMITTED, PurgeState.COMPLETED, PurgeState.PARTIAL, PurgeState.FAILED})
"""States that a ticket stays in, unless it is tried again."""


@dataclass(frozen=True, slots=True)
class PurgeOrder:
    """What somebody wants purged, as written. `patterns` are of any kind, the others of the kind that they name."""

    patterns: tuple[str, ...] = ()
    """/posts/7, /posts/*, https://example.com/a.png, tag:post-42, host:img.example.com."""
    paths: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Without "tag:"."""
    hosts: tuple[str, ...] = ()
    """Without "host:"."""
    everything: bool = False
    """All there is. It is never meant by an empty order, nor by a lone star without this."""
    soft: bool = False
    """Stale instead of gone, where there is such a thing."""
    widen: bool = False
    """What the CDN has no form for is purged there by the nearest folder."""
    scope: tuple[Scope, ...] = SCOPES
    wait_s: float = 0.0
    """Seconds to wait for the CDN to be done; 0: none."""


class LevelCount(NamedTuple):
    """What one level of the own cache says of a ticket."""

    level: str
    """memory, redis; or pictures, for copies on disk."""
    ok: bool
    entries: int | None
    """Stored answers that it met; None: that is not known."""
    reason: str | None = None
    """Why it is not in force there."""


class Refused(NamedTuple):
    """A target that the CDN has no form for; the own cache has purged it all the same."""

    written: str
    reason: str
    nearest: str | None = None
    """What `widen` would purge in its place."""


@dataclass(frozen=True, slots=True)
class CdnPart:
    """What the CDN says of a ticket."""

    provider: str
    batches: int = 0
    """Calls that it takes; targets of several tickets may share one."""
    accepted: tuple[str, ...] = ()
    """Targets, as written, that the provider has taken."""
    rejected: tuple[Refused, ...] = ()
    failed: tuple[str, ...] = ()
    """Targets, as written, that did not get through; they can be tried again."""
    verified: bool = False
    """The provider was seen to be done with all that it has accepted."""
    provider_ids: tuple[str, ...] = ()
    attempts: int = 0
    """Of the call that was tried most often."""
    next_try: datetime | None = None
    error: str | None = None
    """Of the last call that failed; the next one may do."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One order and what has become of it so far. A value: the journal has the latest."""

    id: str
    """pg_ and what sorts by time."""
    state: PurgeState
    created: datetime
    targets: tuple[PurgeTarget, ...]
    soft: bool = False
    widen: bool = False
    scope: tuple[Scope, ...] = SCOPES
    own: tuple[LevelCount, ...] = ()
    """By level, the nearest first; empty until they have answered, and without "own" in the scope."""
    cdn: CdnPart | None = None
    """None without "cdn" in the scope, and where there is no CDN apart from the balancer."""
    verified: bool = False
    """It was seen that all of it is gone: not merely that somebody has said yes."""
    notes: tuple[str, ...] = ()
    """What was done otherwise than ordered: widened, hard instead of soft."""
    warnings: tuple[str, ...] = ()
    """What somebody has to know: a level that did not take it, a journal that did not keep it."""
    completed: datetime | None = None
    durable: bool = True
    """False: the journal could not keep it, so that it does not outlive the process."""
    author: str = ""

    @property
    def done(self) -> bool:
        return self.state in DONE

    @property
    def written(self) -> tuple[str, ...]:
        """The targets as an operator would write them."""
        return tuple(target.written for target in self.targets)

    def warned(self, *warnings: str) -> Ticket:
        """With further warnings, each of them once."""
        return replace(self, warnings=tuple(dict.fromkeys((*self.warnings, *warnings))))


@dataclass(slots=True)
class _Sum:
    ok: bool = True
    entries: int | None = 0
    reasons: list[str] = field(default_factory=list)


_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def made_id(kind: str, now: float, rng: Random) -> str:
    """A name that sorts by its time, to the millisecond: 10 letters of time and 16 of chance, as a ULID has them."""
    number = int(now * 1000) << 80 | rng.getrandbits(80)
    return f"{kind}_{''.join(_LETTERS[number >> 5 * place & 31] for place in range(25, -1, -1))}"


def own_levels(receipts: Sequence[PurgeReceipt]) -> tuple[LevelCount, ...]:
    """The receipts of all purges of a ticket, as one per level."""
    sums: dict[str, _Sum] = {}
    for receipt in receipts:
        for level in receipt.levels:
            total = sums.setdefault(level.level, _Sum())
            if not level.ok:
                total.ok = False
                if level.reason is not None and level.reason not in total.reasons:
                    total.reasons.append(level.reason)
            known = total.entries is not None and level.entries is not None
            total.entries = (total.entries or 0) + (level.entries or 0) if known else None
    return tuple(LevelCount(name, one.ok, one.entries, "; ".join(one.reasons) or None) for name, one in sums.items())
