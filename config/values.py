"""The quantities of a configuration: durations, sizes, shares, sets of statuses, addresses and networks.

A file spells them as an operator would ("30s", "64KiB", "20%"); the program sees plain numbers and frozen
values, and writes them back in the spelling of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic_core import core_schema

from config.addresses import Address, Network, TrustedProxy
from config.problems import Unfit

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = [
    "OF_A_FILE",
    "WRITTEN",
    "Address",
    "Duration",
    "DurationOrNone",
    "FilePath",
    "KeyHash",
    "Network",
    "Share",
    "Size",
    "StatusSet",
    "TrustedProxy",
    "Unfit",
]

OF_A_FILE = "the path of a file"
"""Marks text that names a file: true and false are no names, whatever else text may be."""

FilePath = Annotated[str, OF_A_FILE, Field(min_length=1)]

_HASH = r"^sha256:[0-9a-f]{64}$"


def _hashed(text: str) -> str:
    if not re.fullmatch(_HASH, text):
        raise Unfit(
            "must be the hash of a key, sha256: and 64 hex digits: `balancer api-key` and `balancer key create` "
            "print it beside the key. If this is a key itself, make another one: it has been in a file",
            text,
        )
    return text


KeyHash = Annotated[str, AfterValidator(_hashed), Field(json_schema_extra={"pattern": _HASH})]

WRITTEN = {"written": True}
"""The validation context of text that an operator wrote, where a bare number is no duration: 30 of what?"""


_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)")
_LONGEST = 10 * 365 * 86400.0  # beyond this a timer's arithmetic loses its milliseconds, and nobody waits
_EXPECTED_DURATION = "must be a duration such as 250ms, 30s, 5m or 1h"


def seconds(value: object, written: bool = False) -> float:
    """A duration from "250ms" or from a number of seconds; `written` refuses numbers other than 0."""
    if isinstance(value, str):
        found = _DURATION.fullmatch(value)
        if found is None:
            if value == "0":
                return 0.0
            raise Unfit(_EXPECTED_DURATION, value)
        number, unit = float(found[1]), found[2]
        # Dividing by a whole number rounds once; multiplying by 0.001 would round twice.
        result = number / round(1 / _SECONDS[unit]) if _SECONDS[unit] < 1 else number * _SECONDS[unit]
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unfit(_EXPECTED_DURATION, value)
    elif written and value != 0:
        raise Unfit("must have a unit, such as 30s or 250ms", value)
    else:
        # A whole number too large for a float is too long anyway.
        result = float(min(value, _LONGEST * 2))
    if not 0 <= result <= _LONGEST:
        raise Unfit("must be a duration between 0s and 3650d", value)
    return round(result, 9)


def duration_text(value: float) -> str:
    """The shortest spelling that `seconds` reads back as the same number."""
    for unit in ("d", "h", "m"):
        if value and value % _SECONDS[unit] == 0:
            return f"{value / _SECONDS[unit]:.0f}{unit}"
    if value < 1 and seconds(f"{value * 1000:.0f}ms") == value and value:
        return f"{value * 1000:.0f}ms"
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def _duration(value: object, info: ValidationInfo) -> float:
    return seconds(value, written=info.context == WRITTEN)


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d)|0)$"},
                {"type": "integer", "const": 0},
            ],
            "examples": ["250ms", "30s", "5m", "1h", "1d"],
        }
    ),
]
DurationOrNone: TypeAlias = Duration | None


_BYTES = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SIZE = re.compile(r"([0-9]{1,18})(?:(\.[0-9]{1,9})(?=[A-Za-z]))?([A-Za-z]{0,3})")
_LARGEST = 2**50
_EXPECTED_SIZE = "must be a size such as 100, 64KiB, 10MiB or 1GiB"


def byte_count(value: object) -> int:
    """A size from "64KiB", "10MB" or from a number of bytes."""
    if isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if found is None or found[3].lower() not in _BYTES:
            raise Unfit(_EXPECTED_SIZE, value)
        exact = float(found[1] + (found[2] or "")) if found[2] else int(found[1])
        value = exact * _BYTES[found[3].lower()]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LARGEST:
        raise Unfit(_EXPECTED_SIZE, value)
    if value != int(value):
        raise Unfit("must be a whole number of bytes", value)
    return int(value)


def size_text(value: int) -> str | int:
    """The spelling with the largest binary unit that leaves a whole number; a plain number when none does."""
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % _BYTES[unit.lower()] == 0:
            return f"{value // _BYTES[unit.lower()]}{unit}"
    return value


Size = Annotated[
    int,
    BeforeValidator(byte_count),
    PlainSerializer(size_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?([KkMmGg][Ii]?)?[Bb]|[0-9]+)$"},
            ],
            "examples": ["64KiB", "10MiB", 100],
        }
    ),
]


_SHARE = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)(%?)")


def share(value: object) -> float:
    """A share of 1 from "20%" or 0.2."""
    result = -1.0
    if isinstance(value, str):
        if found := _SHARE.fullmatch(value):
            result = float(found[1]) / 100 if found[2] else float(found[1])
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        result = float(value)
    if not 0 <= result <= 1:
        raise Unfit("must be a share between 0 and 1, such as 0.2 or 20%", value)
    return result


Share = Annotated[
    float,
    BeforeValidator(share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^((100|[0-9]{1,2}(\.[0-9]+)?)%|[01](\.[0-9]+)?)$"},
            ],
            "examples": ["20%", 0.2],
        }
    ),
]


_STATUSES = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", re.IGNORECASE)
_EXPECTED_STATUSES = "must be statuses such as 200-399, 2xx, 204 or [200, 204]"


@dataclass(frozen=True, slots=True)
class StatusSet:
    """Response statuses that count as one thing: `status in statuses`."""

    members: frozenset[int]

    @classmethod
    def of(cls, value: str | int | Iterable[int | str]) -> StatusSet:
        """From "200-399", "200,204", "2xx", 204 or [200, 204]."""
        if isinstance(value, str):
            parts: list[object] = [part.strip() for part in value.split(",")]
        elif isinstance(value, Iterable):
            parts = list(value)
        else:
            parts = [value]
        members: set[int] = set()
        for part in parts:
            found = None if isinstance(part, bool) else _STATUSES.fullmatch(str(part))
            if found is None:
                raise Unfit(_EXPECTED_STATUSES, value)
            if found[1]:
                members.update(range(int(found[1]) * 100, int(found[1]) * 100 + 100))
                continue
            first, last = int(found[2]), int(found[3] or found[2])
            if first > last:
                raise Unfit("must be a range that begins with its lower end, such as 200-399", value)
            members.update(range(first, last + 1))
        if not members:
            raise Unfit(_EXPECTED_STATUSES, value)
        return cls(frozenset(members))

    def __contains__(self, status: int) -> bool:
        return status in self.members

    def __str__(self) -> str:
        ranges: list[tuple[int, int]] = []
        for status in sorted(self.members):
            if ranges and ranges[-1][1] == status - 1:
                ranges[-1] = (ranges[-1][0], status)
            else:
                ranges.append((status, status))
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)

    @classmethod
    def _validated(cls, value: object) -> StatusSet:
        if isinstance(value, StatusSet):
            return value
        if isinstance(value, (str, int, list, tuple, set, frozenset)):
            return cls.of(value)
        raise Unfit(_EXPECTED_STATUSES, value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        number: JsonSchemaValue = {"type": "integer", "minimum": 100, "maximum": 599}
        text = {"type": "string", "pattern": r"^[1-5]([0-9]{2}|[xX]{2})(-[1-5][0-9]{2})?(,.+)?$"}
        several = {"type": "array", "items": {"anyOf": [number, text]}, "minItems": 1}
        return {"anyOf": [number, text, several], "examples": ["200-399", "2xx", [200, 204]]}
