"""`balancer key create`: a key to the admin API, of which the configuration keeps only the hash."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from balancer.commands.console import Console
from balancer.commands.outcome import OK, USAGE, Failure

if TYPE_CHECKING:
    from api.auth import Role


def create(console: Console, role: Role, id_: str | None, as_json: bool) -> int:
    """Print the key and the entry of `admin.keys` for it, on two lines or as JSON."""
    from pydantic import ValidationError

    from api.auth import known_key, new_key

    text, made = new_key(role)
    if id_ is not None:
        try:
            made = known_key(text, id_, role)
        except ValidationError:
            raise Failure(
                USAGE, f"--id must be 1 to 64 letters, digits, - and _, such as deploy-1, not {id_!r}"
            ) from None
    entry = {"id": made.id, "hash": made.hash, "role": made.role}
    if as_json:
        console.out(json.dumps({"key": text, "entry": entry}, indent=2))
        return OK
    console.say("The key, which is shown only now. Clients read it from ADMIN_API_KEY or --key-file:")
    console.out(text)
    console.say("Its entry below admin.keys in balancer.yaml, for the balancer:")
    console.out(f'- {{id: "{made.id}", hash: "{made.hash}", role: {made.role}}}')
    return OK
