"""What callers may ask the load balancer for: bodies and queries, held to these models before anything happens."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, cast, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from api.operation import Model
from config.addresses import server_address
from config.patterns import NAME, PLUGIN
from config.problems import Unfit
from config.schema import Health, Server, StrategyName
from config.values import seconds

LONGEST_WAIT = 600.0
"""Seconds that a caller may be kept waiting; a longer drain is better asked for again."""
STRATEGIES: tuple[str, ...] = get_args(StrategyName)
_STRATEGY = rf"^(?:{'|'.join(STRATEGIES)}|[A-Za-z_][0-9A-Za-z_]*(\.[A-Za-z_][0-9A-Za-z_]*)*:[A-Za-z_][0-9A-Za-z_]*)$"
URL = r"^(?:unix:/[^\x00]+|[Hh][Tt][Tt][Pp][Ss]?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)(?::[0-9]+)?/?)$"
"""What every URL of a server looks like; the document says so beforehand, `server_address` has the last word."""
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*")
_UP_TO_10M = (
    r"^(?:0*[1-5]?[0-9]{1,5}(?:\.[0-9]+)?ms|0*600000(?:\.0+)?ms|0*[1-5]?[0-9]{1,2}(?:\.[0-9]+)?s|0*600(?:\.0+)?s"
    r"|0*[0-9](?:\.[0-9]+)?m|0*10(?:\.0+)?m)$"
)


def _url(text: str) -> str:
    url = text[:-1] if text.startswith("http") and text.endswith("/") else text
    try:
        server_address(url)
    except Unfit as error:
        raise ValueError(error.expected) from None
    return url


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError("must be a name of at most 128 letters, digits and . _ - : characters")
    return text


def _strategy(name: str) -> str:
    if name not in STRATEGIES and not PLUGIN.fullmatch(name):
        raise ValueError(f"must be one of {', '.join(STRATEGIES)}, or your own as package.module:Class")
    return name


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("must be an address such as 192.0.2.7") from None


def _header_lines(text: str) -> str:
    for number, line in enumerate(text.split("\n"), 1):
        if line and not _HEADER.fullmatch(line):
            raise ValueError(f'must have a field in each line, such as "X-Beta: yes"; line {number} is none')
    return text


def _said(value: object) -> object:
    """Left out means "as it is"; null would mean nothing."""
    if value is None:
        raise ValueError("must have a value, or be left out")
    return value


def _never_null(schema: JsonDict) -> None:
    """What `_said` keeps to, for the document."""
    del schema["default"]
    for kind in cast("list[JsonDict]", schema.pop("anyOf")):
        if kind != {"type": "null"}:
            schema.update(kind)


def _whole(value: object) -> object:
    """To JSON 5.0 is a whole number as 5 is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Name = Annotated[
    str,
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{NAME.pattern})$", "examples": ["a", "10.0.0.11:8000"]}),
]
Url = Annotated[
    str,
    AfterValidator(_url),
    Field(max_length=500, examples=["http://10.0.0.11:8000"], json_schema_extra={"pattern": URL}),
]
Strategy = Annotated[
    str,
    AfterValidator(_strategy),
    Field(max_length=200, examples=["round-robin"], json_schema_extra={"pattern": _STRATEGY}),
]
Weight = Annotated[int, Field(ge=1, le=1000), BeforeValidator(_whole)]
Cap = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(_whole)]
Wait = Annotated[
    float,
    BeforeValidator(seconds),
    Field(le=LONGEST_WAIT),
    WithJsonSchema({"type": "string", "pattern": _UP_TO_10M, "examples": ["30s"]}),
]


class NewServer(Model):
    """A server to add."""

    url: Url
    """http://host:port, or unix:/path of a socket that the configuration file names."""
    name: Name | None = None
    """By default host:port of the URL, or the last part of the socket's path."""
    weight: Weight = 1
    max_connections: Cap | None = None
    """Requests in flight it may have; null takes the pool's, 0 means no cap."""
    backup: bool = False
    """Used only when no other server of the pool may be."""

    @property
    def called(self) -> str:
        """Its name; the URL's if it was given none, as in a file."""
        if self.name is not None:
            return self.name
        address = server_address(self.url)
        return address.path.rpartition("/")[2] if address.path else str(address)

    @property
    def settings(self) -> Server:
        return Server(url=self.url, weight=self.weight, max_connections=self.max_connections, backup=self.backup)


def _short(value: object) -> object:
    """A URL alone stands for a server with nothing else said of it."""
    return {"url": value} if isinstance(value, str) else value


class Initialize(Model):
    """A pool's servers from now on. What is left out stays as it is."""

    servers: Annotated[
        list[Annotated[NewServer, BeforeValidator(_short, json_schema_input_type=str | NewServer)]],
        Field(min_length=1, max_length=10_000),
    ]
    """URLs, or objects with more to say."""
    pool: Name | None = None
    """By default the only pool, or the one called `default`."""
    strategy: Strategy | None = None
    health: Health | None = None
    """In place of the pool's whole health settings."""


class ServerChange(Model):
    """Other settings for a server. What is left out stays as it is; at least one must be there."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    weight: Weight | None = Field(default=None, json_schema_extra=_never_null)
    max_connections: Cap | None = None
    """Requests in flight it may have; null takes the pool's, 0 means no cap."""
    backup: bool | None = Field(default=None, json_schema_extra=_never_null)

    @field_validator("weight", "backup", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        return _said(value)

    @model_validator(mode="after")
    def _not_empty(self) -> ServerChange:
        if not self.model_fields_set:
            raise ValueError("must have weight, max_connections or backup")
        return self


class CheckRequest(Model):
    """Which servers to check; by default all of them."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["pool"], "properties": {"pool": {"type": "string"}}},
                {"properties": {"server": {"type": "null"}}},
            ]
        }
    )

    pool: Name | None = None
    server: Name | None = None
    """One server of `pool`."""

    @model_validator(mode="after")
    def _with_pool(self) -> CheckRequest:
        if self.server is not None and self.pool is None:
            raise ValueError("must have pool beside server")
        return self


class WaitQuery(Model):
    """How long to wait for an answer."""

    wait: Wait | None = None
    """Answer when nothing is in flight on the server any more, or after this long; up to 10m."""


class NextQuery(Model):
    """The request that would come next."""

    pool: Name | None = None
    """By default the only pool, or the one called `default`."""
    strategy: Strategy | None = None
    """One of the built-in names, or the pool's own; by default every one is asked."""
    client: Annotated[
        str,
        AfterValidator(_address),
        Field(max_length=45),
        WithJsonSchema({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
    ] = "127.0.0.1"
    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=2000)] = "/"
    """With its query, if it matters."""
    header: Annotated[str | None, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*$", max_length=2000)] = None
    """One field that matters, such as "Cookie: lb=..."."""


class ExplainQuery(Model):
    """A request that nobody makes."""

    url: Annotated[
        str, Field(pattern=r"^(https?://[!-~]+|/[!-~]*)$", max_length=4000, examples=["https://example.com/a"])
    ]
    """With the host, if routes ask for one; what follows # is no part of a request."""
    method: Annotated[str, Field(pattern=r"^[A-Z-]{1,40}$")] = "GET"
    headers: Annotated[str, AfterValidator(_header_lines), Field(pattern=r"^[\t\n -~]*$", max_length=8000)] = ""
    """One in a line: "X-Beta: yes". Others than those that routes ask for change nothing."""


class PoolQuery(Model):
    """One pool or all of them."""

    pool: Name | None = None
