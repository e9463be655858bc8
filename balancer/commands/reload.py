"""`balancer reload`: the running balancer reads its configuration anew."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from balancer.commands.client import Client, fault
from balancer.commands.console import Console, counted, printable
from balancer.commands.document import Part
from balancer.commands.outcome import OK

_MEMBER = re.compile(r'(?:listeners|pools|routes)(?:\.[\w-]+|\["[^"]*"\])')
PATIENCE = 60.0
"""Seconds: certificates may have to be read, ports opened, and every worker has to say that it is done."""


_ALWAYS = ("address", "strategy", "match.path")
"""What every listener, pool and route has: where that comes or goes, the whole does, and most of it are defaults."""


def changed(change: Part) -> str:
    """One value that differs, on a line."""
    path, before, after = (change.text(name) for name in ("path", "before", "after"))
    text = f"{path}: {'nothing' if before is None else before} -> {'nothing' if after is None else after}"
    return f"{text} (without effect)" if change.flag("stale") else text


def told(changes: Sequence[Part]) -> Iterator[str]:
    """A line for each value that differs; one for a route, pool or listener that comes or goes as a whole."""
    whole: dict[str, list[Part]] = {}
    for change in changes:
        whole.setdefault(_member(change), []).append(change)
    for name, parts in whole.items():
        marks = [f"{name}.{always}" for always in _ALWAYS]
        for side, word in (("before", "is new"), ("after", "is gone")):
            all_of_it = any(part.text("path") in marks for part in parts)
            if name and all_of_it and all(part.text(side) is None for part in parts):
                yield f"{name}: {word}, with {counted(len(parts), 'value')}"
                break
        else:
            yield from map(changed, parts)


def _member(change: Part) -> str:
    """The route, pool or listener that a value is of; empty for others."""
    found = _MEMBER.match(change.text("path") or "")
    return found[0] if found is not None and not change.flag("stale") else ""


def reload(console: Console, client: Client) -> int:
    """Nothing has changed when this ends in a Failure."""
    found = client.post("api", "config", "reload", patience=PATIENCE)
    changes = found.items("changes")
    console.say(f"reloaded: {counted(len(changes), 'change')}, generation {found.count('generation')}")
    for line in told(changes):
        console.say(f"  {line}")
    for warning in found.items("warnings"):
        console.say(f"  warning: {fault(warning)}")
    waiting = found.fields.get("restart_required")
    if isinstance(waiting, list) and waiting:
        names = ", ".join(printable(str(name)) for name in waiting)
        console.say(f"these take effect only when the balancer is started again: {names}")
    return OK
