"""Calls to AWS, and to what speaks as S3 does, by aiobotocore, which is imported for the first of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from time import monotonic
from typing import Any, Final

import aiohttp

from balancer.cdn.aws.failures import Asked, Refusal, refused, short, unreached
from balancer.cdn.calls import OK, Calls
from balancer.cdn.errors import AuthError, CdnError, ConfigError, Invalid, ProtocolError
from balancer.cdn.lookups import Resolver
from balancer.cdn.throttle import Throttle

MISSING: Final = "S3 needs a package that is not installed: pip install 'balancer[aws]'"
NO_CREDENTIAL: Final = (
    "there is no credential: set cdn.api_key to KEYID:SECRET, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "a profile, or a role of this machine"
)
CONNECT: Final = 5.0
"""Seconds for a connection, at most."""
CONNECTIONS: Final = 16
"""To one service at once."""
Parsed = Mapping[str, Any]
"""As the library has parsed it, by AWS's own names."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A key of an account."""

    key_id: str
    secret: str = field(repr=False)

    def __repr__(self) -> str:
        return f"Credential(...{self.key_id[-4:]})"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Which service, and where it is."""

    service: str
    """AWS's word: s3, cloudfront, cloudwatch, sts."""
    region: str
    url: str = ""
    """Empty: by service and region."""
    attempts: int = 1
    """How often the library sends a call that failed in a way that may pass. More than one only where whoever calls
    could not do it again."""
    least_checksums: bool = False
    """Send and check checksums only where the operation demands them: R2 has not all of them."""


def credential_of(text: str) -> Credential | None:
    """KEYID:SECRET; None for an empty one. ConfigError: it is neither."""
    if not text:
        return None
    key_id, colon, secret = text.partition(":")
    if not (colon and key_id and secret and (key_id + secret).isprintable() and " " not in text):
        raise ConfigError("cdn.api_key must be KEYID:SECRET for aws, or empty for what boto finds by itself")
    return Credential(key_id, secret)


