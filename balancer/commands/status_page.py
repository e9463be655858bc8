"""What `balancer status` shows, from what the admin API answers: totals, then a table for each pool."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from balancer.commands import figures
from balancer.commands.console import printable
from balancer.commands.document import Part
from balancer.commands.table import Column, Line, Span, table

STATES = {
    "up": "green",
    "checking": "yellow",
    "ejected": "red",
    "down": "red",
    "drained": "blue",
    "maintenance": "blue",
}
COLUMNS = (
    Column("server"),
    Column("state"),
    Column("weight", right=True),
    Column("flight", right=True),
    Column("req/s", right=True),
    Column("errors", right=True),
    Column("p50", right=True),
    Column("p99", right=True),
    Column("check"),
)
PANIC = "too few servers are well: traffic goes to all that were ever checked"


class Sample(NamedTuple):
    """One moment of a balancer."""

    status: Part
    metrics: Part
    """Rates and latencies; empty when there are none yet."""

    def per_second(self, pool: str, server: str) -> float | None:
        """Requests sent to a server in the last second."""
        return self.metrics.part("pools", pool, "servers", server, "requests").number("per_second")


def page(sample: Sample, where: str, width: int | None) -> Iterator[Line]:
    """All of it, line by line; `width` is the terminal's, None for as wide as it takes."""
    status = sample.status
    totals = status.part("totals")
    well = f"{totals.count('up')} of {totals.count('servers')} servers up"
    yield [
        Span("balancer", "bold"),
        Span(f" {where}   generation {status.count('generation')}   "),
        Span(well, "green" if totals.count("up") == totals.count("servers") else "red"),
    ]
    yield [Span("   ".join(_totals(sample)))]
    for notes in filter(None, (_trial(status), _unknown(status), _redis(sample.metrics), _limits(status))):
        for note in _wrapped(notes, width):
            yield [Span(note, "red")]
    for name, pool in status.parts("pools").items():
        yield []
        yield from _pool(sample, name, pool, width)


def line(sample: Sample) -> str:
    """The same in one line, for whoever keeps a log of it: of servers only those that are not up."""
    figures_ = "  ".join(_totals(sample))
    pools = []
    for name, pool in sample.status.parts("pools").items():
        servers = pool.parts("servers")
        away = [
            f"{server} {found.text('state')} ({found.text('reason')})"
            for server, found in servers.items()
            if found.text("state") != "up"
        ]
        panic = ["PANIC"] if pool.flag("panic") else []
        pools.append(", ".join([f"{name} {pool.count('up')}/{len(servers)} up", *panic, *away]))
    notes = [note for note in (_unknown(sample.status), _redis(sample.metrics), _limits(sample.status)) if note]
    return "  |  ".join([figures_, *notes, *pools])


def _trial(status: Part) -> str:
    """The change of the configuration that undoes itself unless it is confirmed; empty where there is none."""
    trial = status.part("provisional")
    if not trial.fields:
        return ""
    left = round(trial.number("seconds_left") or 0.0)
    what = f"revision {trial.count('revision')} of {trial.text('author')} is on trial for another {left} s"
    return f"{what}: `balancer config confirm` keeps it"


def _unknown(status: Part) -> str:
    """CDNs through which everything has to come, and nothing can; empty where there is none."""
    found = status.fields.get("unknown_cdns")
    names = ", ".join(printable(str(name)) for name in found) if isinstance(found, list) else ""
    return f"the networks of {names} are not known, and require_cdn refuses what comes from them" if names else ""


def _limits(status: Part) -> str:
    """What is wrong with limits that are shared; empty where nothing is."""
    limits = status.part("shared_limits")
    if limits.text("state") != "fallback":
        return ""
    age = figures.since(figures.moment(limits.text("since")), figures.moment(status.text("at")))
    lasting = f" for {figures.age(age)}" if age is not None else ""
    words = {"local": f"1/{limits.count('instances')} of it", "allow": "lets all pass", "deny": "REFUSES ALL"}
    alone = limits.part("alone")
    told = [f"{printable(name)} {words.get(alone.text(name) or '', '?')}" for name in alone.fields]
    reason = printable(limits.text("reason") or "Redis is away")
    return f"limits are not shared{lasting} ({reason}): {', '.join(told)}"


