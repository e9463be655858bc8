"""A distribution's traffic by CloudWatch: sums and rates of CloudFront, one call for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from balancer.cdn.aws.account import Service
from balancer.cdn.errors import Invalid, MissingRight, ProtocolError, Unavailable
from balancer.cdn.types import CdnStats, StatPoint

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400
KEPT: Final = ((15 * DAY, MINUTE), (63 * DAY, 5 * MINUTE), (455 * DAY, HOUR))
"""Seconds that points are kept, and the seconds that one of them is of; from the finest on."""
MOST_POINTS: Final = 100_800
"""In one call, of all metrics together."""
MOST_PAGES: Final = 20
METRICS: Final = {
    "requests": ("Requests", "Sum"),
    "bytes_out": ("BytesDownloaded", "Sum"),
    "rate_4xx": ("4xxErrorRate", "Average"),
    "rate_5xx": ("5xxErrorRate", "Average"),
    "hit_rate": ("CacheHitRate", "Average"),
}
"""By our names, each with the one statistic that means something for it. Rates are in percent."""
_NO_ORIGIN: Final = "CloudFront does not count what it fetches from the balancer"
_NO_HITS: Final = "CacheHitRate is not there: switch on the distribution's additional metrics (they are paid for)"
_NO_RATE: Final = "CloudWatch has no such rate for this period"

Points = Mapping[datetime, float]


@dataclass(slots=True)
class _Sum:
    requests: float = 0.0
    bytes: float = 0.0
    hits: float | None = None


@dataclass(slots=True)
class Series:
    """What came, by metric and time."""

    points: dict[str, dict[datetime, float]] = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)
    """Metrics of which not everything came."""

    def add(self, results: Iterable[Mapping[str, Any]]) -> None:
        for result in results:
            points = self.points.setdefault(result["Id"], {})
            for at, value in zip(result.get("Timestamps") or (), result.get("Values") or (), strict=False):
                points[at.astimezone(UTC)] = float(value)
            if result.get("StatusCode") in ("InternalError", "Forbidden"):
                self.partial.add(result["Id"])

    def of(self, name: str) -> Points:
        return self.points.get(name, {})


class Statistics:
    """Asks for one distribution, in us-east-1, where CloudFront reports from all over the world."""

    def __init__(self, service: Service, distribution: str) -> None:
        self._service = service
        self._distribution = distribution

    async def stats(self, from_: datetime, to: datetime, interval_s: int, now: datetime) -> CdnStats:
        """The period in whole intervals, as fine as points are kept for its age. CdnError, as of any call."""
        start, end, period = grid(from_, to, interval_s, now)
        series = await self._series(start, end, period)
        return summed(series, start, end, period)

    async def _series(self, start: datetime, end: datetime, period: int) -> Series:
        asked: dict[str, object] = {
            "MetricDataQueries": queries(self._distribution, period),
            "StartTime": start,
            "EndTime": end,
            "ScanBy": "TimestampAscending",
        }
        series = Series()
        about = f"distribution {self._distribution}"
        for _ in range(MOST_PAGES):
            answer = await self._service.call("get_metric_data", asked, about=about)
            series.add(answer.get("MetricDataResults") or ())
            token = answer.get("NextToken")
            if not token:
                break
            asked["NextToken"] = token
        else:
            raise ProtocolError(
                f"cloudwatch answered with more than {MOST_PAGES} pages: ask for a shorter period", provider="aws"
            )
        if series.partial == METRICS.keys():
            raise MissingRight("the credential may not read metrics; allow cloudwatch:GetMetricData", provider="aws")
        if series.partial & {"requests", "bytes_out"}:
            raise Unavailable("cloudwatch could not read all of the metrics; ask again", provider="aws")
        return series


def queries(distribution: str, period: int) -> Sequence[Mapping[str, object]]:
    """What is asked, one for each metric."""
    dimensions = [{"Name": "DistributionId", "Value": distribution}, {"Name": "Region", "Value": "Global"}]
    return [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/CloudFront", "MetricName": metric, "Dimensions": dimensions},
                "Period": period,
                "Stat": statistic,
            },
            "ReturnData": True,
        }
        for name, (metric, statistic) in METRICS.items()
    ]


def grid(from_: datetime, to: datetime, interval_s: int, now: datetime) -> tuple[datetime, datetime, int]:
    """Beginning, end and interval as CloudWatch can tell them: whole intervals, no finer than what is kept of that age,
    and no more of them than one call gives. Invalid: the period has not begun, or nothing is kept of it."""
    if from_ >= to:
        raise Invalid("the period has to begin before it ends")
    age = (now - from_).total_seconds()
    finest = next((period for kept, period in KEPT if age <= kept), None)
    if finest is None:
        raise Invalid(f"CloudWatch keeps nothing for longer than {KEPT[-1][0] // DAY} days: ask for a later period")
    length = (to - from_).total_seconds()
    coarse = length * len(METRICS) / MOST_POINTS
    period = -(-max(interval_s, finest, int(coarse) + 1) // finest) * finest
    start = datetime.fromtimestamp(from_.timestamp() // period * period, UTC)
    end = datetime.fromtimestamp(-(-to.timestamp() // period) * period, UTC)
    return start, end, period


def summed(series: Series, start: datetime, end: datetime, period: int) -> CdnStats:
    """All of it. Rates are weighted by the requests that they are of: an hour at night counts for what it was."""
    requests, hit_rates = series.of("requests"), series.of("hit_rate")
    missing = {"bytes_origin": _NO_ORIGIN}
    weighted = {name: _weighted(series.of(name), requests) for name in ("rate_4xx", "rate_5xx", "hit_rate")}
    total = round(sum(requests.values()))
    ratio = weighted["hit_rate"]
    if ratio is None:
        missing["hit_ratio"] = missing["hits"] = "there was no request" if not total else _NO_HITS
    counts: dict[str, int | None] = {}
    for name, rate in (("status_4xx", weighted["rate_4xx"]), ("status_5xx", weighted["rate_5xx"])):
        counts[name] = 0 if not total else round(total * rate) if rate is not None else None
        if counts[name] is None:
            missing[name] = _NO_RATE
    points: dict[datetime, _Sum] = {}
    for at, count in requests.items():
        if start <= at < end:
            point = points.setdefault(_floor(at, start, period), _Sum())
            point.requests += count
            if at in hit_rates:
                point.hits = (point.hits or 0.0) + count * hit_rates[at] / 100
    for at, count in series.of("bytes_out").items():
        if start <= at < end:
            points.setdefault(_floor(at, start, period), _Sum()).bytes += count
    return CdnStats(
        start,
        end,
        period,
        requests=total,
        bytes_out=round(sum(series.of("bytes_out").values())),
        hits=round(total * ratio) if ratio is not None else None,
        hit_ratio=ratio,
        status_4xx=counts["status_4xx"],
        status_5xx=counts["status_5xx"],
        missing=missing,
        series=tuple(
            StatPoint(at, round(one.requests), round(one.bytes), round(one.hits) if one.hits is not None else None)
            for at, one in sorted(points.items())
        ),
    )


def _weighted(rates: Points, requests: Points) -> float | None:
    """0 to 1; None: there is no rate, or no request that it would be of."""
    weight = sum(requests.get(at, 0.0) for at in rates)
    if not weight:
        return None
    return min(max(sum(rate * requests.get(at, 0.0) for at, rate in rates.items()) / weight / 100, 0.0), 1.0)


def _floor(at: datetime, start: datetime, period: int) -> datetime:
    return start + timedelta(seconds=(at - start).total_seconds() // period * period)
