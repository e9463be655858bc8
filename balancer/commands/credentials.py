"""`balancer hash-password` and `balancer api-key`: what a configuration keeps of passwords and of clients' keys."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from getpass import getpass
from typing import TextIO

from balancer.commands.console import Console
from balancer.commands.outcome import OK, USAGE, Failure


def hash_password(console: Console, source: TextIO | None = None, ask: Callable[[str], str] = getpass) -> int:
    """Print the hash of a password: asked for twice on a terminal, else the first line of stdin."""
    import os

    from balancer.guards.passwords import LONGEST, SALT, hashed

    source = source or sys.stdin
    if source.isatty():
        password = ask("Password: ")
        if ask("Once more: ") != password:
            raise Failure(USAGE, "the two passwords differ: nothing was made")
    else:
        password = source.readline().removesuffix("\n").removesuffix("\r")
    given = password.encode("utf-8", "surrogateescape")
    if not given or len(given) > LONGEST:
        raise Failure(USAGE, f"a password must have 1 to {LONGEST} bytes, not {len(given)}")
    if any(byte < 0x20 or byte == 0x7F for byte in given):
        raise Failure(USAGE, "a password must have no control characters: no browser sends them")
    console.out(str(hashed(given, os.urandom(SALT))))
    return OK


def api_key(console: Console, name: str, expires: str | None, networks: Sequence[str], as_json: bool) -> int:
    """Print a key for a client of a site, and its entry below `auth`."""
    from datetime import UTC, date, datetime
    from hashlib import sha256
    from secrets import token_urlsafe

    from config.addresses import network, network_text
    from config.expiry import over
    from config.patterns import NAME
    from config.problems import Unfit

    if not NAME.fullmatch(name):
        raise Failure(USAGE, f"NAME must be at most 128 letters, digits and . _ - : characters, not {name!r}")
    entry: dict[str, object] = {}
    text = f"{name}_{token_urlsafe(32)}"
    entry["hash"] = "sha256:" + sha256(text.encode("ascii")).hexdigest()
    if expires is not None:
        try:
            entry["expires"] = date.fromisoformat(expires).isoformat()
        except ValueError:
            raise Failure(USAGE, f"--expires must be a date such as 2027-01-31, not {expires!r}") from None
        if over(expires, datetime.now(UTC).date()):
            raise Failure(USAGE, f"--expires must be today or a later day, not {expires}: the key would open nothing")
    try:
        if networks:
            entry["networks"] = [network_text(network(given)) for given in networks]
    except Unfit as error:
        raise Failure(USAGE, f"--network {error}") from None
    if as_json:
        console.out(json.dumps({"key": text, "name": name, "entry": entry}, indent=2))
        return OK
    console.say("The key, which is shown only now. Its client sends it in X-API-Key, if auth says nothing else:")
    console.out(text)
    console.say("Its entry below auth.NAME.api_keys.keys in balancer.yaml, for the balancer:")
    console.out(f"{json.dumps(name)}: {json.dumps(entry)}")
    return OK
