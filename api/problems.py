"""Errors as the admin API tells them: problem details (RFC 9457) that name the field at fault."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from balancer.telemetry.redaction import without_keys

CONTENT_TYPE = "application/problem+json"
TOLD = 100
"""Faults of one request that are told: an answer must not be several times as large as what asked for it."""
NOWHERE = "there is nothing at this path; /openapi.json lists every one"
SHOWN = 60
"""Characters of what came that are repeated."""


class Fault(BaseModel):
    """One thing that is wrong, and where."""

    model_config = ConfigDict(frozen=True)

    pointer: str
    """A JSON pointer into the body ("/servers/2/weight"), or "?name" for a query parameter."""
    message: str
    line: int | None = Field(default=None, ge=1)
    """In a configuration file."""
    column: int | None = Field(default=None, ge=1)


class ProblemDetails(BaseModel):
    """The body of every answer that is an error."""

    model_config = ConfigDict(frozen=True)

    type: str = "about:blank"
    """Always "about:blank": the status says which kind of problem it is."""
    title: str
    status: int
    detail: str
    code: str | None = None
    """What is wrong with the CDN, in a word for programs: cdn_auth, cdn_rate_limited..."""
    errors: tuple[Fault, ...] = ()


class Problem(Exception):
    """Raised by a handler, or by a check before it, to answer with problem details."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = tuple(errors[:TOLD])
        self.detail = detail if len(errors) <= TOLD else f"{detail} (of {len(errors)} faults the first {TOLD} are told)"
        self.headers = headers or {}
        self.code = code

    def response(self) -> web.Response:
        details = ProblemDetails(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            code=self.code,
            errors=self.errors,
        )
        return web.Response(
            status=self.status,
            # What came is repeated in many places; a key that was pasted into the wrong one is not.
            body=without_keys(details.model_dump_json(exclude_none=True)).encode(),
            content_type=CONTENT_TYPE,
            headers=dict(self.headers),
        )


def of_validation(error: ValidationError, *, query: bool = False, code: str | None = None) -> Problem:
    """What pydantic found, as one problem that tells the first `TOLD` of many."""
    told = error.errors(include_url=False, include_context=False)[:TOLD]
    faults = [Fault(pointer=_pointer(found["loc"], query), message=_message(found)) for found in told]
    total = error.error_count()
    count = "1 field is" if total == 1 else f"{total} fields are"
    shown = f" (the first {TOLD} are told)" if total > TOLD else ""
    return Problem(422, f"{count} not as expected{shown}; nothing was changed", faults, code=code)


def of_http(error: web.HTTPException) -> Problem:
    """What aiohttp itself refused: an unknown path, a method that a path does not take, too large a body."""
    details = {
        404: NOWHERE,
        413: "the body is too large",
    }
    detail = details.get(error.status, error.reason)
    headers = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"this path takes {allowed}, not {error.method}"
        headers["Allow"] = allowed
    return Problem(error.status, detail, headers=headers)


def _pointer(place: Sequence[int | str], query: bool) -> str:
    if query:
        return f"?{place[0]}" if place else "?"
    # A name may be as long as the body; nobody has to have the whole of it repeated.
    return "".join("/" + str(step)[:200].replace("~", "~0").replace("/", "~1") for step in place)


_WORDS = (
    ("Input should be", "must be"),
    ("String should", "must"),
    ("List should", "must"),
    ("a valid integer", "a whole number"),
    ("a valid boolean", "true or false"),
    ("a valid number", "a number"),
    ("a valid string", "text"),
    ("a valid list", "a list"),
    ("a valid array", "a list"),
    ("a valid dictionary", "an object"),
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
    (", unable to interpret input", ""),
    (" after validation", ""),
)
"""pydantic's words, and ours."""


def _message(found: ErrorDetails) -> str:
    """What was expected, and what came."""
    kind, came = found["type"], found["input"]
    if kind == "extra_forbidden":
        return "is not a field that is known here"
    if kind == "missing":
        return "is required"
    if kind == "value_error":  # our own sentence; it knows whether what came may be repeated
        return found["msg"].removeprefix("Value error, ")
    message = found["msg"]
    for theirs, ours in _WORDS:
        message = message.replace(theirs, ours)
    if came is None or isinstance(came, bool | int | float | str):
        shown = json.dumps(came)
        message += f", not {shown if len(shown) <= SHOWN else shown[:SHOWN] + '...'}"
    return message
