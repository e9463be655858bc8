"""`balancer errors` and `balancer alerts`: what goes wrong, and who was told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from balancer.commands import figures
from balancer.commands.client import Client
from balancer.commands.console import Console
from balancer.commands.document import Part
from balancer.commands.outcome import ERROR, OK
from balancer.commands.table import Column, Line, Span, rendered, table

MONITORING: Final = ("api", "monitoring")
ERRORS: Final = (
    Column("what"),
    Column("status", right=True),
    Column("times", right=True),
    Column("last", right=True),
    Column("first", right=True),
    Column("route"),
    Column("server"),
    Column("id"),
)


def errors(console: Console, client: Client, as_json: bool) -> int:
    """Failed requests, equal ones together."""
    found = client.get(*MONITORING, "errors")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
    else:
        _print(console, _errors(found, console))
    return OK


def alerts(console: Console, client: Client, as_json: bool) -> int:
    """Every rule, and who was told; exit code 1 while one fires."""
    found = client.get(*MONITORING, "alerts")
    rules = found.parts("rules")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
    else:
        _print(console, _alerts(found))
    return ERROR if any(rule.text("state") == "firing" for rule in rules.values()) else OK


def _errors(found: Part, console: Console) -> Iterator[Line]:
    groups = found.items("groups")
    if not groups:
        yield [Span("nothing has gone wrong since the start", "green")]
        return
    now = figures.moment(found.text("at"))
    rows = []
    for group in groups:
        what, cause = group.text("outcome") or "", group.text("cause") or ""
        ages = [figures.age(figures.since(figures.moment(group.text(name)), now)) for name in ("last", "first")]
        rows.append(
            [
                Span(what if cause in ("", what) else f"{what}: {cause}", "red"),
                Span(str(group.count("status"))),
                Span(figures.count(group.number("count"))),
                *map(Span, ages),
                Span(group.text("route") or figures.NONE),
                Span(group.text("server") or figures.NONE),
                Span(group.text("id") or ""),
            ]
        )
    size = console.size
    yield from table(ERRORS, rows, size[0] if size else None)
    yield [
        Span("ages are of the last and the first; --json has a sample of each, with the decision that led to it", "dim")
    ]


def _alerts(found: Part) -> Iterator[Line]:
    if not found.flag("configured"):
        yield [Span("there are no alerts: write `alerts: {webhooks: {team: URL}}` in balancer.yaml (docs/alerts.md)")]
        return
    for name, rule in found.parts("rules").items():
        state = rule.text("state") or ""
        colour = {"ok": "green", "pending": "yellow", "firing": "red"}.get(state)
        silenced = rule.text("silenced_until")
        yield [
            Span(f"{state:8}", colour),
            Span(name),
            Span(f"   silenced until {silenced}" if silenced else "", "dim"),
        ]
        for alert in rule.items("alerts"):
            yield [Span(f"        {alert.text('text')}, since {alert.text('since')}")]
    for name, webhook in found.parts("webhooks").items():
        last = webhook.text("last_result")
        colour = "green" if last in ("sent", None) else "red"
        yield [Span(f"webhook {name}: "), Span(f"last message: {last}" if last else "nothing was sent yet", colour)]


def _print(console: Console, lines: Iterator[Line]) -> None:
    size = console.size
    width = size[0] if size else None
    console.out("\n".join(rendered(line, width, console.colours) for line in lines))
