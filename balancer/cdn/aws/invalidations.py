"""Purge targets as CloudFront's invalidations: paths, tags, and a star as the last character. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from balancer.cdn.purging.collapse import nearest
from balancer.cdn.types import LimitState, PurgeBatch, PurgeKind, PurgePlan, PurgeState, PurgeTarget, Rejected
from balancer.http1.tag_fields import spelled

PATHS: Final = "paths"
"""Paths and tags that are one item each."""
WILDCARDS: Final = "wildcards"
EVERYTHING: Final = "/*"
MOST_PATHS: Final = 1000
"""In one call, so that three are in progress at once and none waits for all of another."""
MOST_WILDCARDS: Final = 15
"""In one call, as more are never in progress."""
LONGEST_PATH: Final = 4000
"""Characters."""
LIMITS: Final[Mapping[str, LimitState]] = {
    # What is in progress for a distribution, and not what is sent in some time: nothing of it refills.
    PATHS: LimitState(3000.0, 3000.0, 0.0),
    WILDCARDS: LimitState(15.0, 15.0, 0.0),
}
_UNSAFE: Final = re.compile(r'[^!-~]|["<>\\^`{|}~\[\]]')
"""What is to be percent-encoded, and nothing else is: non-ASCII, and what RFC 1738 section 2.2 calls unsafe, but
% and #: the one begins what is encoded already, the other is in no target."""
_ONE_STAR: Final = "CloudFront takes a star as the last character only"
_NO_HOST: Final = "CloudFront's paths have no host: it was purged for all hosts of the distribution"
_HARD: Final = "CloudFront knows no soft purge: it was a hard one"


@dataclass(frozen=True, slots=True)
class Distribution:
    """What the plan has to know of it."""

    hosts: tuple[str, ...]
    """That it serves; empty: not known."""
    tags: bool = True
    """It is told which field of answers has their tags."""
    query_strings: bool = True
    """They are a part of its cache key, so that one path may be there many times."""


@dataclass(slots=True)
class _Plan:
    """What is found while one target after the other is looked at: items with the targets that they are for."""

    paths: dict[str, list[PurgeTarget]] = field(default_factory=dict)
    wildcards: dict[str, list[PurgeTarget]] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, item: str, target: PurgeTarget) -> None:
        found = (self.wildcards if item.endswith("*") else self.paths).setdefault(item, [])
        if target not in found:
            found.append(target)

    def refuse(self, target: PurgeTarget, reason: str, near: PurgeTarget | None = None) -> None:
        self.rejected.append(Rejected(target, reason, near.written if near is not None else None))

    def note(self, text: str) -> None:
        self.notes[text] = None


def plan_purge(
    targets: Sequence[PurgeTarget], distribution: Distribution, *, soft: bool = False, widen: bool = False
) -> PurgePlan:
    """The calls; everything, where it is among the targets, makes the others needless."""
    plan = _Plan()
    if any(target.kind is PurgeKind.ALL for target in targets):
        for target in targets:
            plan.add(EVERYTHING, target)
    else:
        for target in targets:
            _place(target, target, distribution, plan, widen=widen)
    if EVERYTHING in plan.wildcards:  # by a prefix, or a host that is the only one
        plan.paths, plan.wildcards = {}, {EVERYTHING: _all_of(plan.paths, plan.wildcards)}
    batches = (
        *_batches(WILDCARDS, plan.wildcards, MOST_WILDCARDS, soft=soft),
        *_batches(PATHS, plan.paths, MOST_PATHS, soft=soft),
    )
    if soft and batches:
        plan.note(_HARD)
    return PurgePlan(batches, tuple(plan.rejected), tuple(plan.notes))


def reference(idempotency_key: str) -> str:
    """CallerReference: with the same one, CloudFront does not do again, and bill again, what it has done."""
    return sha256(idempotency_key.encode()).hexdigest()[:32]


def invalidation(batch: PurgeBatch, idempotency_key: str) -> Mapping[str, object]:
    """What is sent."""
    return {
        "Paths": {"Quantity": len(batch.items), "Items": list(batch.items)},
        "CallerReference": reference(idempotency_key),
    }


def state(status: str) -> PurgeState:
    """What CloudFront says of an invalidation. By its letters in any case: stand-ins shout."""
    return PurgeState.COMPLETED if status.lower() == "completed" else PurgeState.IN_PROGRESS


