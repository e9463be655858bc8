"""Cloudflare's sets of statistics: how each is asked for, and what an answer looks like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from balancer.cdn.errors import ProtocolError

HOUR: Final = 3600
DAY: Final = 86_400

Set = Literal["httpRequests1hGroups", "httpRequests1dGroups", "httpRequestsAdaptiveGroups"]
HOURLY: Final[Set] = "httpRequests1hGroups"
DAILY: Final[Set] = "httpRequests1dGroups"
SAMPLED: Final[Set] = "httpRequestsAdaptiveGroups"
"""Estimates from a part of the requests; the other two are exact."""
SETS: Final[tuple[Set, ...]] = (HOURLY, DAILY, SAMPLED)
GRAIN: Final[Mapping[Set, int]] = {HOURLY: HOUR, DAILY: DAY, SAMPLED: HOUR}
"""Seconds of one row."""
HITS: Final = frozenset(("hit", "stale", "revalidated", "updating"))
"""Of a sample's cacheStatus: answered from the cache, whether or not the origin was asked about it."""

_EXACT: Final = "sum { requests cachedRequests bytes cachedBytes }"
_SAMPLE: Final = "count sum { edgeResponseBytes } dimensions { datetimeHour cacheStatus }"


def limits_query(sets: Iterable[Set] = SETS) -> str:
    """With the variable zone."""
    wanted = " ".join(f"{one} {{ enabled maxDuration maxPageSize notOlderThan }}" for one in sets)
    return _of_zone("$zone: string", f"settings {{ {wanted} }}")


def query(chosen: Set, limit: int) -> str:
    """With the variables zone, from and to."""
    if chosen == DAILY:
        found = f"filter: {{date_geq: $from, date_leq: $to}}, orderBy: [date_ASC]) {{ dimensions {{ date }} {_EXACT} }}"
        return _of_zone("$zone: string, $from: Date, $to: Date", f"{chosen}(limit: {limit}, {found}")
    if chosen == HOURLY:
        found = (
            "filter: {datetime_geq: $from, datetime_lt: $to}, orderBy: [datetime_ASC]) "
            f"{{ dimensions {{ datetime }} {_EXACT} }}"
        )
    else:
        found = (
            'filter: {datetime_geq: $from, datetime_lt: $to, requestSource: "eyeball"}, orderBy: [datetimeHour_ASC]) '
            f"{{ {_SAMPLE} }}"
        )
    return _of_zone("$zone: string, $from: Time, $to: Time", f"{chosen}(limit: {limit}, {found}")


def bounds(chosen: Set, since: datetime, until: datetime) -> dict[str, str]:
    """The variables from and to; days are named, and the last one is among them."""
    if chosen == DAILY:
        return {"from": f"{since:%Y-%m-%d}", "to": f"{until - timedelta(days=1):%Y-%m-%d}"}
    return {"from": f"{since:%Y-%m-%dT%H:%M:%SZ}", "to": f"{until:%Y-%m-%dT%H:%M:%SZ}"}


def _of_zone(variables: str, what: str) -> str:
    return f"query({variables}) {{ viewer {{ zones(filter: {{zoneTag: $zone}}) {{ {what} }} }} }}"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore")


class SetLimits(_Shape):
    """What one query of a data set may cover, and how far back; seconds and rows."""

    enabled: bool = False
    longest: int = Field(DAY, alias="maxDuration")
    page: int = Field(10_000, alias="maxPageSize")
    oldest: int = Field(30 * DAY, alias="notOlderThan")


class _Sums(_Shape):
    requests: int = 0
    cached: int = Field(0, alias="cachedRequests")
    bytes: int = 0
    sampled_bytes: int = Field(0, alias="edgeResponseBytes")


class _Dimensions(_Shape):
    datetime: str = ""
    date: str = ""
    hour: str = Field("", alias="datetimeHour")
    status: str = Field("", alias="cacheStatus")


class Row(_Shape):
    """One hour or day; of a sample, of one cache status."""

    dimensions: _Dimensions
    sum: _Sums
    count: int = 0

    @property
    def at(self) -> datetime:
        """Its beginning. ProtocolError: it has none."""
        text = self.dimensions.datetime or self.dimensions.hour or self.dimensions.date
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ProtocolError(f"cloudflare answered with statistics of {text[:40]!r}, which is no time") from None
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class Zone(_Shape):
    """What was asked for of the one zone."""

    settings: dict[str, SetLimits | None] = Field(default_factory=dict)
    hourly: list[Row] = Field(default_factory=list, alias="httpRequests1hGroups")
    daily: list[Row] = Field(default_factory=list, alias="httpRequests1dGroups")
    sampled: list[Row] = Field(default_factory=list, alias="httpRequestsAdaptiveGroups")

    def rows(self, chosen: Set) -> list[Row]:
        return {HOURLY: self.hourly, DAILY: self.daily, SAMPLED: self.sampled}[chosen]


class _Viewer(_Shape):
    zones: list[Zone]


class _Data(_Shape):
    viewer: _Viewer


class Found(_Shape):
    """A whole answer."""

    data: _Data
