"""Where a PostgreSQL is, as a URL says it in the words of libpq, whichever library it was written for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

FORM: Final = "postgresql://user:password@host:5432/name?sslmode=require"
_SCHEME: Final = re.compile(r"postgres(ql)?(\+[a-z0-9_]+)?", re.IGNORECASE)
"""With the library after a +, as SQLAlchemy wants it."""
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(%[\w.-]+)?")
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_OF_TLS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation")
_OF_PLACE: Final = ("host", "port", "user", "username", "password", "dbname", "database")
_MOST_HOSTS: Final = 16


class BadPostgresUrl(ValueError):
    """A URL that can not be used. The message repeats nothing of it: any part may be one of a password."""


class PostgresPlace(NamedTuple):
    """Where a server may be. A host that begins with a slash is the folder of its Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """What a URL says. Its credentials are in no text that is made of it."""

    places: tuple[PostgresPlace, ...]
    """Tried in their order."""
    database: str
    user: str
    password: str | None = field(default=None, repr=False)
    tls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """`sslmode`, `sslrootcert` and others, by the names of libpq."""
    target_session_attrs: str = "any"

    @classmethod
    def of(cls, text: str) -> PostgresUrl:
        """Raises `BadPostgresUrl`. What other libraries have in theirs beside (schema, pool_size) is passed over."""
        scheme, found, rest = text.partition("://")
        if not found or not _SCHEME.fullmatch(scheme):
            raise BadPostgresUrl(f"must be a URL such as {FORM}")
        if "#" in rest or not rest.isprintable() or " " in rest:
            raise BadPostgresUrl("must have # written as %23, and a space as %20")
        rest, _, query = rest.partition("?")
        given = {
            name: value for name, value in parse_qsl(query) if name in (*_OF_PLACE, *_OF_TLS, "target_session_attrs")
        }
        authority, _, path = rest.partition("/")
        credentials, _, hosts = authority.rpartition("@")
        name, _, password = credentials.partition(":")
        user = unquote(name) or given.get("user") or given.get("username") or ""
        if not user:
            raise BadPostgresUrl(f"must say as whom: {FORM}")
        database = unquote(path) or given.get("dbname") or given.get("database") or user
        if "/" in database:
            raise BadPostgresUrl(
                "must end with the name of a database; a / in a password is written as %2F, a ? as %3F"
            )
        mode = given.get("sslmode", "prefer")
        if mode not in _MODES:
            raise BadPostgresUrl(f"must have one of {', '.join(_MODES)} as sslmode")
        if mode.startswith("verify") and "sslrootcert" not in given:
            raise BadPostgresUrl(f"must say whom to believe for sslmode={mode}: &sslrootcert=/path/of/authorities.pem")
        return cls(
            _places(hosts, given),
            database,
            user,
            unquote(password) or given.get("password") or None,
            MappingProxyType({key: given[key] for key in _OF_TLS if key in given}),
            given.get("target_session_attrs", "any"),
        )

    def __str__(self) -> str:
        """Servers and database, without credentials."""
        return f"{','.join(map(str, self.places))}/{self.database}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be in no message."""
        return tuple(secret for secret in (self.password, self.tls.get("sslpassword")) if secret)


def is_postgres(url: str) -> bool:
    """Whether a URL is meant for PostgreSQL, whatever is wrong with the rest of it."""
    return _SCHEME.fullmatch(url.partition("://")[0]) is not None


def _places(hosts: str, given: Mapping[str, str]) -> tuple[PostgresPlace, ...]:
    ports = given.get("port", "").split(",")
    named = (hosts or given.get("host") or "localhost").split(",")
    if len(named) > _MOST_HOSTS:
        raise BadPostgresUrl(f"must have at most {_MOST_HOSTS} hosts")
    return tuple(_place(one, ports[min(number, len(ports) - 1)]) for number, one in enumerate(named))


def _place(text: str, otherwise: str) -> PostgresPlace:
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise BadPostgresUrl("must have an IPv6 address in brackets: postgresql://user@[::1]:5432/name")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
    host = unquote(host)
    port = port or otherwise or "5432"
    if not host.startswith("/") and not _HOST.fullmatch(host):
        raise BadPostgresUrl(
            "must have a host; what is not a letter or digit in a password is written as %40, %2F, %3A"
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise BadPostgresUrl("must have a port from 1 to 65535; a / or ? in a password is written as %2F or %3F")
    return PostgresPlace(host, int(port))
