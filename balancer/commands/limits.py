"""`balancer limits`: what limits decide, and keys that are lifted or blocked for a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from balancer.commands import figures
from balancer.commands.client import Client
from balancer.commands.console import Console, counted, printable
from balancer.commands.document import Part
from balancer.commands.outcome import OK, USAGE, Failure
from balancer.commands.table import Column, Line, Span, rendered, table
from config.problems import Unfit, listed, nearest
from config.values import seconds

LONGEST = 30 * 86400
"""Seconds; as the API has it."""
LIMITS = ("api", "infrastructure", "rate-limits")
ORDERS = ("show", "lift", "block", "restore")
KEYS = (
    Column("policy"),
    Column("key"),
    Column("name"),
    Column("over", right=True),
    Column("order"),
    Column("until"),
)


def show(console: Console, client: Client, as_json: bool, policy: str | None = None) -> int:
    """All policies, or one."""
    found = client.get(*LIMITS)
    if policy is not None:
        policies = found.parts("policies")
        if policy not in policies:
            close = nearest(policy, (*policies, *ORDERS))
            there = f"there is {listed(list(policies), 'and')}" if policies else "there is none"
            hint = f"did you mean {close}?" if close else there
            raise Failure(USAGE, f"{policy!r} is neither a policy nor one of {', '.join(ORDERS)}; {hint}")
        found = Part({**found.fields, "policies": {policy: policies[policy].fields}})
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    size = console.size
    width = size[0] if size else None
    console.out("\n".join(rendered(line, width, console.colours) for line in page(found, width)))
    return OK


def rule(
    console: Console, client: Client, order: str, policy: str, key: Sequence[str], name: str | None, time: str
) -> int:
    """Lift a limit for a key, block the key, or let it be as all others again; `time` is such as 10m."""
    if bool(key) == (name is not None):
        raise Failure(
            USAGE, "expected either the key, such as 192.0.2.7, or --name with what `balancer limits` calls it"
        )
    try:
        lasting = seconds(time, written=True)
    except Unfit as error:
        raise Failure(USAGE, f"--for {error.expected}, not {time!r}") from None
    if not 0 < lasting <= LONGEST:
        raise Failure(
            USAGE, f"--for must be at most 30d, not {time!r}: what is to hold longer belongs in balancer.yaml"
        )
    body: dict[str, object] = {"policy": policy, "order": order, "seconds": lasting}
    body.update({"name": name} if name is not None else {"key": list(key)})
    client.post(*LIMITS, body=body)
    what = printable(name or " ".join(key))
    done = {"lift": f"{what} has no limit by {policy} for {time}", "block": f"{what} is blocked by {policy} for {time}"}
    console.say(done.get(order, f"{what} is limited by {policy} as all others"))
    return OK


def page(found: Part, width: int | None) -> Iterator[Line]:
    """All of it, line by line; `width` is the terminal's, None for as wide as it takes."""
    policies = found.parts("policies")
    if not policies:
        yield [Span("no limits: write `rate_limits` in balancer.yaml, and `rate_limit` on a route")]
        return
    for name, policy in policies.items():
        yield from _policy(name, policy)
    rows = [_key(name, key) for name, policy in policies.items() for key in policy.items("top")]
    if rows:
        yield []
        yield from table(KEYS, rows, width)


def _policy(name: str, policy: Part) -> Iterator[Line]:
    rate, burst = policy.text("rate"), policy.number("burst")
    limits = [f"{rate} with bursts of {burst:g}"] if rate and burst is not None else []
    if (most := policy.number("concurrency")) is not None:
        limits.append(f"{most:g} at a time")
    by = ", ".join(str(part) for part in _texts(policy, "key"))
    line = [Span(printable(name), "bold"), Span(f"   {' and '.join(limits)} by {by}")]
    if policy.flag("dry_run"):
        line.append(Span("   dry run", "yellow"))
    mode = policy.text("mode") or "local"
    if mode != "local":
        line.append(Span(f"   {mode}", "red" if mode == "fallback" else "green"))
        if reason := policy.text("reason"):
            line.append(Span(f" ({printable(reason)})"))
        line.append(_sharing(policy, mode))
    yield line
    counts = policy.part("decisions")
    told = [f"{word} {figures.count(counts.number(word))}" for word in counts.fields]
    told.append(f"{counted(policy.count('keys'), 'key')} remembered")
    routes = ", ".join(_texts(policy, "routes"))
    yield [Span(f"  {'   '.join(told)}   on {routes or 'no route'}")]


def _sharing(policy: Part, mode: str) -> Span:
    """With how many, or what is done while that can not be."""
    instances = figures.count(policy.number("instances"))
    if mode != "fallback":
        return Span(f"   shared by {instances}")
    down = policy.text("on_redis_down")
    if down == "deny":
        return Span("   refuses all", "red")
    return Span("   lets all pass" if down == "allow" else f"   1/{instances} of it here", "yellow")


def _texts(part: Part, name: str) -> list[str]:
    found = part.fields.get(name)
    return [str(item) for item in found] if isinstance(found, list) else []


def _key(policy: str, key: Part) -> list[Span]:
    order = key.text("order")
    until = figures.moment(key.text("until"))
    return [
        Span(policy),
        Span(key.text("key") or ""),
        Span(key.text("name") or ""),
        Span(figures.count(key.number("refused"))),
        Span(order or "", "red" if order == "block" else "yellow"),
        Span(f"{until:%H:%M:%S} UTC" if until is not None else ""),
    ]
