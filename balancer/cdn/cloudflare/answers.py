"""What Cloudflare's answers mean: an envelope with its own word on success, which no status replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from balancer.cdn.answer import Answer
from balancer.cdn.errors import (
    AuthError,
    CdnError,
    Invalid,
    MissingRight,
    NotFound,
    ProtocolError,
    RateLimited,
    Unavailable,
)

Value = TypeVar("Value")

AGAIN: Final = 2.0
"""Seconds after which a call that was not authorised is worth one more try: good tokens are told so at times."""
DEPLETED: Final = 300.0
"""Seconds that a spent budget of calls or queries takes to come back."""

RIGHTS: Final[Mapping[str, str]] = {
    "purge": "Zone > Cache Purge > Purge",
    "zone": "Zone > Zone > Read",
    "stats": "Zone > Analytics > Read",
    "limits": "Zone > Analytics > Read",
    "upload": "Account > Cloudflare Images > Edit",
    "delete": "Account > Cloudflare Images > Edit",
    "look": "Account > Cloudflare Images > Read",
    "usage": "Account > Cloudflare Images > Read",
}
"""By operation: what the token has to have."""

_PURGES_TOO_OFTEN: Final = 1134
_NOT_ALONE: Final = 1092
_BAD_HEADERS: Final = frozenset((6003, 6103, 6111))
_NO_TOKEN: Final = frozenset((1000, 9109))
_NO_ROUTE: Final = frozenset((7000, 7003))


class Reason(BaseModel):
    """What is behind an error."""

    code: int | str = 0
    message: str = ""

    @property
    def number(self) -> int:
        text = str(self.code)
        return int(text) if text.isdecimal() and len(text) < 10 else 0


class Complaint(Reason):
    """One of the errors of an envelope."""

    error_chain: tuple[Reason, ...] = ()

    @property
    def codes(self) -> frozenset[int]:
        return frozenset((self.number, *(one.number for one in self.error_chain)))


class Envelope(BaseModel):
    """What every answer of the REST interface is in."""

    success: bool
    errors: tuple[Complaint, ...] | None = ()
    result: object = None


class Purged(BaseModel):
    """That a purge was accepted: no more is ever said of it."""

    id: str


class Token(BaseModel):
    """What the credential is."""

    status: Literal["active", "disabled", "expired"]
    expires_on: str | None = None


class ZonePlan(BaseModel):
    legacy_id: str | None = None
    name: str | None = None


class Zone(BaseModel):
    """The zone's own condition."""

    id: str
    name: str
    status: str | None = None
    """active, pending, initializing or moved; it is not in all answers."""
    paused: bool = False
    development_mode: float = 0
    """Seconds that the cache is still bypassed."""
    plan: ZonePlan = Field(default_factory=ZonePlan)


class StoredImage(BaseModel):
    """A picture that Cloudflare Images has."""

    id: str
    variants: tuple[str, ...] = ()


ENVELOPE: Final = TypeAdapter(Envelope)


def inside(answer: Answer, shape: TypeAdapter[Value]) -> Value:
    """What is in the envelope. ProtocolError: it is of another shape."""
    return answer.fit(answer.into(ENVELOPE).result, shape, "result")


def judge(answer: Answer) -> CdnError | None:
    """An error in Cloudflare's own words; None: it is well, or its status has to say."""
    good = 200 <= answer.status < 300
    try:
        envelope = answer.into(ENVELOPE)
    except ProtocolError as error:
        return error if good else None
    if envelope.success and good:
        return None
    complaints = envelope.errors or ()
    codes = frozenset[int]().union(*(one.codes for one in complaints))
    first = str(complaints[0].code) if complaints else None
    reason = answer.redacted(told(complaints), 600)
    if answer.status == 429 or _PURGES_TOO_OFTEN in codes:
        return answer.fault(RateLimited, reason, code=first)
    if answer.status >= 500:
        return answer.fault(Unavailable, reason, code=first)
    if codes & _BAD_HEADERS:
        advice = (
            "the credential is not of the kind it was sent as. cdn.api_key is an API token without "
            "cdn.cloudflare.email, and the Global API Key with it"
        )
        return answer.fault(AuthError, f"{reason}; {advice}", code=first)
    if answer.status == 401:
        advice = "check cdn.api_key"
        return answer.fault(AuthError, f"{reason}; {advice}", code=first, retry_after_s=AGAIN)
    if answer.status == 403:
        return _forbidden(answer, reason, codes, first)
    if answer.status == 404 or codes & _NO_ROUTE:
        advice = "check cdn.cloudflare.zone_id and account_id"
        return answer.fault(NotFound, f"{reason}; {advice}", code=first)
    if answer.status >= 400 or _NOT_ALONE in codes:
        return answer.fault(Invalid, reason, code=first)
    unknown = answer.fault(ProtocolError, f"success: false, and {reason}", code=first)
    unknown.kept = answer.text(2048)
    return unknown


def told(complaints: Sequence[Complaint]) -> str:
    """Their messages with their codes, chains included."""
    reasons = [reason for one in complaints for reason in (one, *one.error_chain)]
    return "; ".join(f"{one.message or 'no message'} ({one.code})" for one in reasons) or "no error is named"


def _forbidden(answer: Answer, reason: str, codes: frozenset[int], first: str | None) -> CdnError:
    right = RIGHTS.get(answer.operation)
    if codes & _NO_TOKEN or right is None:
        return answer.fault(AuthError, f"{reason}; check cdn.api_key", code=first)
    return answer.fault(
        MissingRight, f"{reason}; the token needs the right {right} for this zone or account", code=first
    )


class GraphError(BaseModel):
    """One of the errors of a query, which come inside a 200 as well."""

    message: str = ""


class Graph(BaseModel):
    """The answer to a query."""

    data: object = None
    errors: tuple[GraphError, ...] | None = None


GRAPH: Final = TypeAdapter(Graph)


def judge_graph(answer: Answer) -> CdnError | None:
    """The same for the interface of statistics, which has no envelope; errors of the account do have one there."""
    try:
        errors = GRAPH.validate_python(answer.json()).errors or ()
    except (ProtocolError, ValidationError):
        return judge(answer)
    text = answer.redacted("; ".join(one.message for one in errors), 600)
    if not errors:
        return None if 200 <= answer.status < 300 else judge(answer)
    low = text.lower()
    if answer.status == 429 or "rate limiter" in low:
        return answer.fault(RateLimited, text, retry_after_s=answer.retry_after_s or DEPLETED)
    if answer.status >= 500 or "internal server error" in low:
        return answer.fault(Unavailable, text)
    if answer.status == 401:
        return answer.fault(AuthError, f"{text}; check cdn.api_key", retry_after_s=AGAIN)
    if "not authorized" in low or "does not have access" in low or answer.status == 403:
        return answer.fault(MissingRight, f"{text}; the token needs the right {RIGHTS['stats']} for this zone")
    return answer.fault(Invalid, text)
