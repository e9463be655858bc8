"""What is wrong with `databases`. No message repeats any of a URL."""

from __future__ import annotations

from typing import Final

from config.findings import Findings
from config.patterns import NAME
from config.postgres_url import FORM, BadPostgresUrl, PostgresUrl, is_postgres
from config.problems import Path
from config.redis_url import BadUrl, RedisUrl
from config.schema import Config, Database, ServerTls

MOST: Final = 32
"""Each has a connection, and a line in every scrape for each of its figures."""
PICKED_UP: Final = "DATABASE_URL"
OWN: Final = "redis"
"""What the balancer's own Redis is called where databases are told of."""


def check_databases(config: Config, found: Findings) -> None:
    for name in found.written("databases"):
        if name == OWN:
            found.add(("databases", name), "must have another name: it is that of the one in `redis`")
        elif not NAME.fullmatch(name):
            found.add(("databases", name), "must have a name of at most 128 letters, digits and . _ - : characters")
    if len(config.databases) > MOST:
        found.add(("databases",), f"must be at most {MOST}: another balancer can look at the others")
    for name, database in config.databases.items():
        _check(database, ("databases", name), found)


def _check(database: Database, path: Path, found: Findings) -> None:
    secured = False
    try:
        kind = kind_of(database.url)
        if kind == "postgres":
            PostgresUrl.of(database.url)
        elif kind == "redis":
            secured = RedisUrl.of(database.url).tls
        elif kind is None:
            if found.place((*path, "url")).file == PICKED_UP:
                # It is there for the app, which may use what it likes.
                found.warn((*path, "url"), "is of no kind that is looked at, which are PostgreSQL and Redis")
            else:
                found.add((*path, "url"), f"must be a URL such as {FORM}, or redis://127.0.0.1:6379/0")
    except (BadPostgresUrl, BadUrl) as error:
        found.add((*path, "url"), str(error))
        return
    if database.tls != ServerTls() and not secured:
        found.warn(
            (*path, "tls"), "has no effect: it is for rediss://; PostgreSQL has sslmode and sslrootcert in its URL"
        )
    elif secured and not database.tls.verify:
        found.warn((*path, "tls", "verify"), "is false: whoever answers is believed to be the server")


_REDIS: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


def kind_of(url: str) -> str | None:
    """postgres, redis, "" for an empty one, or None for one of no kind that is known."""
    if not url:
        return ""
    if is_postgres(url):
        return "postgres"
    return "redis" if url.partition("://")[0].lower() in _REDIS else None
