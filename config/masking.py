"""Which values are secret, and how they look where they must not be read."""

from __future__ import annotations

import re

from config.nodes import Items, Node, Table
from config.problems import Path, listed

MASK = "***"
_CDN = (
    ("api_key",),
    ("cloudflare", "access_key_id"),
    ("cloudflare", "secret_access_key"),
    ("bunny", "storage_password"),
    ("bunny", "token_key"),
    ("images", "secrets"),
)
"""Credentials below `cdn`."""
_NAMES = re.compile(r"auth|cookie|token|secret|key|passw|credential|signature|session|verify", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/?#\s]*@")
"""To the last @ of the authority: a password may have more of them."""
_DATABASE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?(?P<user>.*@)?(?P<place>[^?#]*)(?P<rest>.*)", re.DOTALL)
_PARAMETER = re.compile(rf"(?<=[?&])([^=&]*(?:{_NAMES.pattern})[^=&]*)=[^&]*", re.IGNORECASE)


def is_secret(path: Path) -> bool:
    """Whether the value at a path of the configuration may be a credential.

    Headers of health checks are there to carry them; other fields tell by their name.
    """
    if not path:
        return False
    *above, last = path
    if last == "hash" and "keys" in above:
        return True
    if path[0] == "cdn" and (path[1:2] in _CDN or path[1:3] in _CDN):
        return True
    if list(path) == ["analytics", "salt"] or (path[0] == "alerts" and last in ("url", "secret")):
        return True
    if above[-1:] == ["require_cdn"] and last == "secret":
        return True
    if above[:1] == ["auth"] and (last == "secret" or above[2:] == ["basic", "users"]):
        return True
    if "active" in above and "headers" in above:
        return True
    fields = isinstance(last, str) and bool(above) and above[-1] in ("headers", "set", "add")
    return fields and _NAMES.search(str(last)) is not None


def masked(path: Path, value: str) -> str:
    """The value as it may be shown: credentials gone, and user and password out of a URL."""
    if is_secret(path):
        if not value:  # the default of some, which is none
            return value
        return f"sha256:{MASK}" if path[-1] == "hash" else MASK
    if path[:1] == ("redis",) and path[-1] != "prefix":
        return _database(value)
    if path[:1] == ("databases",) and path[-1] == "url":
        return _database(value)
    if tuple(path) in (("analytics", "database", "url"), ("analytics", "store")):
        return _database(value)
    if "active" in path:
        value = _PARAMETER.sub(rf"\1={MASK}", value)
    return _USER.sub(f"{MASK}@", value)


def _database(url: str) -> str:
    """The URL of a database without what stands before its host, whatever that is, and without its query.

    redis-py takes user and password from the query as well.
    """
    found = _DATABASE.fullmatch(url)
    assert found is not None  # it fits any text
    user = f"{MASK}@" if found["user"] else ""
    rest = f"{found['rest'][0]}{MASK}" if found["rest"] else ""
    return f"{found['scheme'] or ''}{user}{found['place']}{rest}"


def came(node: Node, path: Path) -> str:
    """`, not 0`, unless what came is a secret."""
    if isinstance(node, Table):
        return ", not a mapping"
    if isinstance(node, Items):
        return ", not a list"
    if node.variables:
        return f", not what {listed(node.variables, 'and')} holds"
    if is_secret(path) or node.place.file in ("REDIS_URL", "DATABASE_URL", "ADMIN_API_KEY"):
        return ""
    if node.value is None:
        return ", not nothing" if not node.text else ", not null"
    shown = masked(path, node.text or str(node.value))
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f', not "{shown}"' if isinstance(node.value, str) else f", not {shown}"
