"""`balancer drain`, `ready` and `maintenance`: the operator's word on one server."""

from __future__ import annotations

from typing import Literal

from balancer.commands.client import PATIENCE, Client
from balancer.commands.console import Console, counted
from balancer.commands.document import Part
from balancer.commands.outcome import OK, TIMED_OUT, USAGE, Failure

Action = Literal["drain", "ready", "maintenance"]
POOLS = ("api", "infrastructure", "load-balancer", "pools")


def change(console: Console, client: Client, action: Action, where: str, wait: str | None = None) -> int:
    """Tell the balancer. With `wait`, a duration such as 30s, return once nothing is left on the server."""
    pool, slash, server = where.partition("/")
    if not (pool and slash and server):
        raise Failure(
            USAGE,
            f"expected POOL/SERVER, such as default/10.0.0.11:8000, not {where!r}; "
            "`balancer status` lists the servers of each pool",
        )
    seconds = _seconds(wait) if wait is not None else 0.0
    found = client.post(
        *POOLS,
        pool,
        "servers",
        server,
        action,
        query=f"wait={wait}" if wait is not None else "",
        patience=PATIENCE + seconds,
    )
    left = found.count("in_flight") + found.count("tunnels")
    if wait is not None and left:
        raise Failure(
            TIMED_OUT,
            f"{where} still has {_left(found)} after {wait}; it stays drained, and takes nothing new",
        )
    console.say(f"{where} {_told(action, found)}")
    return OK


def _told(action: Action, found: Part) -> str:
    if action == "ready":
        state = found.text("state") or "ready"
        reason = found.text("reason")
        return "is up" if state == "up" else f"is ready; now it is {state}" + (f": {reason}" if reason else "")
    word = "is drained" if action == "drain" else "is in maintenance"
    if found.count("in_flight") + found.count("tunnels") == 0:
        return f"{word}; nothing is left on it"
    return f"{word}: it takes nothing new and finishes {_left(found)}"


def _left(found: Part) -> str:
    kinds = (("in_flight", "request"), ("tunnels", "tunnel"))
    return " and ".join(counted(found.count(name), noun) for name, noun in kinds if found.count(name))


def _seconds(text: str) -> float:
    from config.problems import Unfit
    from config.values import seconds

    try:
        return seconds(text)
    except Unfit as error:
        raise Failure(USAGE, f"--wait {error}") from None
