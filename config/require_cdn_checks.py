"""What has to come through a CDN: whether anything would tell that it did."""

from __future__ import annotations

import re

from config.auth import credential_fields, own_fields
from config.field_checks import own_field
from config.findings import Findings
from config.schema import Config

SHORTEST = 16
"""Characters of a secret: with fewer, who can ask often enough may find it."""
_SECRET = re.compile(r"[!-~]([ -~]*[!-~])?")


def check_require_cdn(config: Config, found: Findings) -> None:
    required = config.require_cdn
    if required is None:
        return
    path = ("require_cdn",)
    names = [one for one in config.trusted_proxies if isinstance(one, str)]
    lost = found.lost(("trusted_proxies",)) and not config.trusted_proxies
    if not names and required.secret is None and not lost and not found.unseen((*path, "secret")):
        message = "needs a CDN in `trusted_proxies`, such as cloudflare, or a `secret` that yours sends"
        if required.mode == "refuse":
            found.add(path, f"{message}: everybody would be refused")
        else:
            found.warn(path, f"{message}: without, every request looks as if it came past the CDN")
    if required.mode == "refuse" and set(names) == {"bunny"} and required.secret is None and not required.allow:
        message = (
            "refuses everybody until Bunny's networks have been fetched, as none of them are shipped: give a `secret`"
        )
        found.warn(path, f"{message}, or `allow` whoever has to come in meanwhile")
    if required.secret is None:
        return
    own_field(required.header, (*path, "header"), found)
    others = {name.lower() for name in (*credential_fields(config.auth), *own_fields(config.auth))}
    others |= {one.tls.client_subject.lower() for one in config.listeners.values() if one.tls is not None}
    if required.header.lower() in others:
        found.add(
            (*path, "header"), "must be a field of its own: another setting means something else by it", came=True
        )
    if not _SECRET.fullmatch(required.secret):
        found.add((*path, "secret"), "must be printable ASCII, without spaces around it: a field can carry no more")
    elif len(required.secret) < SHORTEST:
        message = f"must have at least {SHORTEST} characters: make one with `openssl rand -hex 32`"
        found.add((*path, "secret"), message)
