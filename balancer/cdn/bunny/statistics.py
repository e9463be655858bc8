"""Bunny's figures of a pull zone, as ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import BaseModel, Field

from balancer.cdn.types import CdnStats, StatPoint

HOUR: Final = 3600
DAY: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Chart = dict[str, float | None]
Series = Mapping[datetime, float]


class Figures(BaseModel):
    """What GET /statistics answers, as far as it is looked at. Every part of it may be missing."""

    bandwidth: float | None = Field(None, alias="TotalBandwidthUsed")
    origin: float | None = Field(None, alias="TotalOriginTraffic")
    requests: float | None = Field(None, alias="TotalRequestsServed")
    hit_rate: float | None = Field(None, alias="CacheHitRate")
    bandwidth_chart: Chart | None = Field(None, alias="BandwidthUsedChart")
    origin_chart: Chart | None = Field(None, alias="OriginTrafficChart")
    requests_chart: Chart | None = Field(None, alias="RequestsServedChart")
    pulled_chart: Chart | None = Field(None, alias="PullRequestsPulledChart")
    errors_4xx: Chart | None = Field(None, alias="Error4xxChart")
    errors_5xx: Chart | None = Field(None, alias="Error5xxChart")


def interval(wanted_s: int) -> int:
    """Bunny counts by hours or by days."""
    return HOUR if wanted_s < DAY else DAY


def query(from_: datetime, to: datetime, interval_s: int, pull_zone_id: int) -> dict[str, str]:
    """The parameters. Without the flags most of the charts do not come."""
    flags = ("loadErrors", "loadRequestsServed", "loadBandwidthUsed", "loadOriginTraffic")
    return {
        "dateFrom": _written(from_),
        "dateTo": _written(to),
        "pullZone": str(pull_zone_id),
        "hourly": "true" if interval_s == HOUR else "false",
        **dict.fromkeys(flags, "true"),
    }


def read(figures: Figures, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
    """The figures of the intervals that begin within the period.

    What there is a chart of is summed up: Bunny rounds a period to whole days, and its totals would be of more.
    """
    missing: dict[str, str] = {}
    unread: set[str] = set()
    start = _floor(from_, interval_s)

    def chart(found: Chart | None) -> Series | None:
        return _within(found, start, to, unread) if found else None

    requests, pulled = chart(figures.requests_chart), chart(figures.pulled_chart)
    bandwidth = chart(figures.bandwidth_chart)
    hits = None
    if requests is not None and pulled is not None:
        hits = {at: max(count - pulled.get(at, 0.0), 0.0) for at, count in requests.items()}
    total = _total(requests, figures.requests)
    hit_total = _total(hits, None)
    ratio = hit_total / total if hit_total is not None and total else None
    if ratio is None:
        ratio = _share(figures.hit_rate, total, missing)
    if hit_total is None:
        missing["hits"] = "Bunny said nothing of the requests that it pulled"
    errors = {
        "status_4xx": _errors(chart(figures.errors_4xx), figures.errors_4xx),
        "status_5xx": _errors(chart(figures.errors_5xx), figures.errors_5xx),
    }
    found: dict[str, int | None] = {
        "requests": total,
        "bytes_out": _total(bandwidth, figures.bandwidth),
        "bytes_origin": _total(chart(figures.origin_chart), figures.origin),
        **errors,
    }
    missing |= {name: "Bunny did not say" for name, value in found.items() if value is None}
    if unread:
        some = ", ".join(repr(key) for key in sorted(unread)[:3])
        missing["series"] = f"{len(unread)} times are not as expected, and left out: {some}"
    return CdnStats(
        start,
        to,
        interval_s,
        requests=found["requests"],
        bytes_out=found["bytes_out"],
        bytes_origin=found["bytes_origin"],
        hits=hit_total,
        hit_ratio=ratio,
        status_4xx=found["status_4xx"],
        status_5xx=found["status_5xx"],
        missing=missing,
        series=_series(requests or {}, bandwidth or {}, hits or {}),
    )


def moment(key: str) -> datetime | None:
    """A time of a chart; without a zone it is UTC. None: it is none."""
    try:
        found = datetime.fromisoformat(key.strip())
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _within(chart: Chart, start: datetime, to: datetime, unread: set[str]) -> Series:
    series: dict[datetime, float] = {}
    for key, value in chart.items():
        at = moment(key)
        if at is None:
            unread.add(key[:40])
        elif start <= at < to and value is not None and _is_count(value):
            series[at] = series.get(at, 0.0) + value
    return series


def _total(series: Series | None, said: float | None) -> int | None:
    if series is not None:
        return round(sum(series.values()))
    return round(said) if said is not None and _is_count(said) else None


def _is_count(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _errors(series: Series | None, came: Chart | None) -> int | None:
    """An empty chart says that there were none; a missing one says nothing."""
    return _total(series if series is not None or came is None else {}, None)


def _share(rate: float | None, requests: int | None, missing: dict[str, str]) -> float | None:
    """A rate in percent as a share."""
    if rate is None or not _is_count(rate) or not requests:
        missing["hit_ratio"] = "Bunny did not say" if requests else "there were no requests"
        return None
    if rate <= 1:
        missing["hit_ratio"] = f"Bunny said {rate:g}, which is taken for a share; it may be percent"
        return rate
    return min(rate / 100, 1.0)


def _series(requests: Series, bandwidth: Series, hits: Series) -> tuple[StatPoint, ...]:
    def at(series: Series) -> Callable[[datetime], int | None]:
        return lambda when: round(series[when]) if when in series else None

    times: Iterable[datetime] = sorted({*requests, *bandwidth})
    counts, size, hit = at(requests), at(bandwidth), at(hits)
    return tuple(StatPoint(when, counts(when), size(when), hit(when)) for when in times)


def _floor(at: datetime, interval_s: int) -> datetime:
    return at - (at - _EPOCH) % timedelta(seconds=interval_s)


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
