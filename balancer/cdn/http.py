"""One call to a provider: one request, a deadline, and an answer that is small enough, or a CdnError."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from time import monotonic
from typing import Final
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from yarl import URL

from balancer.cdn.answer import Answer, by_status
from balancer.cdn.calls import OK, Calls
from balancer.cdn.errors import CdnError, ConfigError, ProtocolError, Unavailable
from balancer.cdn.lookups import Resolver
from balancer.cdn.redaction import Redaction
from balancer.cdn.throttle import Throttle

Body = bytes | AsyncIterator[bytes] | aiohttp.FormData

LARGEST: Final = 2 * 1024 * 1024
"""Bytes of an answer."""
CONNECT: Final = 5.0
"""Seconds for a connection, at most."""
_DEFAULTS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked."""

    operation: str
    """A word for metrics and messages: purge, verify."""
    method: str
    path: str
    """Below the base, percent-encoded already."""
    params: Mapping[str, str] | None = None
    """Of the query, as they are meant."""
    json: object = None
    body: Body | None = None
    """In the place of `json`. An iterator may take any time as a whole; each of its pieces has to be taken within the
    timeout. Time that the iterator itself needs is not counted, and what it raises is raised by the call."""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    """Seconds; None: the caller's."""
    largest: int = LARGEST
    """Bytes of the answer."""
    of_purge: bool = False
    """It has had its turn in the queue of purges."""

    @property
    def target(self) -> str:
        query = "?" + urlencode(self.params, quote_via=quote, safe="") if self.params else ""
        return self.path + query

    @property
    def fields(self) -> dict[str, str]:
        kind = {"Content-Type": "application/json"} if self.json is not None else {}
        return kind | dict(self.headers)


Judge = Callable[[Answer], CdnError | None]
"""What a provider makes of an answer: an error of its own words, or None to leave it to its status."""


class Caller:
    """Calls one interface of one provider with one credential.

    A redirect is never followed and is an error: the credential would go elsewhere. Nothing is tried again here, but
    that the library sends a GET, PUT or DELETE anew when a connection that had been kept turns out to be closed.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        provider: str,
        base: str,
        headers: Mapping[str, str],
        timeout: float,
        secrets: Sequence[str],
        *,
        judge: Judge = lambda answer: None,
        calls: Calls | None = None,
        clock: Callable[[], float] = monotonic,
        throttle: Throttle | None = None,
    ) -> None:
        """`session` is one of `open_session`; `throttle` that of the host, else it has one of its own. ConfigError:
        `base` would send the credential in the clear, or a header can not be sent."""
        self.calls = calls if calls is not None else Calls(provider)
        self._session = session
        self._provider = provider
        self._base = _checked_base(base)
        self._headers = {name: _checked_header(name, value) for name, value in headers.items()}
        self._timeout = timeout
        self._redacted = Redaction(secrets)
        self._judge = judge
        self._clock = clock
        self.throttle = throttle if throttle is not None else Throttle(provider, clock)

    async def make(self, call: Call) -> Answer:
        """A good answer to it. CdnError: there was none, or it was not asked at all, so that the provider is not asked
        too often."""
        began = self._clock()
        result = "cancelled"
        try:
            answer = await self._asked(call)
            error = self._judge(answer) or by_status(answer)
            self.throttle.ended(error, of_purge=call.of_purge)
            if error is not None:
                raise error
            result = OK
            return answer
        except CdnError as error:
            result = error.code
            raise
        finally:
            self.calls.ended(call.operation, result, self._clock() - began)

    async def _asked(self, call: Call) -> Answer:
        if self._session.closed:
            raise Unavailable("the configuration has changed meanwhile; ask again", provider=self._provider)
        if not call.of_purge:
            await self.throttle.turn()
        seconds = call.timeout if call.timeout is not None else self._timeout
        paced: _Paced | None = None
        try:
            async with asyncio.timeout(seconds) as deadline:
                data: object = call.body if call.json is None else orjson.dumps(call.json)
                if isinstance(call.body, AsyncIterator):
                    data = paced = _Paced(call.body, deadline, seconds)
                async with self._session.request(
                    call.method,
                    URL(self._base + call.target, encoded=True),
                    data=data,
                    headers=_DEFAULTS | self._headers | call.fields,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT, seconds)),
                ) as response:
                    content = await _bounded(response, call.largest)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            if paced is not None and paced.failure is not None:
                raise paced.failure from None
            failure = self._unanswered(call.operation, error, seconds)
            self.throttle.ended(failure)
            raise failure from None
        first: dict[str, str] = {}
        for name, value in response.headers.items():
            first.setdefault(name.lower(), value)
        answer = Answer(self._provider, call.operation, response.status, first, content or b"", self._redacted)
        if content is None:
            raise answer.fault(ProtocolError, f"more than {call.largest} bytes, which are not read")
        if (left := answer.allowance) is not None:
            self.throttle.left(left.left, left.reset_s)
        return answer

    def _unanswered(self, operation: str, error: Exception, seconds: float) -> CdnError:
        if isinstance(error, TimeoutError):
            reason = f"no answer within {seconds:g} s"
        else:
            # aiohttp's own sentence speaks of TLS also where there is none.
            said = error.os_error.strerror if isinstance(error, aiohttp.ClientConnectorError) else None
            reason = self._redacted(said or str(error), 300) or type(error).__name__
        place = URL(self._base).host
        return Unavailable(
            f"{self._provider} at {place} could not be asked for {operation}: {reason}", provider=self._provider
        )


class _Paced:
    """A body in pieces that moves a deadline along: only the time in which nobody takes the next piece counts."""

    def __init__(self, pieces: AsyncIterator[bytes], deadline: asyncio.Timeout, seconds: float) -> None:
        self.failure: Exception | None = None
        self._pieces = pieces
        self._deadline = deadline
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._move(None)
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            raise
        except Exception as failure:  # whoever reads the pieces would wrap it
            self.failure = failure
            raise
        finally:
            self._move(self._loop.time() + self._seconds)

    def _move(self, when: float | None) -> None:
        try:
            self._deadline.reschedule(when)
        except RuntimeError:  # it has passed, or the call has ended
            pass


def open_session(limit: int = 32) -> aiohttp.ClientSession:
    """A session for calls to providers: nothing from the environment (proxies, .netrc), no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, resolver=Resolver()),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "balancer-cdn"},
        trust_env=False,
    )


async def _bounded(response: aiohttp.ClientResponse, largest: int) -> bytes | None:
    """The body; None: it is larger."""
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > largest:
            return None
    return bytes(content)


def _checked_base(base: str) -> str:
    url = URL(base)
    if url.user is not None or url.query_string or url.fragment or not url.host:
        raise ConfigError(f"cdn.endpoints: {url.host or base!r} must be a URL of scheme, host and path")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.host)):
        raise ConfigError(
            f"cdn.endpoints: {url.scheme}://{url.host} would get the credential in the clear: "
            "only https, or http to this machine"
        )
    return base.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_header(name: str, value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(
            f"the credential for {name} holds characters that no key has: a line break, a space too many?"
        )
    return value.strip()
