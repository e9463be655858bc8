"""Purge targets as Cloudflare's calls: files, prefixes, tags, hosts or everything, each of one kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from balancer.cdn.cloudflare.limits import FILES, OTHER, Plan, items
from balancer.cdn.purging.collapse import nearest
from balancer.cdn.types import PurgeBatch, PurgeKind, PurgePlan, PurgeTarget, Rejected
from balancer.http1.tag_fields import spelled

PREFIXES: Final = "prefixes"
TAGS: Final = "tags"
HOSTS: Final = "hosts"
EVERYTHING: Final = "purge_everything"
SEPARATORS: Final = 31
"""Slashes of a prefix."""

_NO_STAR: Final = "Cloudflare has no star but at the end of a path; tags are purged as they are"


@dataclass(frozen=True, slots=True)
class Site:
    """What the plan has to know of the account and the zone."""

    hosts: tuple[str, ...]
    """That the zone serves; purges by path are for all of them."""
    scheme: str = "https"
    plan: Plan = "free"
    batch: int = 30


@dataclass(slots=True)
class _Plan:
    """What is found while one target after the other is looked at."""

    items: dict[tuple[str, bool], dict[str, list[PurgeTarget]]] = field(default_factory=dict)
    """By kind, and whether of a host that is known: one that is not in the zone has the whole call refused."""
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, item: str, target: PurgeTarget, *, known: bool = True) -> None:
        found = self.items.setdefault((kind, known), {}).setdefault(item, [])
        if target not in found:
            found.append(target)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def plan_purge(targets: Sequence[PurgeTarget], site: Site, *, soft: bool = False, widen: bool = False) -> PurgePlan:
    """The calls; everything, where it is among the targets, makes the others needless."""
    if any(target.kind is PurgeKind.ALL for target in targets):
        whole = PurgeBatch(EVERYTHING, (EVERYTHING,), tuple(targets), soft=soft, limit=OTHER)
        return PurgePlan((whole,))
    plan = _Plan()
    for target in targets:
        _place(target, target, site, plan, widen=widen)
    batches = tuple(
        batch for (kind, _), found in plan.items.items() for batch in _batches(kind, found, site, soft=soft)
    )
    return PurgePlan(batches, tuple(plan.rejected), tuple(plan.notes))


def body(batch: PurgeBatch) -> Mapping[str, object]:
    """What is sent."""
    return {EVERYTHING: True} if batch.kind == EVERYTHING else {batch.kind: list(batch.items)}


def _place(target: PurgeTarget, asked: PurgeTarget, site: Site, plan: _Plan, *, widen: bool) -> None:
    """Put `target` among the items of its kind, on account of what was `asked`; or among the rejected."""
    hosts = (target.host,) if target.host is not None else site.hosts
    match target.kind:
        case PurgeKind.TAG:
            _tag(target, asked, plan)
        case PurgeKind.HOST:
            _hosts([target.value], asked, site, plan, widen=widen)
        case _ if not hosts:
            plan.rejected.append(Rejected(asked, "neither cdn.url nor cdn.hosts says which hosts the path is of"))
        case _ if target.value.startswith("/cdn-cgi/"):
            reason = "Cloudflare purges nothing below /cdn-cgi/; purge the picture, and all of its sizes go with it"
            plan.rejected.append(Rejected(asked, reason))
        case PurgeKind.PATTERN:
            _widened(target, asked, site, plan, _NO_STAR, widen=widen)
        case PurgeKind.PREFIX if target.value == "/":
            _hosts(hosts, asked, site, plan, widen=widen)
        case PurgeKind.PREFIX if "?" in target.value:
            _widened(target, asked, site, plan, "a prefix at Cloudflare has no query", widen=widen)
        case PurgeKind.PREFIX if any(f"{host}{target.value}".count("/") > SEPARATORS for host in hosts):
            reason = f"a prefix at Cloudflare has at most {SEPARATORS} slashes"
            _widened(target, asked, site, plan, reason, widen=widen)
        case PurgeKind.PREFIX:
            _prefix(target, asked, hosts, site, plan)
        case _:
            _url(target, asked, hosts, site, plan)


def _tag(target: PurgeTarget, asked: PurgeTarget, plan: _Plan) -> None:
    tag = spelled(target.value, "cloudflare")
    if tag != target.value:
        plan.note(f"{asked.written} is {tag} at Cloudflare: what is long or odd is hashed")
    same = next((known for known in plan.items.get((TAGS, True), ()) if known.lower() == tag.lower()), tag)
    plan.add(TAGS, same, asked)


def _hosts(hosts: Iterable[str], asked: PurgeTarget, site: Site, plan: _Plan, *, widen: bool) -> None:
    for host in hosts:
        name, colon, _ = host.partition(":")
        if colon:
            reason, near = "Cloudflare purges a host with all of its ports", PurgeTarget(PurgeKind.HOST, name)
            if not widen:
                plan.rejected.append(Rejected(asked, reason, near.written))
                continue
            plan.note(f"{asked.written} was widened to {near.written}: {reason}")
        plan.add(HOSTS, name, asked, known=host in site.hosts or name in site.hosts)


def _prefix(target: PurgeTarget, asked: PurgeTarget, hosts: Iterable[str], site: Site, plan: _Plan) -> None:
    for host in hosts:
        plan.add(PREFIXES, f"{host}{target.value}", asked, known=host in site.hosts)
    if not target.value.endswith("/"):
        plan.note(
            f"{asked.written}: whether Cloudflare takes {target.value} as the beginning of a name, or as a whole one, "
            "is not documented"
        )


def _url(target: PurgeTarget, asked: PurgeTarget, hosts: Iterable[str], site: Site, plan: _Plan) -> None:
    query = f"?{target.query}" if target.query is not None else ""
    for host in hosts:
        known = host in site.hosts
        plan.add(FILES, f"{site.scheme}://{host}{target.value}{query}", asked, known=known)
        # A prefix is all queries of a path, and all that is below it: of a folder that would be far too much.
        if target.query is None and not target.value.endswith("/"):
            if f"{host}{target.value}".count("/") <= SEPARATORS:
                plan.add(PREFIXES, f"{host}{target.value}", asked, known=known)
            else:
                plan.note(f"{asked.written}: without its queries, as a prefix has at most {SEPARATORS} slashes")
    if target.query is None and target.value.endswith("/"):
        further = f"; {asked.written}* is all of it" if target.value != "/" else ""
        plan.note(f"{asked.written}: without its queries, which Cloudflare purges only with all that is below{further}")


def _widened(target: PurgeTarget, asked: PurgeTarget, site: Site, plan: _Plan, reason: str, *, widen: bool) -> None:
    near = _nearest(target)
    if near is None or not widen:
        plan.rejected.append(Rejected(asked, reason, near.written if near is not None else None))
        return
    plan.note(f"{asked.written} was widened to {near.written}: {reason}")
    _place(near, asked, site, plan, widen=False)


def _nearest(target: PurgeTarget) -> PurgeTarget | None:
    """What has a form, and contains all of it; None: only everything does."""
    path, mark, _ = target.value.partition("?")
    if mark and "*" not in path and target.kind in (PurgeKind.PATTERN, PurgeKind.PREFIX):
        return PurgeTarget(PurgeKind.URL, path, target.host)  # what varies is the query
    near = nearest(target)
    if near is None:
        return None
    pieces = near.value.split("/")
    if len(pieces) > SEPARATORS:
        return replace(near, value="/".join(pieces[:SEPARATORS]) + "/")
    return near


def _batches(kind: str, found: Mapping[str, list[PurgeTarget]], site: Site, *, soft: bool) -> Iterable[PurgeBatch]:
    most = items(kind, site.plan, site.batch)
    spelled = list(found)
    for start in range(0, len(spelled), most):
        part = tuple(spelled[start : start + most])
        targets = tuple(dict.fromkeys(target for item in part for target in found[item]))
        is_files = kind == FILES
        cost = len(part) if is_files else 1
        yield PurgeBatch(kind, part, targets, cost, soft, FILES if is_files else OTHER)
