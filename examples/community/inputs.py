"""What clients may send, and how a body becomes one of these."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from examples.community.chaos import Mode
from examples.community.records import Refusal

Id = Annotated[int, Field(ge=1, le=2**53 - 1)]


class Input(BaseModel):
    """The base of every body: refuses fields it does not know, and takes no text for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, strict=True)


class Credentials(Input):
    username: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{1,29}$")]
    password: Annotated[str, Field(min_length=8, max_length=128)]


class NewCommunity(Input):
    slug: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,39}$")]
    name: Annotated[str, Field(min_length=3, max_length=80)]
    about: Annotated[str, Field(max_length=500)] = ""


class NewPost(Input):
    title: Annotated[str, Field(min_length=3, max_length=200)]
    body: Annotated[str, Field(min_length=1, max_length=20_000)]


class NewComment(Input):
    body: Annotated[str, Field(min_length=1, max_length=5_000)]
    parent_id: Id | None = None


class NewReport(Input):
    target_type: Literal["post", "comment", "user"]
    target_id: Id
    reason: Literal["spam", "abuse", "off_topic", "nsfw", "other"]


class Resolution(Input):
    status: Literal["upheld", "rejected", "ignored"]


class ChaosChange(Input):
    mode: Mode
    rate: Annotated[float, Field(ge=0, le=1)] | None = None


class InvalidInput(Exception):
    """A body that is not what was expected; `fields` says where, as (field, message)."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in fields))
        self.fields = fields


M = TypeVar("M", bound=Input)


async def body(request: web.Request, model: type[M]) -> M:
    """The request's JSON as `model`. Raises Refusal when it is not JSON at all, else InvalidInput."""
    # Asking for the type keeps forms on other sites from posting here with a visitor's cookie.
    if request.content_type != "application/json":
        raise Refusal(415, f"expected a body of type application/json, not {request.content_type}")
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        # Not the input itself: a password would come back in the answer.
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidInput([(".".join(map(str, one["loc"])), one["msg"]) for one in found]) from None
