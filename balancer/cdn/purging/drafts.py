"""The targets of several tickets as the calls of one provider: once each, and everything before anything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from balancer.cdn.purging.collapse import CROWD, EVERYTHING, crowded
from balancer.cdn.purging.ticket import Refused
from balancer.cdn.types import PurgeBatch, PurgeKind, PurgePlan, PurgeTarget


class Planner(Protocol):
    """What is pure of a provider."""

    def plan_purge(self, targets: Sequence[PurgeTarget], *, soft: bool, widen: bool) -> PurgePlan: ...


class Wish(NamedTuple):
    """A target of a ticket."""

    ticket: str
    target: PurgeTarget
    soft: bool
    widen: bool


class Drafted(NamedTuple):
    """A call, and whose it is: by their tickets, the targets, as written there, that it is for."""

    batch: PurgeBatch
    widen: bool
    tickets: dict[str, tuple[str, ...]]


@dataclass(slots=True)
class Drafts:
    """What several tickets come to."""

    calls: list[Drafted] = field(default_factory=list)
    rejected: list[tuple[str, Refused]] = field(default_factory=list)
    """By ticket."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """By ticket."""


def is_everything(wish: Wish) -> bool:
    """Whether it leaves nothing to do for any other."""
    return wish.target.kind is PurgeKind.ALL and not wish.soft


def draft(wishes: Sequence[Wish], planner: Planner, crowd: int = CROWD) -> Drafts:
    """Pure, as the planner is; CdnError as it raises it."""
    found = Drafts()
    if any(map(is_everything, wishes)):
        wishes = [wish._replace(soft=False, widen=False) for wish in wishes]
    groups: dict[tuple[bool, bool], list[Wish]] = defaultdict(list)
    for wish in wishes:
        groups[wish.soft, wish.widen].append(wish)
    for (soft, widen), group in groups.items():
        _plan(group, soft, widen, planner, crowd, found)
    return found


def _plan(group: Sequence[Wish], soft: bool, widen: bool, planner: Planner, crowd: int, found: Drafts) -> None:
    merged, folders = crowded((wish.target for wish in group), crowd)
    cover = _Cover(merged)
    wanted: dict[PurgeTarget, list[Wish]] = defaultdict(list)
    for wish in group:
        wanted[cover.of(wish.target)].append(wish)
    plan = planner.plan_purge(merged, soft=soft, widen=widen)
    called: set[PurgeTarget] = set()
    for batch in plan.batches:
        tickets: dict[str, dict[str, None]] = defaultdict(dict)
        for target in batch.targets:
            called.add(target)
            for wish in wanted[target]:
                tickets[wish.ticket][wish.target.written] = None
        found.calls.append(Drafted(batch, widen, {ticket: tuple(written) for ticket, written in tickets.items()}))
    for one in plan.rejected:
        called.add(one.target)
        for wish in wanted[one.target]:
            found.rejected.append((wish.ticket, Refused(wish.target.written, one.reason, one.nearest)))
    for target, wishes in wanted.items():
        if target not in called:
            # Nothing may pass for purged because a provider has left it out.
            reason = "the provider has no call for it"
            found.rejected += [(wish.ticket, Refused(wish.target.written, reason)) for wish in wishes]
    folder_notes = [f"{folder} is purged in the place of more than {crowd} URLs below it" for folder in folders]
    found.notes += _addressed([*plan.notes, *folder_notes], wanted)


def _addressed(notes: Iterable[str], wanted: dict[PurgeTarget, list[Wish]]) -> list[tuple[str, str]]:
    """Notes to those whom they concern: one begins with a target, or is for all."""
    by_word = {target.written: target for target in wanted}
    everybody = list(dict.fromkeys(wish.ticket for wishes in wanted.values() for wish in wishes))
    told: dict[tuple[str, str], None] = {}
    for note in notes:
        target = by_word.get(note.split(" ", 1)[0].removesuffix(":"))
        tickets = everybody if target is None else [wish.ticket for wish in wanted[target]]
        told.update(dict.fromkeys((ticket, note) for ticket in tickets))
    return list(told)


class _Cover:
    """Finds what a target became when others were merged with it."""

    def __init__(self, merged: Sequence[PurgeTarget]) -> None:
        self._merged = set(merged)
        self._prefixes: dict[str | None, list[PurgeTarget]] = defaultdict(list)
        for target in merged:
            if target.kind is PurgeKind.PREFIX:
                self._prefixes[target.host].append(target)

    def of(self, target: PurgeTarget) -> PurgeTarget:
        if target in self._merged:
            return target
        if EVERYTHING in self._merged:
            return EVERYTHING
        whole = PurgeTarget(PurgeKind.URL, target.value, target.host)
        if target.kind is PurgeKind.URL and whole in self._merged:
            return whole
        literal = target.value.partition("*")[0]
        found = (one for one in self._prefixes[target.host] if literal.startswith(one.value))
        return next(found)  # what is not there for itself is covered by a prefix: see collapse
