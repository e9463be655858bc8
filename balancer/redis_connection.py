"""A connection to Redis as redis-py makes it, and what its failures are called."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from config.schema import Redis

Part = bytes | str | int

UNUSABLE: Final = frozenset(("LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "WRONGPASS"))
"""Answers of a server that will not do anything now, whatever it is asked."""
KINDS: Final = UNUSABLE | {
    "OOM", "READONLY", "MOVED", "ASK", "NOSCRIPT", "NOPERM", "WRONGTYPE", "BUSY", "CROSSSLOT", "TRYAGAIN", "MISCONF",
    "NOREPLICAS",
}  # fmt: skip
"""Errors that are counted by name; what else a server says is counted as ERR, so that it can not make names up."""
ANSWERS: Final = (KINDS | {"ERR"}) - UNUSABLE
"""Errors that prove that the server works."""

UNREADABLE: Final = "redis.url is not of the form redis://[user:password@]host[:port][/database]"


class Unreadable(ValueError):
    """The URL in the settings can not be used."""


async def connected(settings: Redis, patience: float) -> AbstractConnection:
    """Open a connection, each step within `patience` seconds; reads on it have no time limit then.

    Raises `Unreadable`, and anything that redis-py makes of what a server says.
    """
    try:
        pool: ConnectionPool = ConnectionPool.from_url(
            settings.url,
            protocol=3,
            client_name="balancer",
            socket_connect_timeout=patience,
            socket_timeout=patience,
            retry=Retry(NoBackoff(), 0),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's
    except (TypeError, ValueError, RedisError):
        raise Unreadable from None  # not repeated: what could not be read may be part of a password
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
    except BaseException:
        await disconnect(connection)
        raise
    connection.socket_timeout = None
    return connection


async def disconnect(connection: AbstractConnection) -> None:
    try:
        await connection.disconnect(nowait=True)
    except (RedisError, OSError):  # it is gone, which is what was wanted
        pass


def packed(command: tuple[Part, ...]) -> bytes:
    """A command as it is sent."""
    parts = [b"*%d\r\n" % len(command)]
    for part in command:
        data = part if isinstance(part, bytes) else str(part).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def reason(error: Exception, url: str) -> str:
    """One line without credentials: servers that do not know a command repeat what it came with."""
    return without_secrets(f"{type(error).__name__}: {' '.join(str(error).split())}", url)[:200]


def without_secrets(text: str, url: str) -> str:
    """The text with whatever stands for credentials in the URL left out."""
    parts = urlsplit(url)
    given = parse_qs(parts.query)
    for secret in (parts.password, unquote(parts.password or ""), *given.get("password", ())):
        if secret:
            text = text.replace(secret, "***")
    return text


def word(error: Exception, otherwise: str) -> str:
    """The kind of an error that a server has answered with, or what it is counted as."""
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]  # redis-py takes off those it knows
    return code if code in KINDS else otherwise


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task that may be inside of redis-py 8.1, which now and then swallows a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
