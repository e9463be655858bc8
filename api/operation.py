"""One operation of the API: its path, who may call it, and the models that bind requests and answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from api.auth import Caller, Role
from api.body import Stream, read, too_large
from api.problems import Problem, of_validation
from api.streams import write
from balancer.control import OPERATOR
from config.diff import Change
from config.schema import Config

_TAG = re.compile(r'(?:W/)?"[^"]*"|\*')
SMALL = 64 * 1024
"""Bytes that a body may have where nobody has asked for more, and that are parsed between two turns of the loop."""


class Model(BaseModel):
    """The base of requests and answers: unknown fields are refused, and a docstring is a description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Answer_co = TypeVar("Answer_co", bound=BaseModel | None, covariant=True)
Asked = TypeVar("Asked", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reply(Generic[Answer_co]):
    """An answer whose status is not 200, or that needs a header; None for no body."""

    body: Answer_co
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not JSON."""

    body: bytes
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flow:
    """An answer that comes in pieces, which are made as they are sent."""

    pieces: AsyncGenerator[bytes]
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    live: bool = False
    """It has no end of its own: whoever does not read is left, and whoever has left is no failure."""


Result = BaseModel | Reply[BaseModel | None] | Text | Flow | None


@dataclass(frozen=True, slots=True)
class Call:
    """One request of an operation, after every check."""

    caller: Caller | None
    """None where no key is needed and none came."""
    path: Mapping[str, str]
    """The values of the names in the path."""
    request: web.Request
    noted: list[Change] = field(default_factory=list)
    """For the audit trail: what changes beside the configuration in force."""

    def note(self, path: str, before: str | None, after: str | None) -> None:
        """Tell the audit trail of a change that no plane sees, such as a key. No secrets."""
        self.noted.append(Change(path, before, after))

    @property
    def author(self) -> str:
        """Who is to be named beside what this changes."""
        return self.caller.id if self.caller is not None else OPERATOR


def if_match(call: Call) -> None:
    """The precondition of changes that would undo somebody else's: say what is to be changed (RFC 9110 13.1.1)."""
    if "If-Match" not in call.request.headers:
        raise Problem(428, "say in If-Match which configuration is to be changed: the ETag that GET /api/config gave")


def matches(call: Call) -> frozenset[str] | None:
    """The strong entity tags of `If-Match`; None when it is not there."""
    values = call.request.headers.getall("If-Match", None)
    if values is None:
        return None
    return frozenset(found for value in values for found in _TAG.findall(value) if not found.startswith("W/"))


@dataclass(frozen=True)
class Operation:
    """A method at a path, and the function behind it.

    The function's annotations are the contract: a parameter `query` or `body` is a model that the request
    must fit, and the result is a model, `Reply` of one, `Text` or None (204). The same annotations make the
    OpenAPI document, so that the two can not differ.
    """

    method: str
    path: str
    role: Role | Callable[[Config], Role | None] | None
    """None: open to everybody; a function: by the configuration in force."""
    handle: Callable[..., Awaitable[Result]]
    statuses: Mapping[int, str] = field(default_factory=lambda: {200: "Done."})
    """Every status that is not a problem, with when it comes."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """The operation's own problems; those that any operation may have are known."""
    content_type: str = "application/json"
    """Of the answer."""
    other_types: tuple[str, ...] = ()
    """Of answers that whoever asks may have instead."""
    body_types: tuple[str, ...] = ("application/json",)
    """The last of them may be any: */*."""
    body_schemas: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Of bodies that are no model's, by their type: for the document."""
    limit: int | Callable[[Config], int] = SMALL
    """Bytes of a body; a function: by the configuration in force."""
    too_large: Callable[[int, int | None], Problem] = too_large
    """Tells of a body that has more, or would have."""
    tail: bool = False
    """The last name of the path stands for all that follows, slashes included."""
    key_shows_more: bool = False
    """An open operation that tells more to a caller with a key; elsewhere in the open, keys are not looked at."""
    page: bool = False
    """A page for people, or what one consists of: the same for everybody, and no part of the document."""
    unlimited: bool = False
    """Not counted by `admin.rate_limit`: who restarts the balancer when it does not answer must get an answer."""
    trail: Literal["both", "after", "none"] = "both"
    """Its lines in the audit trail, unless it is a GET: before and after it, only after it where that is no reason to
    refuse it, or none as it changes nothing."""
    headers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Fields that a request may have, as the document has them: with `description` and `schema`."""
    precondition: Callable[[Call], None] | None = None
    """What must hold before the body is read, such as `If-Match`; it raises the Problem that tells (412, 428)."""

    @cached_property
    def query(self) -> type[BaseModel] | None:
        return _model(self._hints.get("query"))

    @cached_property
    def body(self) -> type[BaseModel] | None:
        return _model(self._hints.get("body"))

    @cached_property
    def raw_body(self) -> bool:
        """Whether the function takes the body as it came."""
        return self._hints.get("body") is bytes

    @cached_property
    def streamed(self) -> bool:
        """Whether the function reads the body itself: it may be larger than memory."""
        return self._hints.get("body") is Stream

    @cached_property
    def takes_body(self) -> bool:
        return self.body is not None or self.raw_body or self.streamed

    @cached_property
    def body_optional(self) -> bool:
        return type(None) in get_args(self._hints.get("body"))

    @cached_property
    def answer(self) -> type[BaseModel] | None:
        result = self._hints["return"]
        return _model(get_args(result)[0] if get_origin(result) is Reply else result)

    @cached_property
    def _hints(self) -> dict[str, object]:
        return get_type_hints(self.handle)

    def limit_in(self, config: Config) -> int:
        return self.limit(config) if callable(self.limit) else self.limit

    @property
    def pattern(self) -> str:
        """The path for aiohttp's router."""
        return f"{self.path[:-1]}:.+}}" if self.tail else self.path

    @property
    def name(self) -> str:
        """As the document and the audit trail call it."""
        return self.handle.__name__

    async def respond(
        self,
        request: web.Request,
        caller: Caller | None,
        noted: list[Change] | None = None,
        before: Callable[[], Awaitable[None]] | None = None,
        limit: int = SMALL,
    ) -> web.StreamResponse:
        """Validate, act, and turn the result into a response. `before` is called once nothing but the act is left.

        `limit` is what a body may have. One that is streamed is part of the act.
        """
        call = Call(caller, request.match_info, request, [] if noted is None else noted)
        if self.precondition is not None:
            self.precondition(call)
        arguments: dict[str, object] = {}
        query = dict(request.query)
        if len(query) != len(request.query):
            raise Problem(422, "a query parameter was given twice")
        if self.query is not None:
            try:
                arguments["query"] = self.query.model_validate_strings(query, strict=True)
            except ValidationError as error:
                raise of_validation(error, query=True, code=self._code) from None
        elif query:
            raise Problem(422, f"this operation takes no query, not {next(iter(query))[:80]!r}")
        if self.streamed:
            self._check_type(request)
            arguments["body"] = Stream(request, limit, self.too_large)
        elif self.takes_body:
            arguments["body"] = await self._read(request, limit)
        elif request.can_read_body:
            raise Problem(400, "this operation takes no body")
        if before is not None:
            await before()
        result = await self.handle(call, **arguments)
        if isinstance(result, Flow):
            return await _flow(request, result)
        return _response(result)

    def _check_type(self, request: web.Request) -> None:
        if request.content_type not in self.body_types and self.body_types[-1] != "*/*":
            types = " or ".join(self.body_types)
            raise Problem(415, f"the body must be {types}, by its Content-Type, not {request.content_type}")

    async def _read(self, request: web.Request, limit: int) -> object:
        if not request.can_read_body and self.body_optional:
            return None
        self._check_type(request)
        content = await read(request, limit)
        if self.body is None:
            return content
        if len(content) > SMALL:
            return await asyncio.to_thread(parse, content, self.body, self._code)
        return parse(content, self.body, self._code)

    @property
    def _code(self) -> str | None:
        """What programs are told of a field that is not as expected, where problems have codes."""
        return "cdn_invalid" if self.path.startswith("/api/infrastructure/cdn/") else None


def parse(content: bytes, model: type[Asked], code: str | None = None) -> Asked:
    """Read strict JSON into `model`: no field twice, no NaN, no number where a truth value belongs."""
    try:
        # pydantic's own parser takes the last of two equal names; the standard library's lets us refuse them.
        json.loads(content.decode(), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem(400, f"the body is not JSON as it should be: {reason}") from None
    try:
        return model.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise of_validation(error, code=code) from None


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {name[:80]!r} is there twice")
            seen.add(name)
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _model(hint: object) -> type[BaseModel] | None:
    """The model in an annotation, with or without `| None`."""
    for candidate in (hint, *get_args(hint)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


async def _flow(request: web.Request, flow: Flow) -> web.StreamResponse:
    """Send it. What fails on the way cuts the connection: half of it must not be taken for all."""
    response = web.StreamResponse(headers={"Content-Type": flow.content_type, **flow.headers})
    if request.method == "HEAD":
        return response
    if flow.live:
        await write(request, response, flow.pieces)
        return response
    await response.prepare(request)
    try:
        async for piece in flow.pieces:
            await response.write(piece)
    except Exception:
        if request.transport is not None:
            request.transport.abort()
        raise
    await response.write_eof()
    return response


def _response(result: BaseModel | Reply[BaseModel | None] | Text | None) -> web.Response:
    if result is None:
        return web.Response(status=204)
    if isinstance(result, Text):
        headers = {"Content-Type": result.content_type, **result.headers}
        return web.Response(status=result.status, body=result.body, headers=headers)
    reply = result if isinstance(result, Reply) else Reply(result)
    if reply.body is None:
        return web.Response(status=reply.status, headers=dict(reply.headers))
    return web.Response(
        status=reply.status,
        body=reply.body.model_dump_json().encode(),
        content_type="application/json",
        headers=dict(reply.headers),
    )
