"""A rate such as 100/s: how many in which time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import core_schema

from config.problems import Unfit

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(r"([0-9]{1,9})/(?:([0-9]{1,5}))?(s|m|h|d)")
_EXPECTED = "must be a rate such as 100/s, 600/m or 5/10s"
_LONGEST = 30 * 86400.0
"""Seconds: what is remembered of a client lives that long, and in memory only."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` in each `period` seconds."""

    count: int
    period: float

    @classmethod
    def of(cls, text: str) -> Rate:
        found = _RATE.fullmatch(text)
        if found is None:
            raise Unfit(_EXPECTED, text)
        count, period = int(found[1]), int(found[2] or 1) * _PERIODS[found[3]]
        if not count or not 0 < period <= _LONGEST:
            raise Unfit("must be a rate of 1 at least, in at most 30 days, such as 100/s or 5/10m", text)
        return cls(count, period)

    @property
    def interval(self) -> float:
        """Seconds from one to the next."""
        return self.period / self.count

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            number, rest = divmod(self.period, _PERIODS[unit])
            if not rest:
                return f"{self.count}/{'' if number == 1 else f'{number:.0f}'}{unit}"
        raise AssertionError("a period is a whole number of seconds")

    @classmethod
    def _validated(cls, value: object) -> Rate:
        if isinstance(value, Rate):
            return value
        if isinstance(value, str):
            return cls.of(value)
        raise Unfit(_EXPECTED, value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^[0-9]{1,9}/[0-9]{0,5}[smhd]$", "examples": ["100/s", "600/m", "5/10s"]}
