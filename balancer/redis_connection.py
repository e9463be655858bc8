"""Connections to Redis as redis-py makes them, and what their failures are called."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from balancer.server_tls import BadTls, build, explain
from config.redis_url import BadUrl, RedisPlace, RedisUrl
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


class Unreached(ConnectionError):
    """There was no way to a server; `word` is what it is counted as."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word


class _Secured(Connection):
    """With a context of our own making, which is the same for all that connects to servers."""

    def __init__(self, context: ssl.SSLContext, server_name: str, **others: Any) -> None:  # Any: redis-py's own
        super().__init__(**others)
        self._context = context
        self._server_name = server_name

    def _connection_arguments(self) -> Mapping[str, object]:
        return {"host": self.host, "port": self.port, "ssl": self._context, "server_hostname": self._server_name}


class Reach:
    """How connections to the servers of `redis.url` begin.

    Files of TLS are read once: whoever changes them makes another one.
    """

    def __init__(self, settings: Redis, context: ssl.SSLContext | None = None) -> None:
        """`context`: what TLS is spoken with, if it is at hand."""
        self._settings = settings
        self.context = context
        self.url: RedisUrl | None = None
        """None: there is none, or it can not be read."""
        try:
            self.url = RedisUrl.of(settings.url) if settings.url else None
        except BadUrl:
            pass

    async def open(
        self, place: RedisPlace | None, patience: float, *, sentinel: bool = False, lasting: bool = True
    ) -> AbstractConnection:
        """Open a connection, each step within `patience` seconds; reads on one that is lasting have no time limit then.

        `place` is None for the server that the URL names. Raises `Unreadable`, `Unreached`, and anything that redis-py
        makes of what a server says.
        """
        url = self.url
        if url is None:
            raise Unreadable  # not repeated: what could not be read may be part of a password
        connection = await self._made(url, place or url.nodes[0], patience, sentinel)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
        except BaseException as error:
            await disconnect(connection)
            if url.tls and isinstance(error, RedisError) and isinstance(error.__context__, ssl.SSLError):
                raise Unreached("tls", f"TLS: {explain(error.__context__)}") from None
            raise
        if lasting:
            connection.socket_timeout = None
        return connection

    async def _made(self, url: RedisUrl, place: RedisPlace, patience: float, sentinel: bool) -> AbstractConnection:
        others: dict[str, Any] = {
            "username": url.sentinel_username if sentinel else url.username,
            "password": url.sentinel_password if sentinel else url.password,
            "db": 0 if sentinel else url.database,
            "protocol": 3,
            "client_name": "balancer",
            "socket_connect_timeout": patience,
            "socket_timeout": patience,
            "retry": Retry(NoBackoff(), 0),
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        if not place.port:
            return UnixDomainSocketConnection(path=place.host, **others)
        if not url.tls:
            return Connection(host=place.host, port=place.port, **others)
        if self.context is None:
            try:
                self.context = await asyncio.to_thread(build, self._settings.tls, ())
            except BadTls as error:
                raise Unreached("tls", f"redis.tls.{error.key}: {error}") from None
        name = self._settings.tls.server_name or place.host
        return _Secured(self.context, name, host=place.host, port=place.port, **others)

    def reason(self, error: Exception) -> str:
        """What went wrong, in a line without credentials."""
        return reason(error, self._settings.url)


async def disconnect(connection: AbstractConnection) -> None:
    """Be rid of it at once, with what it was not sent yet.

    A transport that is only closed waits until that is taken, and whoever writes waits with it: for good, where a
    server reads no more. redis-py has no other way to its transport.
    """
    writer = connection._writer
    if writer is not None:
        writer.transport.abort()
    try:
        await connection.disconnect(nowait=True)
    except (RedisError, OSError):  # it is gone, which is what was wanted
        pass


async def asked(connection: AbstractConnection, patience: float, *command: str) -> object:
    """The answer to a command on a connection that nobody else uses. Raises what redis-py does, and TimeoutError."""
    try:
        async with asyncio.timeout(patience):
            await connection.send_command(*command, check_health=False)
            answer: object = await connection.read_response(disable_decoding=True)
    except TimeoutError:
        raise TimeoutError(f"no answer within {patience:g} s") from None
    return answer


def packed(command: tuple[Part, ...]) -> bytes:
    """A command as it is sent."""
    parts = [b"*%d\r\n" % len(command)]
    for part in command:
        data = part if isinstance(part, bytes) else str(part).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


_NOT_CONNECTED: Final = re.compile(r"Error -?[0-9]+ connecting to (?P<where>.+?)\. (?P<what>.+?)\.?")
"""What redis-py says of a connection that could not be made; of asyncio's own loop it has no better word."""


def reason(error: Exception, url: str) -> str:
    """One line without credentials: servers that do not know a command repeat what it came with."""
    text = " ".join(str(error).split())
    refused = _NOT_CONNECTED.fullmatch(text)
    if refused is not None:
        what = "connection refused" if refused["what"].startswith("Connect call failed") else refused["what"].lower()
        return without_secrets(f"{what} at {refused['where']}", url)[:200]
    return without_secrets(text if isinstance(error, Unreached) else f"{type(error).__name__}: {text}", url)[:200]


def without_secrets(text: str, url: str) -> str:
    """The text with whatever stands for credentials in the URL left out, also if the URL can not be read."""
    rest, _, query = url.partition("://")[2].partition("?")
    given = parse_qs(query)
    password = rest.rpartition("@")[0].partition(":")[2]
    for secret in (password, unquote(password), *given.get("password", ()), *given.get("sentinel_password", ())):
        if secret:
            text = text.replace(secret, "***")
    return text


def word(error: Exception, otherwise: str) -> str:
    """The kind of an error that a server has answered with, or what it is counted as."""
    if isinstance(error, Unreached):
        return error.word
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]  # redis-py takes off those it knows
    return code if code in KINDS else otherwise


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task that may be inside of redis-py 8.1, which now and then swallows a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