def _redis(metrics: Part) -> str:
    """What is wrong with Redis, while something uses it; empty where nothing is."""
    use = metrics.part("databases", "redis", "use")
    state = use.text("state")
    if state in (None, "up"):
        return ""
    away = [node for node in use.items("nodes") if node.text("state") != "up"]
    told = "; ".join(f"{node.text('name')}: {node.text('reason') or node.text('state')}" for node in away)
    return f"redis is {'used in part' if state == 'partial' else 'not used'}: {told or use.text('reason')}"


def _totals(sample: Sample) -> list[str]:
    totals, metrics = sample.status.part("totals"), sample.metrics
    latency = metrics.part("latency", "last_minute")
    return [
        f"{figures.rate(metrics.part('requests').number('per_second'))} req/s",
        f"p50 {figures.latency(latency.number('p50'))}",
        f"p99 {figures.latency(latency.number('p99'))}",
        f"in flight {figures.count(totals.number('in_flight'))}",
        f"connections {figures.count(totals.number('client_connections'))}",
        f"errors {figures.count(totals.number('errors'))}",
        *_hits(metrics.part("cache")),
    ]


def _hits(cache: Part) -> list[str]:
    """How much the cache spares the servers, where there is one."""
    return [f"cache {figures.share(cache.part('hit_ratio').number('five_minutes'))}"] if cache.fields else []


def _pool(sample: Sample, name: str, pool: Part, width: int | None) -> Iterator[Line]:
    servers = pool.parts("servers")
    waiting = f"   {pool.count('queue')} waiting" if pool.count("queue") else ""
    strategy = pool.text("strategy") or ""
    yield [Span(name, "bold"), Span(f"   {strategy}   {pool.count('up')} of {len(servers)} up{waiting}")]
    if pool.flag("panic"):
        for note in _wrapped(PANIC, width):
            yield [Span(f"  {note}", "red")]
    now = figures.moment(sample.status.text("at"))
    rows = [_row(sample, name, key, server, now) for key, server in servers.items()]
    headings, *lines = table(COLUMNS, rows, width)
    yield headings
    for server, shown in zip(servers.values(), lines, strict=True):
        yield shown
        for note in _wrapped("; ".join(_notes(server)), width):
            yield [Span(f"  {note}", "dim")]


def _row(sample: Sample, pool: str, name: str, server: Part, now: datetime | None) -> list[Span]:
    state = server.text("state") or "?"
    age = figures.since(figures.moment(server.text("since")), now)
    weight, latency = server.part("weight"), server.part("latency")
    last = server.part("checks", "last")
    checked = figures.age(figures.since(figures.moment(last.text("at")), now))
    errors = server.count("errors")
    return [
        Span(name),
        Span(f"{state} {figures.age(age)}" if age is not None else state, STATES.get(state)),
        Span(_weight(weight.number("set"), weight.number("effective"), server.flag("in_rotation"))),
        Span(figures.count(server.number("in_flight"))),
        Span(figures.rate(sample.per_second(pool, name))),
        Span(figures.count(errors), "red" if errors else None),
        Span(figures.latency(latency.number("p50"))),
        Span(figures.latency(latency.number("p99"))),
        Span(f"{'ok' if last.flag('ok') else 'bad'} {checked}" if last.fields else figures.NONE),
    ]


def _weight(set_: float | None, effective: float | None, in_rotation: bool) -> str:
    """The operator's; before it what it counts as now, where that is less for a time: `0.4/2`."""
    whole = figures.count(set_)
    if not in_rotation or effective is None or effective == set_:
        return whole
    return f"{effective:.1f}/{whole}"


def _wrapped(text: str, width: int | None) -> list[str]:
    """The text in lines that leave room for an indentation of two."""
    return textwrap.wrap(text, max(20, width - 2)) if width is not None else [text] if text else []


def _notes(server: Part) -> Iterator[str]:
    """What is worth a line of its own below the server."""
    if server.text("state") != "up":
        yield server.text("reason") or "no reason is known"
    if server.flag("backup"):
        yield "backup: it has traffic only when no other server may"
    if tunnels := server.count("tunnels"):
        yield (f"{tunnels} of its connections are tunnels" if tunnels > 1 else "one of its connections is a tunnel")
