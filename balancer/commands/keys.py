"""`balancer key`: keys to the admin API, made and taken back in the running balancer, or made for its file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from balancer.commands.client import Client
from balancer.commands.console import Console, printable
from balancer.commands.document import Part
from balancer.commands.outcome import OK, REFUSED, UNREACHABLE, USAGE, Failure
from balancer.commands.table import Column, Span, rendered, table

if TYPE_CHECKING:
    from api.auth import Role

KEYS = ("api", "keys")
SAID_BY_NOBODY = ("the default", "admin.listen")
"""Beginnings of sources: what is not the word of whoever typed the command."""


class Wanted(NamedTuple):
    """A key as it was asked for."""

    role: Role
    id: str | None = None
    expires: str | None = None
    networks: Sequence[str] = ()

    @property
    def settings(self) -> Mapping[str, object]:
        """What was said, in the words of the API and of the file."""
        said = {"id": self.id, "role": self.role, "expires": self.expires, "networks": list(self.networks)}
        return {name: value for name, value in said.items() if value}


def create(console: Console, client: Client | None, wanted: Wanted, as_json: bool) -> int:
    """Make a key in the running balancer; without a `client`, or where none answers, for the file.

    Which of both has happened is said first, and seen by whether there is an entry. A balancer that was named and
    does not answer is a failure, and so is one that refuses.
    """
    _valid(wanted)
    if client is None:
        return _for_the_file(console, wanted, as_json, "No balancer was asked, so the key opens nothing yet.")
    try:
        found = client.post(*KEYS, body=wanted.settings)
    except Failure as failure:
        if failure.code == UNREACHABLE and client.admin.source.startswith(SAID_BY_NOBODY):
            return _for_the_file(console, wanted, as_json, f"The key opens nothing yet: {failure}.")
        if failure.code == REFUSED:
            advice = "To make a key for balancer.yaml without asking the balancer, add --offline"
            raise Failure(REFUSED, f"no key was made: {failure}\n{advice}") from None
        raise
    entry = found.part("entry")
    text = found.text("key") or ""
    if as_json:
        console.out(json.dumps({"key": text, "in_force": True, "entry": entry.fields}, indent=2))
        return OK
    id_ = entry.text("id")
    console.say(
        f"The key {id_} with the role {entry.text('role')} is in force at {client.where}.\n"
        "It is shown only now. Clients read it from ADMIN_API_KEY or --key-file:"
    )
    console.out(text)
    console.say(f"`balancer key revoke {id_}` takes it back.")
    return OK


def _valid(wanted: Wanted) -> None:
    """Refuse what no balancer would take, in the words of the options."""
    from datetime import UTC, date, datetime

    from config.addresses import network
    from config.expiry import over
    from config.problems import Unfit

    if wanted.expires is not None:
        try:
            date.fromisoformat(wanted.expires)
        except ValueError:
            raise Failure(USAGE, f"--expires must be a date such as 2027-01-31, not {wanted.expires!r}") from None
        if over(wanted.expires, datetime.now(UTC).date()):
            message = f"--expires must be today or a later day, not {wanted.expires}: the key would open nothing"
            raise Failure(USAGE, message)
    for given in wanted.networks:
        try:
            network(given)
        except Unfit as error:
            raise Failure(USAGE, f"--network {error}") from None
    if wanted.id is not None and len(wanted.id) > 50 and wanted.id.startswith("balancer_"):
        raise Failure(USAGE, "--id must be a name for the key, and not a key")
    if wanted.id is not None and not _is_id(wanted.id):
        raise Failure(USAGE, f"--id must be 1 to 64 letters, digits, - and _, such as deploy-1, not {wanted.id!r}")


def _is_id(text: str) -> bool:
    return 0 < len(text) <= 64 and text.isascii() and text.replace("-", "a").replace("_", "a").isalnum()


def _for_the_file(console: Console, wanted: Wanted, as_json: bool, why: str) -> int:
    """Print the key and the entry of `admin.keys` for it, on two lines or as JSON."""
    from api.auth import new_key
    from config.addresses import network, network_text

    text, made = new_key(wanted.role, wanted.id or "", wanted.expires, tuple(map(network, wanted.networks)))
    entry: dict[str, object] = {"id": made.id, "hash": made.hash, "role": made.role}
    if made.expires is not None:
        entry["expires"] = made.expires
    if made.networks:
        entry["networks"] = list(map(network_text, made.networks))
    if as_json:
        console.say(why)
        console.out(json.dumps({"key": text, "in_force": False, "entry": entry}, indent=2))
        return OK
    console.say(f"{why}\nIt is shown only now. Clients read it from ADMIN_API_KEY or --key-file:")
    console.out(text)
    console.say(
        "Its entry below admin.keys in balancer.yaml. It opens once the balancer has read that (`balancer reload`):"
    )
    quoted = {name: value if name == "role" else json.dumps(value) for name, value in entry.items()}
    console.out("- {" + ", ".join(f"{name}: {value}" for name, value in quoted.items()) + "}")
    return OK


COLUMNS = (
    Column("KEY"),
    Column("ROLE"),
    Column("FROM"),
    Column("EXPIRES"),
    Column("NETWORKS"),
    Column("LAST USED"),
)


def show(console: Console, client: Client, as_json: bool) -> int:
    """Every key that the running balancer knows."""
    found = client.get(*KEYS)
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    rows = [_row(key) for key in found.items("items")]
    width = console.size[0] if console.size else None
    for line in table(COLUMNS, rows, width):
        console.out(rendered(line, width, console.colours))
    return OK


def _row(key: Part) -> list[Span]:
    use = key.part("last_used")
    at = (use.text("at") or "")[:19].replace("T", " ")
    networks = key.fields.get("networks")
    expires = key.text("expires") or "-"
    return [
        Span(key.text("id") or ""),
        Span(key.text("role") or ""),
        Span(key.text("source") or ""),
        Span(f"{expires}, over", "red") if key.flag("expired") else Span(expires),
        Span(printable(" ".join(map(str, networks))) if isinstance(networks, list) and networks else "-"),
        Span(f"{at} UTC from {use.text('address')}" if at else "-"),
    ]


def revoke(console: Console, client: Client, id_: str, last: bool) -> int:
    """Take back a key that the API has made."""
    client.delete(*KEYS, id_, query="last=true" if last else "")
    console.say(f"The key {id_} opens nothing any more, at {client.where}.")
    return OK