class Account:
    """One credential. Asks nobody for anything before the first call: neither for a credential nor for a region."""

    def __init__(
        self,
        provider: str,
        credential: Credential | None,
        timeout: float,
        *,
        calls: Calls | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """ConfigError: the library is not installed. `timeout` is for one call, without the bytes that it carries."""
        if find_spec("aiobotocore") is None:
            raise ConfigError(MISSING, provider=provider)
        self.provider = provider
        self.timeout = timeout
        self.calls = calls if calls is not None else Calls(provider)
        self.clock = clock
        self._credential = credential
        self._session: Any = None  # Any: the library has no types
        self._making = asyncio.Lock()
        self._clients: list[Any] = []
        self._closed = False

    async def client(self, endpoint: Endpoint) -> Any:
        """A client of the library, to be closed by `close`. Raises what the library does."""
        async with self._making:
            if self._closed:
                raise ConfigError("the configuration has changed meanwhile; ask again", provider=self.provider)
            if self._session is None:
                self._session = await asyncio.to_thread(_session)
            given = self._credential
            keys = {} if given is None else {"aws_access_key_id": given.key_id, "aws_secret_access_key": given.secret}
            client = await self._session.create_client(
                endpoint.service,
                region_name=endpoint.region,
                endpoint_url=endpoint.url or None,
                config=_config(endpoint, self.timeout),
                **keys,
            ).__aenter__()
            self._clients.append(client)
            return client

    async def close(self) -> None:
        self._closed = True
        async with self._making:
            while self._clients:
                await self._clients.pop().__aexit__(None, None, None)


class Service:
    """One service of an account."""

    def __init__(self, account: Account, endpoint: Endpoint) -> None:
        self.account = account
        self.endpoint = endpoint
        self.throttle = Throttle(account.provider, account.clock)
        self._client: Any = None
        self._making = asyncio.Lock()

    async def call(
        self,
        operation: str,
        arguments: Mapping[str, object],
        *,
        about: str = "",
        more: float = 0.0,
        begun: bool = False,
        of_purge: bool = False,
    ) -> Parsed:
        """One operation, by the library's name for it. `about` is for messages, `more` are seconds beyond the account's
        timeout. One that is part of what has `begun` is made whatever the service wants; one `of_purge` has had its
        turn. CdnError: refused, not reached, not to be understood, or not asked so soon; nothing else is raised."""
        account = self.account
        asked = Asked(account.provider, self.endpoint.service, operation, about)
        began = account.clock()
        result = "cancelled"
        try:
            if not (begun or of_purge):
                await self.throttle.turn()
            answer = await self._noted(asked, arguments, account.timeout + more, of_purge)
            result = OK
            return answer
        except CdnError as error:
            result = error.code
            raise
        finally:
            account.calls.ended(operation, result, account.clock() - began)

    async def _noted(self, asked: Asked, arguments: Mapping[str, object], seconds: float, of_purge: bool) -> Parsed:
        try:
            answer = await self._answered(asked, arguments, seconds)
        except CdnError as error:
            self.throttle.ended(error, of_purge=of_purge)
            raise
        self.throttle.ended(None)
        return answer

    async def _answered(self, asked: Asked, arguments: Mapping[str, object], seconds: float) -> Parsed:
        try:
            async with asyncio.timeout(seconds):
                answer: Parsed = await getattr(await self._made(), asked.operation)(**arguments)
                return answer
        except TimeoutError:
            raise unreached(asked, f"not within {seconds:g} s") from None
        except CdnError:
            raise
        except Exception as found:  # the library lets through whatever its parsers and the HTTP client below it raise
            raise failure(asked, found) from None

    async def _made(self) -> Any:
        async with self._making:
            if self._client is None:
                self._client = await self.account.client(self.endpoint)
            return self._client


def failure(asked: Asked, found: Exception) -> CdnError:
    """What the library raised, as an error of ours."""
    import botocore.exceptions as raised  # type: ignore[import-untyped]  # it has no types
    from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]  # it has no types

    if isinstance(found, raised.ClientError):
        return refused(asked, _refusal(found.response))
    if isinstance(found, raised.NoCredentialsError):
        return AuthError(NO_CREDENTIAL, provider=asked.provider)
    if isinstance(
        found,
        raised.PartialCredentialsError
        | raised.CredentialRetrievalError
        | raised.TokenRetrievalError
        | raised.ProfileNotFound
        | raised.RefreshWithMFAUnsupportedError
        | raised.SSOError,
    ):
        # Not its own words: a program that gives out credentials may have been quoted in them.
        return AuthError(f"boto finds no whole credential ({type(found).__name__})", provider=asked.provider)
    if isinstance(found, raised.ParamValidationError):
        return Invalid(f"{asked.service} {asked.operation} is not sent: {short(str(found))}", provider=asked.provider)
    if isinstance(found, ResponseParserError):
        return ProtocolError(
            f"{asked.service} {asked.operation} answered what can not be read: {short(str(found))}",
            provider=asked.provider,
        )
    if isinstance(
        found,
        raised.ConnectionError | raised.HTTPClientError | raised.IncompleteReadError | aiohttp.ClientError | OSError,
    ):
        return unreached(asked, str(found) or type(found).__name__)
    if isinstance(found, raised.BotoCoreError | ValueError):
        return ConfigError(f"{asked.service} {asked.operation} can not be sent: {short(str(found))}")
    return ProtocolError(
        f"{asked.service} {asked.operation} failed: {type(found).__name__}: {short(str(found))}",
        provider=asked.provider,
    )


def _refusal(response: Parsed) -> Refusal:
    error: Parsed = response.get("Error") or {}
    about: Parsed = response.get("ResponseMetadata") or {}
    headers: Mapping[str, str] = about.get("HTTPHeaders") or {}
    wait = headers.get("retry-after", "")
    return Refusal(
        str(error.get("Code") or about.get("HTTPStatusCode") or "nothing"),
        str(error.get("Message") or ""),
        about.get("HTTPStatusCode"),
        about.get("RequestId"),
        min(float(wait), 3600.0) if wait.isascii() and wait.isdigit() else None,
    )


def _session() -> Any:
    """In a thread: the import reads some hundred files."""
    from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # it has no types
    from aiobotocore.session import AioSession  # type: ignore[import-untyped]  # it has no types

    session = AioSession()
    # Of all clients, also of those by which the library gets a credential.
    session.set_default_client_config(AioConfig(connector_args={"resolver": Resolver()}))
    return session


def _config(endpoint: Endpoint, timeout: float) -> Any:
    from aiobotocore.config import AioConfig

    checksums = "when_required" if endpoint.least_checksums else "when_supported"
    return AioConfig(
        connect_timeout=min(CONNECT, timeout),
        read_timeout=timeout,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": endpoint.attempts},
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        user_agent_extra="balancer-cdn",
        warm_up_loader_caches=True,  # read the service's description in a thread: it has a megabyte
        # With an address of one's own, buckets are in the path; else as AWS wants it.
        s3={"addressing_style": "path"} if endpoint.url else {},
    )
