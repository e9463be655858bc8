"""`balancer database`: how the databases are, what is wrong with them, and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from balancer.commands import figures
from balancer.commands.client import Client
from balancer.commands.console import Console, counted, printable
from balancer.commands.document import Part
from balancer.commands.outcome import ERROR, OK, USAGE, Failure
from balancer.commands.table import Column, Line, Span, rendered, table
from config.problems import listed, nearest

DATABASE: Final = ("api", "monitoring", "database")
TABLES: Final = (
    Column("table"),
    Column("size", right=True),
    Column("rows", right=True),
    Column("dead", right=True),
    Column("by index", right=True),
)
STATEMENTS: Final = (
    Column("statement"),
    Column("calls", right=True),
    Column("mean", right=True),
    Column("in all", right=True),
)
SHOWN: Final = 60
"""Characters of a statement."""


def database(console: Console, client: Client, as_json: bool, name: str | None, top: int, *, fresh: bool) -> int:
    """All of them in short, or one with its tables and statements; exit code 1 while something is wrong."""
    found = client.get(*DATABASE, query=f"fresh={str(fresh).lower()}&tables={top}&statements={top}")
    every = found.parts("databases")
    if name is not None:
        if name not in every:
            close = nearest(name, every)
            raise Failure(USAGE, f"there is no database {name!r}; " + _instead(close, list(every)))
        every = {name: every[name]}
    if as_json:
        console.out(json.dumps(found.fields if name is None else every[name].fields, indent=2))
    else:
        size = console.size
        width = size[0] if size else None
        lines = _page(every, figures.moment(found.text("at")), width, whole=name is not None)
        console.out("\n".join(rendered(line, width, console.colours) for line in lines))
    return ERROR if any(one.fields.get("ok") is False or one.items("problems") for one in every.values()) else OK


def _instead(close: str | None, names: list[str]) -> str:
    return f"did you mean {close}?" if close else f"there is {listed(names, 'and')}"


def _page(every: dict[str, Part], now: datetime | None, width: int | None, *, whole: bool) -> Iterator[Line]:
    for place, (name, one) in enumerate(every.items()):
        if place:
            yield []
        yield _heading(name, one, now)
        if one.text("kind") == "postgres":
            yield from _postgres(one)
        else:
            yield from _redis(one.part("details"))
        for problem in one.items("problems"):
            since = figures.age(figures.since(figures.moment(problem.text("since")), now))
            for_ = f" (for {since})" if since != figures.NONE else ""
            yield [Span("  ! ", "red"), Span(f"{problem.text('message')}{for_}")]
        if whole:
            yield from _tables(one, width)
            yield from _statements(one, width)
            for what, why in one.part("missing").fields.items():
                yield [Span(f"  not known: {printable(what)}: {printable(str(why))}", "dim")]


def _heading(name: str, one: Part, now: datetime | None) -> Line:
    ok = one.fields.get("ok")
    said, colour = ("-", "dim") if ok is None else ("up", "green") if ok else ("away", "red")
    what = " ".join(word for word in (_kind(one), one.text("role"), one.text("server")) if word)
    line = [Span(name, "bold"), Span("   "), Span(said, colour), Span(f"   {what}" if what else "")]
    if ok:
        line.append(Span(f"   {figures.latency(one.number('latency'))}"))
    elif reason := one.text("reason"):
        line.append(Span(f"   {reason}"))
    seen = figures.moment(one.text("seen"))
    if ok is False and seen is not None:
        line.append(Span(f"   as of {figures.age(figures.since(seen, now))} ago:", "dim"))
    return line


def _kind(one: Part) -> str:
    if one.text("kind") == "postgres":
        if one.text("server") is None:
            return ""
        return f"PostgreSQL {one.text('version') or ''}".rstrip()
    said = one.part("details")
    return f"Redis {said.text('version')}" if said.fields else ""


def _postgres(one: Part) -> Iterator[Line]:
    used, counts = one.part("connections"), one.part("database")
    if not counts.fields:
        return
    seen = one.text("visible") == "everything"
    states = ("active", "idle", "idle_in_transaction", "waiting_on_lock")
    doing = ", ".join(f"{used.count(state)} {state.replace('_', ' ')}" for state in states if used.count(state))
    told = f" ({doing})" if doing and seen else "" if seen else " (others can not be seen: GRANT pg_monitor)"
    yield [Span(f"  {used.count('used')} of {used.count('max')} connections{told}")]
    rates = counts.part("rates")
    commits = rates.number("commits_per_s")
    hits = counts.number("cache_hit_ratio_recent")
    yield [
        Span(f"  {figures.size(counts.number('size_bytes'))}"),
        Span(f"   {figures.rate(commits)} transactions/s" if commits is not None else ""),
        Span(f"   {figures.share(hits if hits is not None else counts.number('cache_hit_ratio'))} of blocks in memory"),
        Span(f"   {counted(counts.count('deadlocks'), 'deadlock')}" if counts.count("deadlocks") else ""),
    ]
    for blocked in one.part("locks").items("blocked"):
        by = " and ".join(_session(session) for session in blocked.items("blocked_by")) or "somebody"
        yield [
            Span("  lock ", "yellow"),
            Span(f"{_session(blocked.part('session'))} waits {figures.age(blocked.number('waiting_s'))} for {by}"),
        ]
    for session in one.items("sessions")[:3]:
        yield [Span(f"  open for {figures.age(session.number('transaction_s'))}: {_session(session)}")]
    for standby in one.items("replication"):
        name = standby.text("application") or standby.text("address") or "?"
        lag = f"{figures.latency(standby.number('lag_s'))}, {figures.size(standby.number('lag_bytes'))} behind"
        yield [Span(f"  standby {name}   {standby.text('state') or figures.NONE}   {lag}")]
    replay = one.part("replay")
    if replay.fields:
        how = "streams" if replay.flag("streaming") else "is not connected"
        yield [Span(f"  {how}   {figures.latency(replay.number('lag_s'))} behind")]


def _redis(said: Part) -> Iterator[Line]:
    if not said.fields:
        return
    most = said.number("max_memory")
    of = f" of {figures.size(most)}" if most else ""
    keys = sum(part.count("keys") for part in said.parts("keyspace").values())
    yield [
        Span(f"  {figures.size(said.number('used_memory'))}{of}   {figures.count(keys)} keys"),
        Span(f"   {figures.rate(said.number('operations_per_second'))} commands/s"),
        Span(f"   {figures.share(said.number('hit_ratio'))} hits   {counted(said.count('clients'), 'client')}"),
        Span(f"   {figures.count(said.number('evicted_keys'))} evicted" if said.count("evicted_keys") else ""),
    ]
    for replica in said.items("replicas"):
        lag = figures.size(replica.number("lag_bytes"))
        yield [Span(f"  replica {replica.text('address')}   {replica.text('state') or figures.NONE}   {lag} behind")]
    if (link := said.fields.get("link_up")) is not None:
        yield [Span(f"  a replica, which is {'connected' if link else 'not connected'}")]


def _session(session: Part) -> str:
    named = (session.text(name) for name in ("user", "application", "state"))
    return ", ".join([f"pid {session.count('pid')}", *(name for name in named if name)])


def _tables(one: Part, width: int | None) -> Iterator[Line]:
    rows = [
        [
            Span(part.text("name") or ""),
            Span(figures.size(part.number("total_bytes"))),
            Span(figures.count(part.number("live_rows"))),
            Span(figures.share(part.number("dead_ratio"))),
            Span(figures.share(part.number("index_scan_ratio"))),
        ]
        for part in one.part("tables").items("items")
    ]
    if rows:
        yield []
        yield from table(TABLES, rows, width)


def _statements(one: Part, width: int | None) -> Iterator[Line]:
    said = one.part("statements")
    rows = [
        [
            Span(_cut(part.text("query") or part.text("id") or "of somebody else")),
            Span(figures.count(part.number("calls"))),
            Span(figures.latency((part.number("mean_ms") or 0) / 1000)),
            Span(figures.latency((part.number("total_ms") or 0) / 1000)),
        ]
        for part in said.items("top")
    ]
    if rows:
        yield []
        yield from table(STATEMENTS, rows, width)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
