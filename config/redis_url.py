"""Where Redis is, as `redis.url` says it: one server, the sentinels that know it, or a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

Kind = Literal["server", "sentinel", "cluster"]

_SCHEMES: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("server", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
FORMS: Final = (
    "redis://127.0.0.1:6379/0, rediss://... with TLS, unix:///path, "
    "redis+sentinel://host:26379,host:26379/mymaster/0 or redis+cluster://host:6379,host:6379"
)
_MOST_NODES: Final = 64
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_MASTER: Final = re.compile(r"[A-Za-z0-9._-]+")
"""What sentinels take for a name."""
_CREDENTIALS: Final = ("username", "password", "sentinel_username", "sentinel_password")
_OF_TLS: Final = {
    "ssl_ca_certs": "ca",
    "ssl_cert_reqs": "verify",
    "ssl_check_hostname": "verify",
    "ssl_certfile": "certificate",
    "ssl_keyfile": "certificate",
}


class BadUrl(ValueError):
    """A URL that can not be used. The message repeats nothing of it: any part may be one of a password."""


class RedisPlace(NamedTuple):
    """Where a server is. With port 0 the host is the path of a Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What a URL says. Its credentials are in no text that is made of it."""

    kind: Kind
    nodes: tuple[RedisPlace, ...]
    """The server, the sentinels, or those of the cluster that are asked for the others."""
    tls: bool = False
    database: int = 0
    master: str = ""
    """What sentinels call the server."""
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, text: str) -> RedisUrl:
        """Raises `BadUrl`."""
        scheme, found, rest = text.partition("://")
        if not found or scheme.lower() not in _SCHEMES:
            raise BadUrl(f"must be a URL such as {FORMS}")
        if "#" in rest or not rest.isprintable() or " " in rest:
            raise BadUrl("must have # written as %23, and a space as %20")
        kind, tls = _SCHEMES[scheme.lower()]
        rest, _, query = rest.partition("?")
        given = _parameters(query, kind)
        authority, slash, path = rest.partition("/")
        user, _, hosts = authority.rpartition("@")
        name, colon, password = user.partition(":")
        username = unquote(name) or given.get("username")
        secret = unquote(password) if colon and password else given.get("password")
        master = ""
        if scheme.lower() == "unix":
            if hosts or not path:
                raise BadUrl("must be unix:// and an absolute path, such as unix:///run/redis.sock?db=0")
            nodes: tuple[RedisPlace, ...] = (RedisPlace(unquote(slash + path), 0),)
            path = ""
        else:
            nodes = tuple(_node(one, kind) for one in hosts.split(","))
        if kind == "sentinel":
            master, _, path = path.partition("/")
            master = unquote(master)
            if not _MASTER.fullmatch(master):
                raise BadUrl("must name the master that the sentinels know: redis+sentinel://host:26379/mymaster/0")
        if kind == "server" and len(nodes) > 1:
            raise BadUrl("has several hosts, which is for redis+sentinel://host,host/mymaster and redis+cluster://")
        if len(nodes) > _MOST_NODES:
            raise BadUrl(f"must have at most {_MOST_NODES} hosts: a few are enough to find the others")
        database = _database(given.get("db") or path)
        if kind == "cluster" and database:
            raise BadUrl("must have no database, or 0: a cluster has no other")
        return cls(
            kind,
            nodes,
            tls,
            database,
            master,
            username,
            secret,
            given.get("sentinel_username"),
            given.get("sentinel_password"),
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be in no message."""
        return tuple(secret for secret in (self.password, self.sentinel_password) if secret)


def is_secured(url: str) -> bool:
    """Whether TLS is spoken with the servers of this URL; False also if it can not be read."""
    return url.partition("://")[0].lower() in (scheme for scheme, (_, tls) in _SCHEMES.items() if tls)


def _parameters(query: str, kind: Kind) -> dict[str, str]:
    known = ("db", *_CREDENTIALS) if kind == "sentinel" else ("db", *_CREDENTIALS[:2])
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _OF_TLS:
            raise BadUrl(f"can not have {name}: write redis.tls.{_OF_TLS[name]}")
        if name not in known:
            raise BadUrl(f"has a parameter that is not known here: known are {', '.join(known)}")
        if value:
            given[name] = value
    return given


def _node(text: str, kind: Kind) -> RedisPlace:
    default = 26379 if kind == "sentinel" else 6379
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        try:
            IPv6Address(host)
        except ValueError:
            closed = ""
        if not closed or (port and not port.startswith(":")):
            raise BadUrl("must have an IPv6 address in brackets: redis://[::1]:6379/0")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
        if not _HOST.fullmatch(host):
            raise BadUrl("must have a host; what is not a letter or digit in a password is written as %40, %2F, %3A")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise BadUrl("must have a port from 1 to 65535; a / or ? in a password is written as %2F or %3F")
    return RedisPlace(host, int(port or default))


def _database(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise BadUrl(
            "must end with the number of a database: redis://127.0.0.1:6379/0; "
            "a / in a password is written as %2F, a ? as %3F, an @ as %40"
        )
    return int(text)
