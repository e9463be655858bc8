"""The queries of `queries.sql`, with numbers for the names of their parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from balancer.analytics.app_database.mapping import Schema

_NAME: Final = re.compile(r"(?<![:\w]):([a-z]+)")
_COMMENT: Final = re.compile(r"^\s*--.*$", re.MULTILINE)


class Query(NamedTuple):
    """One of them, as it is written."""

    text: str
    entities: tuple[str, ...]
    """The logical tables that it reads."""


@cache
def queries() -> Mapping[str, Query]:
    """By name."""
    found: dict[str, Query] = {}
    content = files(__package__).joinpath("queries.sql").read_text("utf-8")
    for block in content.split("-- name: ")[1:]:
        name, _, rest = block.partition("\n")
        of, _, body = rest.partition("\n")
        entities = tuple(of.removeprefix("-- of:").split())
        found[name.strip()] = Query(_COMMENT.sub("", body).strip(), entities)
    return found


def rendered(query: Query, schema: Schema, values: Mapping[str, object]) -> tuple[str, list[object]]:
    """The text that is sent, and its parameters in order: those of the views come first."""
    parameters: list[object] = []
    views = schema.views(query.entities, parameters)
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name not in numbers:
            parameters.append(values[name])
            numbers[name] = len(parameters)
        return f"${numbers[name]}" + _TYPES.get(name, "")

    body = _NAME.sub(number, query.text)
    if body.startswith("WITH "):
        return f"WITH {views},\n{body.removeprefix('WITH ')}", parameters
    return f"WITH {views}\n{body}", parameters


_TYPES: Final = {"since": "::timestamptz", "until": "::timestamptz", "community": "::text"}
"""Where the text says none, PostgreSQL would have to guess."""
