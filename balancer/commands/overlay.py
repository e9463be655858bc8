"""`balancer overlay clear`: what the API has changed over the file is taken back."""

from __future__ import annotations

from urllib.parse import quote

from balancer.commands.client import CHANGE_PATIENCE, Client
from balancer.commands.console import Console, counted, printable
from balancer.commands.document import Part
from balancer.commands.outcome import OK
from balancer.commands.reload import told
from config.problems import path_text


def clear(console: Console, client: Client, pool: str | None, dry_run: bool) -> int:
    """Let the file alone hold, of one pool or everywhere; states of servers, such as drained, go with the rest."""
    tag = "" if dry_run else client.tagged("api", "config")[1]  # before what is told: nothing else is to be taken back
    found = [one for one in client.get("api", "config", "diff").items("running") if _is_in(one, pool)]
    if not dry_run:
        query = "" if pool is None else f"pool={quote(pool, safe='')}"
        client.delete("api", "config", "overlay", query=query, patience=CHANGE_PATIENCE, tag=tag)
    where = "" if pool is None else f" in pool {printable(pool)}"
    if not found:
        console.say(f"nothing to take back: the API has changed nothing over the file{where}")
        return OK
    what = f"{counted(len(found), 'change')} of the API{where}"
    console.say(f"this would take back {what}:" if dry_run else f"taken back: {what}; the file holds again")
    for line in told([_back(one) for one in found]):
        console.say(f"  {line}")
    return OK


def _is_in(change: Part, pool: str | None) -> bool:
    if pool is None:
        return True
    path, above = change.text("path") or "", path_text(("pools", pool))
    return path == above or path.startswith((f"{above}.", f"{above}["))


def _back(change: Part) -> Part:
    return Part({**change.fields, "before": change.text("after"), "after": change.text("before")})
