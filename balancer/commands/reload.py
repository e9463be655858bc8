"""`balancer reload`: the running balancer reads its configuration anew."""

from __future__ import annotations

from balancer.commands.client import Client, fault
from balancer.commands.console import Console, counted, printable
from balancer.commands.document import Part
from balancer.commands.outcome import OK

PATIENCE = 60.0
"""Seconds: certificates may have to be read, ports opened, and every worker has to say that it is done."""


def changed(change: Part) -> str:
    """One value that differs, on a line."""
    path, before, after = (change.text(name) for name in ("path", "before", "after"))
    text = f"{path}: {'nothing' if before is None else before} -> {'nothing' if after is None else after}"
    return f"{text} (without effect)" if change.flag("stale") else text


def reload(console: Console, client: Client) -> int:
    """Nothing has changed when this ends in a Failure."""
    found = client.post("api", "config", "reload", patience=PATIENCE)
    changes = found.items("changes")
    console.say(f"reloaded: {counted(len(changes), 'change')}, generation {found.count('generation')}")
    for change in changes:
        console.say(f"  {changed(change)}")
    for warning in found.items("warnings"):
        console.say(f"  warning: {fault(warning)}")
    waiting = found.fields.get("restart_required")
    if isinstance(waiting, list) and waiting:
        names = ", ".join(printable(str(name)) for name in waiting)
        console.say(f"these take effect only when the balancer is started again: {names}")
    return OK
