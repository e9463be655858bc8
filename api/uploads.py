"""A file as it is sent: as the only file of a form, or as the body itself."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from api.body import Stream
from api.cdn_models import UploadQuery, tags_of
from api.forms import Form, Malformed, boundary_of
from api.problems import Fault, Problem, of_validation
from balancer.cdn.errors import Invalid
from balancer.cdn.types import Kind

FORM: Final = "multipart/form-data"
FILE: Final = "file"
FIELDS: Final = tuple(UploadQuery.model_fields)
_UNTYPED: Final = frozenset(("application/octet-stream", "application/x-www-form-urlencoded", "binary/octet-stream"))
"""What clients say who know nothing of the type; the second is what curl says of --data-binary."""
_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that is about to come."""

    pieces: AsyncIterator[bytes]
    """A Problem when it is not as it should be, at its very end too: then nothing of it is to be kept."""
    name: str
    kind: Kind | None
    """None: that of its bytes."""
    content_type: str | None
    tags: tuple[str, ...]
    overwrite: bool
    sha256: str | None
    size: int | None
    """Bytes, where that is known beforehand."""


async def sent(stream: Stream, query: UploadQuery) -> Sent:
    """The file of a request. Reads no further than to its first byte; Problem when it can not be one."""
    if stream.request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "the file must be sent as it is, without Content-Encoding")
    if stream.request.content_type != FORM:
        if query.name is None:
            fault = Fault(pointer="?name", message="is required, unless the body is multipart/form-data")
            raise Problem(422, "1 field is not as expected; nothing was changed", [fault], code=Invalid.code)
        return _sent(stream.pieces(), query, query.name, stream.request.content_type, stream.length)
    try:
        form = Form(stream.pieces(), boundary_of(_parameters(stream.request.headers.get("Content-Type", ""))))
        said: dict[str, str] = {}
        while (part := await form.next()) is not None and part.name != FILE:
            if part.name not in FIELDS:
                raise _fault(part.name, f"is not a field that is known here: {', '.join(FIELDS)}, and then the {FILE}")
            if part.name in said or part.name in query.model_fields_set:
                raise _fault(part.name, "is said twice")
            said[part.name] = await form.value()
    except Malformed as error:
        raise _garbled(error) from None
    if part is None:
        raise _fault(FILE, f"is required: curl -F {FILE}=@cat.jpg")
    try:
        told = UploadQuery.model_validate_strings({**_strings(query), **said}, strict=True)
    except ValidationError as error:
        raise of_validation(error, code=Invalid.code) from None
    name = told.name or part.filename
    if not name:
        raise _fault("name", f"is required, as the {FILE} has no filename")
    return _sent(_of_form(form), told, name, part.content_type, None)


def _sent(
    pieces: AsyncIterator[bytes], query: UploadQuery, name: str, content_type: str | None, size: int | None
) -> Sent:
    name = re.split(r"[/\\]", name)[-1].strip()
    if not name or not name.isprintable() or len(name) > 255:
        raise _fault("name", "must be a name of at most 255 printable characters, such as cat.jpg")
    if content_type in _UNTYPED or not _TYPE.fullmatch(content_type or ""):
        content_type = None
    return Sent(
        pieces=pieces,
        name=name,
        kind=query.kind,
        content_type=content_type,
        tags=tags_of(query.tags or ""),
        overwrite=query.overwrite,
        sha256=query.sha256,
        size=size,
    )


async def _of_form(form: Form) -> AsyncIterator[bytes]:
    """The file, and then the form's end: a provider keeps nothing of a file unless this came to it."""
    try:
        async for piece in form.content():
            yield piece
        after = await form.next()
    except Malformed as error:
        raise _garbled(error) from None
    if after is not None:
        what = "one file is taken at a time" if after.name == FILE else "fields must stand before the file"
        raise _fault(after.name, what)


def _strings(query: UploadQuery) -> dict[str, str]:
    """The query as it was written."""
    said = query.model_dump(include=query.model_fields_set, exclude_none=True)
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in said.items()}


def _parameters(content_type: str) -> dict[str, str]:
    """Of a Content-Type; a quoted value without its quotes."""
    found: dict[str, str] = {}
    for name, quoted, plain in re.findall(r';\s*([A-Za-z]+)=(?:"([^"\\]*)"|([^;"\s]*))', content_type):
        if name.lower() in found:
            raise Malformed("its Content-Type says the boundary twice")
        found[name.lower()] = quoted or plain
    return found


def _garbled(error: Malformed) -> Problem:
    return Problem(400, f"the body is not {FORM} as it should be: {error}")


def _fault(name: str, message: str) -> Problem:
    fault = Fault(pointer=f"/{name[:200].replace('~', '~0').replace('/', '~1')}", message=message)
    return Problem(422, "1 field is not as expected; nothing was changed", [fault], code=Invalid.code)
