"""Purge targets as Bunny's calls: one URL each, or a tag, or all of a pull zone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from balancer.cdn.purging.collapse import nearest
from balancer.cdn.types import LimitState, PurgeBatch, PurgeKind, PurgePlan, PurgeTarget, Rejected
from balancer.http1.tag_fields import FORMS, MARK, spelled

EXACT: Final = "exact"
"""One URL."""
PREFIX: Final = "prefix"
"""All URLs that begin so."""
TAG: Final = "tag"
EVERYTHING: Final = "everything"
"""The pull zone."""

LIMITS: Final[Mapping[str, LimitState]] = {
    EXACT: LimitState(120, 120, 5),
    PREFIX: LimitState(20, 20, 0.5),
}
"""By account. What counts as which for tags and zones is not documented: they are taken for the dearer one."""
PATIENCE: Final = {EXACT: 2.0, PREFIX: 4.0}
"""Seconds to stay away where a 429 does not say how many."""

_NO_STAR: Final = "what a star in the middle of a URL meets at Bunny is not documented; tags are purged as they are"
_NO_PORT: Final = "a pull zone answers on the usual ports alone"


@dataclass(slots=True)
class _Plan:
    """What is found while one target after the other is looked at."""

    items: dict[tuple[str, str], list[PurgeTarget]] = field(default_factory=dict)
    """By kind and item: whom it is for."""
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, item: str, target: PurgeTarget) -> None:
        self.items.setdefault((kind, item), []).append(target)

    def widened(self, asked: PurgeTarget, near: PurgeTarget, reason: str) -> None:
        self.notes.append(f"{asked.written} was widened to {near.written}: {reason}")


def plan_purge(
    targets: Sequence[PurgeTarget],
    hosts: Sequence[str],
    *,
    scheme: str = "https",
    soft: bool = False,
    widen: bool = False,
) -> PurgePlan:
    """The calls, one item each; `hosts` are those of purges by path. Everything makes the others needless."""
    plan = _Plan()
    if soft:
        plan.notes.append("Bunny has no soft purge: what was purged is gone")
    if any(target.kind is PurgeKind.ALL for target in targets):
        whole = PurgeBatch(EVERYTHING, (EVERYTHING,), tuple(targets), limit=PREFIX)
        return PurgePlan((whole,), notes=tuple(plan.notes))
    for target in targets:
        _place(target, target, hosts, scheme, plan, widen=widen)
    batches = tuple(
        PurgeBatch(kind, (item,), tuple(dict.fromkeys(found)), limit=_limit(kind, item))
        for (kind, item), found in plan.items.items()
    )
    return PurgePlan(batches, tuple(plan.rejected), tuple(plan.notes))


def _limit(kind: str, item: str) -> str:
    """By which of the two it is counted: what ends in a slash, or has a star, is a prefix."""
    return EXACT if kind == EXACT and not item.partition("?")[0].endswith("/") and "*" not in item else PREFIX


def _place(
    target: PurgeTarget, asked: PurgeTarget, known: Sequence[str], scheme: str, plan: _Plan, *, widen: bool
) -> None:
    """Put `target` among the items, on account of what was `asked`; or among the rejected."""
    hosts = (target.host,) if target.host is not None else known
    match target.kind:
        case PurgeKind.TAG:
            _tag(target, asked, plan)
        case PurgeKind.HOST:
            _prefix([target.value], "/", asked, scheme, plan, widen=widen)
        case _ if not hosts:
            plan.rejected.append(Rejected(asked, "neither cdn.url nor cdn.hosts says which hosts the path is of"))
        case PurgeKind.PREFIX:
            _prefix(hosts, target.value, asked, scheme, plan, widen=widen)
        case PurgeKind.PATTERN if "*" not in target.value[:-1]:
            _prefix(hosts, target.value.rstrip("*"), asked, scheme, plan, widen=widen)
        case PurgeKind.PATTERN:
            near = nearest(target)
            if near is None or not widen:
                plan.rejected.append(Rejected(asked, _NO_STAR, near.written if near is not None else None))
            else:
                plan.widened(asked, near, _NO_STAR)
                _place(near, asked, known, scheme, plan, widen=widen)
        case _:
            _url(hosts, target, asked, scheme, plan, widen=widen)


def _tag(target: PurgeTarget, asked: PurgeTarget, plan: _Plan) -> None:
    form = FORMS["bunny"]
    tag = spelled(target.value, "bunny")
    if tag.startswith(MARK) and tag != target.value:
        plan.notes.append(f"{asked.written} is {tag} at Bunny, as it is too long there or has a character of its own")
    around = form.around.decode()
    # It takes the field's value for one tag, and stars for any characters (see docs/cdn.md).
    plan.add(TAG, f"*{around}{tag}{around}*", asked)


def _names(hosts: Iterable[str], asked: PurgeTarget, plan: _Plan, *, widen: bool) -> Iterable[str]:
    """The hosts as they stand in URLs; with a port there is none."""
    for host in hosts:
        name, colon, _ = host.rpartition(":")
        if not colon or host.endswith("]"):
            yield host
            continue
        near = PurgeTarget(asked.kind, name if asked.kind is PurgeKind.HOST else asked.value, name, asked.query)
        if asked.kind is PurgeKind.HOST:
            near = PurgeTarget(PurgeKind.HOST, name)
        if widen:
            plan.widened(asked, near, _NO_PORT)
            yield name
        else:
            plan.rejected.append(Rejected(asked, _NO_PORT, near.written))


def _prefix(hosts: Iterable[str], start: str, asked: PurgeTarget, scheme: str, plan: _Plan, *, widen: bool) -> None:
    for host in _names(hosts, asked, plan, widen=widen):
        plan.add(PREFIX, f"{scheme}://{host}{start}*", asked)


def _url(
    hosts: Iterable[str], target: PurgeTarget, asked: PurgeTarget, scheme: str, plan: _Plan, *, widen: bool
) -> None:
    for host in _names(hosts, asked, plan, widen=widen):
        url = f"{scheme}://{host}{target.value}"
        if target.query is not None:
            plan.add(EXACT, f"{url}?{target.query}", asked)
            continue
        plan.add(EXACT, url, asked)
        plan.add(PREFIX, f"{url}?*", asked)  # a zone that ignores queries has nothing there
