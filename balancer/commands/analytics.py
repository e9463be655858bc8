"""`balancer analytics`: reports, rules that the traffic suggests, and how it goes with what is gathered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlencode

from balancer.commands import figures
from balancer.commands.client import Client
from balancer.commands.console import Console, printable
from balancer.commands.document import Part
from balancer.commands.outcome import ERROR, OK, USAGE, Failure
from balancer.commands.table import Column, Line, Span, rendered, table

ANALYTICS: Final = ("api", "monitoring", "analytics")
NAMES: Final = (
    "user-growth",
    "post-activity",
    "community-growth",
    "engagement",
    "moderation",
    "reports",
    "communities",
    "users",
    "events",
)
SUMMARY: Final = (
    Column("figure"),
    Column("value", right=True),
    Column("before", right=True),
    Column("change", right=True),
    Column("unit"),
)
MOST: Final = 12
"""Columns of a series that are shown; --json has all."""


def report(console: Console, client: Client, name: str, asked: Sequence[tuple[str, str | None]], as_json: bool) -> int:
    """One report; `asked` are parameters of the API."""
    if name not in NAMES:
        from config.problems import meant

        raise Failure(USAGE, f"there is no report {printable(name)!r}; {meant(name, NAMES)}")
    query = urlencode([(key, value) for key, value in asked if value is not None])
    found = client.get(*ANALYTICS, name, query=query)
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
    else:
        _print(console, _report(found, console))
    return OK


def status(console: Console, client: Client, as_json: bool) -> int:
    """How it goes; exit code 1 while the store does not take events."""
    found = client.get(*ANALYTICS, "status")
    stored = found.part("stored")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
    else:
        _print(console, _status(found))
    return ERROR if stored.fields and not stored.flag("ok") else OK


def suggest(console: Console, client: Client, as_json: bool) -> int:
    """Rules for traffic that no rule is about, as YAML."""
    found = client.get(*ANALYTICS, "suggestions")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    rules = found.items("suggestions")
    if not rules:
        console.say("nothing to suggest yet: no successful POST, PUT or DELETE that no rule is about was seen thrice")
        return OK
    console.out("# For below `analytics.events` in balancer.yaml: what the traffic suggests; look at each.")
    for rule in rules:
        console.out(f"# {printable(rule.text('why') or '')}")
        for line in str(rule.fields.get("rule", "")).splitlines():
            console.out(printable(line))
    return OK


def forget(console: Console, client: Client, user: str) -> int:
    """Forget what a user did."""
    rows = client.remove(*ANALYTICS, "users", user).count("rows")
    console.say(f"forgotten: {rows} rows said something of this user; sums of everybody stay, and name nobody")
    return OK


def _report(found: Part, console: Console) -> Iterator[Line]:
    span = f"{(found.text('from') or '')[:10]} to {(found.text('to') or '')[:10]}"
    source = {"sql": "the app's database", "events": "the traffic", "mixed": "database and traffic"}
    yield [
        Span(found.text("name") or "", "bold"),
        Span(f"   {span} ({found.text('timezone')})   from {source.get(found.text('source') or '', 'nowhere')}"),
    ]
    size = console.size
    width = size[0] if size else None
    rows = [
        [Span(name), *(Span(_cell(one.fields.get(key))) for key in ("value", "previous")), *_change(one)]
        for name, one in found.parts("summary").items()
    ]
    if rows:
        yield from table(SUMMARY, rows, width)
    series = [part.fields for part in found.items("series")]
    if series:
        names = list(series[0])[:MOST]
        yield [Span("")]
        yield from table(
            [Column(name, right=name != "start") for name in names],
            [[Span(_cell(row.get(name))) for name in names] for row in series],
            width,
        )
    for name, part in found.parts("metrics").items():
        yield [Span(f"not known: {name}: {part.text('reason')}", "dim")]
    warnings = found.fields.get("warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        yield [Span(printable(str(warning)), "yellow")]


def _change(one: Part) -> Iterator[Span]:
    change = one.number("change")
    colour = None if change is None else "green" if change >= 0 else "red"
    yield Span(f"{change:+.0%}" if change is not None else figures.NONE, colour)
    yield Span(one.text("unit") or "")


def _status(found: Part) -> Iterator[Line]:
    if not found.flag("configured"):
        yield [Span("analytics are not configured: write `analytics` in balancer.yaml (docs/analytics.md)")]
        return
    stored, queue = found.part("stored"), found.part("queue")
    ok = stored.flag("ok")
    if stored.fields:
        yield [
            Span("store ", "bold"),
            Span("ok" if ok else "not ok", "green" if ok else "red"),
            Span(f"   {figures.count(stored.number('events'))} events   {figures.size(stored.number('bytes'))}"),
            Span(f"   {stored.text('reason')}" if stored.text("reason") else ""),
        ]
        if stored.text("unclean"):
            yield [Span(f"events of the second after {stored.text('unclean')} may be missing: it was killed", "yellow")]
    if queue.fields:
        yield [
            Span(
                f"events {figures.count(queue.number('counted'))} counted, {queue.count('waiting')} waiting, "
                f"{queue.count('dropped') + queue.count('lost')} lost"
            )
        ]
    excluded = found.part("excluded").fields
    if excluded:
        left = ", ".join(f"{count} {printable(str(why))}" for why, count in excluded.items())
        share = found.number("bot_share")
        yield [Span(f"left out {left}" + (f"   bots are {figures.share(share)}" if share is not None else ""))]


def _cell(value: object) -> str:
    if value is None:
        return figures.NONE
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return printable(", ".join(f"{name} {count}" for name, count in value.items())) or figures.NONE
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return printable(text.replace("T", " ").removesuffix(":00Z") if text[4:5] == "-" and "T" in text else text)


def _print(console: Console, lines: Iterator[Line]) -> None:
    size = console.size
    width = size[0] if size else None
    console.out("\n".join(rendered(line, width, console.colours) for line in lines))