def _place(target: PurgeTarget, asked: PurgeTarget, distribution: Distribution, plan: _Plan, *, widen: bool) -> None:
    """Put `target` among the items, on account of what was `asked`; or among what is refused."""
    hosts = distribution.hosts
    if target.kind is PurgeKind.TAG:
        _tag(target, asked, distribution, plan)
        return
    if target.kind is PurgeKind.HOST:
        _host(target, asked, distribution, plan, widen=widen)
        return
    if target.host is not None and hosts and target.host not in hosts:
        plan.refuse(asked, f"{target.host} is none of the distribution's hosts, which are {', '.join(hosts)}")
        return
    items = list(_items(target, distribution))
    if not items or any(len(item) > LONGEST_PATH for item in items):
        reason = f"a path at CloudFront has at most {LONGEST_PATH} characters" if items else _ONE_STAR
        _widened(target, asked, distribution, plan, reason, widen=widen)
        return
    if target.host is not None and len(hosts) != 1:
        plan.note(f"{asked.written}: {_NO_HOST}")
    for item in items:
        plan.add(item, asked)


def _items(target: PurgeTarget, distribution: Distribution) -> Iterator[str]:
    """As CloudFront spells them; none: it has no form."""
    path = _encoded(target.value)
    if target.kind is PurgeKind.PREFIX:
        yield f"{path}*"
    elif target.kind is PurgeKind.PATTERN:
        if path.find("*") == len(path) - 1:
            yield path
    elif target.query is not None:
        yield f"{path}?{_encoded(target.query)}"
    else:
        yield path
        if distribution.query_strings:
            yield f"{path}?*"


def _tag(target: PurgeTarget, asked: PurgeTarget, distribution: Distribution, plan: _Plan) -> None:
    if not distribution.tags:
        plan.refuse(asked, "cdn.aws.cache_tag_header is empty: the distribution is told no tags")
        return
    item = f"#{spelled(target.value, 'aws')}"
    # A tag that is in capitals elsewhere is the same one there, and would be paid for twice.
    same = next((known for known in plan.paths if known.lower() == item.lower()), item)
    plan.add(same, asked)


def _host(target: PurgeTarget, asked: PurgeTarget, distribution: Distribution, plan: _Plan, *, widen: bool) -> None:
    if distribution.hosts and target.value not in distribution.hosts:
        plan.refuse(asked, f"{target.value} is none of the distribution's hosts, {', '.join(distribution.hosts)}")
    elif len(distribution.hosts) == 1:
        plan.add(EVERYTHING, asked)
    elif widen:
        plan.note(f"{asked.written} was widened to *: CloudFront has no purge of one of several hosts")
        plan.add(EVERYTHING, asked)
    else:
        everything = PurgeTarget(PurgeKind.ALL, "")
        plan.refuse(asked, "CloudFront has no purge of one of several hosts", everything)


def _widened(
    target: PurgeTarget, asked: PurgeTarget, distribution: Distribution, plan: _Plan, reason: str, *, widen: bool
) -> None:
    near = _nearest(target)
    if near is None or not widen:
        plan.refuse(asked, reason, near)
        return
    plan.note(f"{asked.written} was widened to {near.written}: {reason}")
    _place(near, asked, distribution, plan, widen=False)


def _nearest(target: PurgeTarget) -> PurgeTarget | None:
    """What has a form, and contains all of it. A folder, as nobody guesses what else begins like half a name; None:
    only everything does."""
    path, mark, _ = target.value.partition("?")
    if mark and "*" not in path:
        return PurgeTarget(PurgeKind.URL, path, target.host)  # what varies is the query
    return nearest(target)


def _encoded(text: str) -> str:
    return _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def _batches(kind: str, found: Mapping[str, list[PurgeTarget]], most: int, *, soft: bool) -> Iterator[PurgeBatch]:
    items = list(found)
    for start in range(0, len(items), most):
        part = tuple(items[start : start + most])
        targets = tuple(dict.fromkeys(target for item in part for target in found[item]))
        yield PurgeBatch(kind, part, targets, cost=len(part), soft=soft)


def _all_of(*found: Mapping[str, list[PurgeTarget]]) -> list[PurgeTarget]:
    return list(dict.fromkeys(target for items in found for targets in items.values() for target in targets))
