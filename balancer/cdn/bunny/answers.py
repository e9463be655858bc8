"""What Bunny says when it does not do what it was asked, as errors of ours."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, Field, ValidationError

from balancer.cdn.answer import Answer
from balancer.cdn.errors import AuthError, CdnError, MissingRight, NotFound, RateLimited

BUSY: Final = "unable to process request"
"""What the storage says, with a 400, to more calls at once than it takes."""


class Fault(BaseModel):
    """The body of an error, if it has one."""

    key: str | None = Field(None, alias="ErrorKey")
    name: str | None = Field(None, alias="Field")
    message: str | None = Field(None, alias="Message")


def fault(answer: Answer) -> Fault:
    """What an answer says of its error; nothing, if that is no JSON of theirs."""
    try:
        return Fault.model_validate_json(answer.body)
    except ValidationError:
        return Fault.model_validate({})


def judge(answer: Answer) -> CdnError | None:
    """Of the interface for pull zones, purges and statistics."""
    status = answer.status
    if status == 401:
        return answer.fault(AuthError, "it does not take the key in cdn.api_key: that is the account's API key")
    if status == 403:
        return answer.fault(MissingRight, "the key in cdn.api_key may not do this")
    said = fault(answer)
    if status == 404:
        return answer.fault(
            NotFound,
            f"{_worded(answer, said) or 'not there'}; is cdn.bunny.pull_zone_id of this account?",
            code=said.key,
        )
    if status == 429:
        return answer.fault(RateLimited, _worded(answer, said) or "too many calls", code=said.key)
    return None


def judge_storage(answer: Answer) -> CdnError | None:
    """Of the storage, which has a password of its own."""
    status = answer.status
    if status == 401:
        return answer.fault(
            AuthError,
            "either cdn.bunny.storage_password is not the password of this storage zone (the account's API key is "
            "not), or cdn.bunny.storage_host is not of the zone's region, which is answered alike",
        )
    if status == 429 or (status == 400 and BUSY in answer.text(400).lower()):
        return answer.fault(RateLimited, "it takes no more calls at the moment")
    return None


def _worded(answer: Answer, said: Fault) -> str:
    where = f"{said.name}: " if said.name else ""
    return answer.redacted(f"{where}{said.message}", 200) if said.message else ""
