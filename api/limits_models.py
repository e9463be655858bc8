"""What is said of limits to callers, and by them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from api.operation import Model
from api.requests import Name

LONGEST = 30 * 86400
"""Seconds for which a key may be lifted or blocked: for ever is the configuration's affair."""


class LimitedKey(Model):
    """One key that was refused something, or that was lifted or blocked."""

    name: str
    """What it can be called by when it is lifted or blocked."""
    key: str
    """Masked: an address without its end, the first characters of anything else."""
    refused: int
    """Requests; with a dry run those that would have been."""
    order: Literal["lift", "block"] | None
    """null: as all others."""
    until: datetime | None


class LimitAnswer(Model):
    """One policy."""

    rate: str | None
    burst: int | None
    concurrency: int | None
    key: list[str]
    dry_run: bool
    routes: list[str]
    """Those that have it."""
    shared: Literal["leased", "exact"] | None
    """null: this balancer counts for itself."""
    mode: str
    """local; leased or exact while Redis is used; fallback while it should be and is not."""
    reason: str | None
    """Why it is in fallback."""
    on_redis_down: Literal["local", "allow", "deny"]
    """What it does in fallback: hold this balancer's share, let all pass, or refuse all."""
    decisions: dict[str, int]
    keys: int
    """That are remembered."""
    max_keys: int
    in_flight: int
    """Requests that count for its concurrency now."""
    since: datetime | None
    """When that mode began; null where it is not shared."""
    instances: int
    """Balancers that are known to share it, this one included."""
    questions: int
    """How often Redis was asked for its tokens."""
    held: int
    """Tokens of a key that this balancer may have taken from Redis and not spent."""
    top: list[LimitedKey]
    """Those that were refused most; those that were lifted or blocked before all."""


class LimitAnswers(Model):
    """All policies."""

    at: datetime
    policies: dict[str, LimitAnswer]


class RulingRequest(Model):
    """A key of a policy, by its values or by its name, and what is to hold for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["key"], "properties": {"key": {"minItems": 1}}},
                {"required": ["name"], "properties": {"name": {"type": "string"}}},
            ]
        }
    )

    policy: Name
    order: Literal["lift", "block", "restore"]
    """lift: no limit for it; block: no request of it; restore: as all others, with a full bucket."""
    key: Annotated[list[Annotated[str, Field(min_length=1, max_length=8192)]], Field(max_length=8)] = Field(
        default_factory=list
    )
    """The values that the policy's key is made of, in its order: ["192.0.2.7"]."""
    name: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None
    """In place of `key`: as the list of limited keys has it."""
    seconds: Annotated[float, Field(gt=0, le=LONGEST)] = 3600.0

    @model_validator(mode="after")
    def _one(self) -> RulingRequest:
        if bool(self.key) == (self.name is not None):
            raise ValueError("must have either `key` or `name`")
        return self
