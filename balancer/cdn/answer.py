"""What a provider answered: its body, what it says about when to ask again, and what its status means by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import orjson
from http_sf import parse
from pydantic import TypeAdapter, ValidationError

from balancer.cdn.errors import (
    AuthError,
    CdnError,
    Invalid,
    MissingRight,
    NotFound,
    ProtocolError,
    RateLimited,
    TooLarge,
    Unavailable,
)
from balancer.cdn.redaction import KEPT, Redaction

Value = TypeVar("Value")
Error = TypeVar("Error", bound=CdnError)

LONGEST_WAIT: Final = 3600.0
"""Seconds that a provider may ask us to stay away; more is taken for this."""
_REQUEST_IDS: Final = ("cf-ray", "cdn-requestid", "x-request-id")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a provider says of its own limit, in Ratelimit."""

    left: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, whole."""

    provider: str
    operation: str
    status: int
    headers: Mapping[str, str]
    """Of several fields with one name, the first; names in any case."""
    body: bytes
    redacted: Redaction

    @property
    def request_id(self) -> str | None:
        """What the provider's support asks for."""
        found = next((self.headers[name] for name in _REQUEST_IDS if name in self.headers), None)
        return self.redacted(found, 128) if found is not None else None

    @property
    def retry_after_s(self) -> float | None:
        return retry_after(self.headers.get("retry-after"), self.headers.get("date"))

    @property
    def allowance(self) -> Allowance | None:
        return allowance(self.headers.get("ratelimit"))

    def text(self, most: int = 200) -> str:
        """The body as a sentence of ours may quote it."""
        return self.redacted(self.body.decode("utf-8", "replace"), most)

    def json(self) -> object:
        """The body as JSON. ProtocolError: it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise self._unread("no JSON") from None

    def into(self, shape: TypeAdapter[Value]) -> Value:
        """The body as JSON of a shape. ProtocolError: it is none, or of another shape."""
        return self.fit(self.json(), shape)

    def fit(self, part: object, shape: TypeAdapter[Value], where: str = "") -> Value:
        """A part of it, which is at `where`, in its shape."""
        try:
            return shape.validate_python(part)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(str(piece) for piece in ((where,) if where else ()) + first["loc"]) or "the whole"
            raise self._unread(f"{place} is not as expected: {first['msg']}") from None

    def fault(
        self, kind: type[Error], reason: str, *, code: str | None = None, retry_after_s: float | None = None
    ) -> Error:
        """An error that says who answered what to what."""
        return kind(
            f"{self.provider} answered {self.status} to {self.operation}: {reason}",
            provider=self.provider,
            status=self.status,
            provider_code=code,
            request_id=self.request_id,
            retry_after_s=retry_after_s if retry_after_s is not None else self.retry_after_s,
        )

    def _unread(self, what: str) -> CdnError:
        error = self.fault(ProtocolError, f"{what}: {self.text()!r}")
        error.kept = self.text(KEPT)
        return error


def by_status(answer: Answer) -> CdnError | None:
    """What a status says by itself."""
    status = answer.status
    if 200 <= status < 300:
        return None
    kinds: dict[int, type[CdnError]] = {
        401: AuthError,
        403: MissingRight,
        404: NotFound,
        408: Unavailable,
        413: TooLarge,
        429: RateLimited,
    }
    if 300 <= status < 400:
        return answer.fault(ProtocolError, "a redirect, which is not followed: the credential would go elsewhere")
    kind = kinds.get(status, Unavailable if status >= 500 else Invalid)
    return answer.fault(kind, answer.text() or "without a word")


def retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds of a Retry-After field (RFC 9110 section 10.2.3), counted from the answer's own Date where it has one;
    None: none that can be read."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT)
    until = _moment(value)
    if until is None:
        return None
    since = (_moment(date) if date is not None else None) or datetime.now(UTC)
    return min(max((until - since).total_seconds(), 0.0), LONGEST_WAIT)


def allowance(value: str | None) -> Allowance | None:
    """What a Ratelimit field says of the tightest of its limits: "default";r=50;t=30."""
    if value is None:
        return None
    try:
        limits = parse(value.encode(), tltype="list")
    except (ValueError, KeyError, IndexError, OverflowError):
        return None
    found: list[Allowance] = []
    for limit in limits if isinstance(limits, list) else ():
        parameters = limit[1] if isinstance(limit, tuple) else None
        if isinstance(parameters, dict):
            left, reset = parameters.get("r"), parameters.get("t", 0)
            if isinstance(left, int) and isinstance(reset, int) and left >= 0 and reset >= 0:
                found.append(Allowance(left, min(float(reset), LONGEST_WAIT)))
    return min(found, key=lambda one: one.left, default=None)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
