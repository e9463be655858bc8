"""Requests and errors per second and latencies of the last minutes, from counts sampled once a second."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import add, gt, sub
from typing import Generic, Literal, NamedTuple, TypeVar

from balancer.tally import BOUNDS, ListenerTally, ServerTally
from balancer.telemetry.hit_ratio import HitRatios
from balancer.telemetry.report import Report

Number = TypeVar("Number", int, float)
Kind = Literal["client", "upstream", "timeout", "limit"]
Window = Literal["now", "ten_seconds", "minute", "five_minutes"]
Key = tuple[str, ...]
"""("listener", name), ("route", name), ("pool", name) or ("server", pool, name); () is everything."""
Buckets = dict[Key, Sequence[int]]

SECONDS: dict[Window, float] = {"now": 0.0, "ten_seconds": 10.0, "minute": 60.0, "five_minutes": 300.0}
STEP = 10.0
"""Seconds between two samples that are kept: a window is up to this much longer than its name."""
LATE = frozenset(("connect-timeout", "timeout"))
"""Of `ServerTally.failures`, those for want of time."""


class Counts(NamedTuple, Generic[Number]):
    """What is followed over time: as sums, or per second."""

    requests: Number  # answers, whatever their status
    errors_4xx: Number
    errors_5xx: Number
    # The same errors by whose fault they are.
    client: Number
    upstream: Number
    timeout: Number
    limit: Number
    # Attempts at a server that brought no answer.
    lost: Number
    late: Number
    bytes_in: Number
    bytes_out: Number


NOTHING = Counts(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def kind(status: int) -> Kind:
    """Whose fault an answer of 400 or more is: the client's, a server's, too little time or a limit."""
    if status in (408, 504):
        return "timeout"
    if status in (413, 414, 429, 431):
        return "limit"
    return "client" if status < 500 else "upstream"


def of_codes(codes: Mapping[int, int], bytes_in: int = 0, bytes_out: int = 0) -> Counts[int]:
    """Answers by status, told apart."""
    classes = {"errors_4xx": 0, "errors_5xx": 0}
    kinds: dict[Kind, int] = {"client": 0, "upstream": 0, "timeout": 0, "limit": 0}
    for status, count in codes.items():
        if status >= 400:
            classes["errors_5xx" if status >= 500 else "errors_4xx"] += count
            kinds[kind(status)] += count
    return NOTHING._replace(requests=sum(codes.values()), **classes, **kinds, bytes_in=bytes_in, bytes_out=bytes_out)


def of_server(tally: ServerTally) -> Counts[int]:
    late = sum(count for why, count in tally.failures.items() if why in LATE)
    return of_codes(tally.codes, tally.bytes_in, tally.bytes_out)._replace(
        lost=sum(tally.failures.values()) - late, late=late
    )


def of_listener(tally: ListenerTally) -> Counts[int]:
    codes: dict[int, int] = {}
    for (_, status), count in tally.requests.items():
        codes[status] = codes.get(status, 0) + count
    return of_codes(codes, tally.bytes_in, tally.bytes_out)


def total(parts: Iterable[Counts[int]]) -> Counts[int]:
    return Counts(*map(sum, zip(NOTHING, *parts, strict=True)))


class Mark(NamedTuple):
    """The counts of one moment."""

    at: float
    counts: dict[Key, Counts[int]]


class Recent:
    """The last five minutes, as a ring of samples that is as long on a busy day as on a quiet one.

    Only what one thing counted is kept; a pool is the sum of its servers' changes and the whole that of the
    listeners'. So a server that leaves takes its past along instead of turning a rate negative, and one whose
    counts began anew counts from zero.
    """

    def __init__(self) -> None:
        self._last: Mark | None = None
        self._before: Mark | None = None
        self._seconds: deque[Mark] = deque(maxlen=int(SECONDS["ten_seconds"]) + 1)
        self._marks: deque[Mark] = deque(maxlen=int(SECONDS["five_minutes"] / STEP) + 1)
        # Latencies are larger than counts, and asked for over one minute only.
        self._buckets: deque[tuple[float, Buckets]] = deque(maxlen=int(SECONDS["minute"] / STEP) + 1)
        self._live: Buckets = {}
        self.cache = HitRatios()

    def sample(self, now: float, report: Report) -> None:
        """Take in the counts of this moment: once a second."""
        self.cache.sample(now, report)
        self._before = self._last
        self._last = Mark(now, counted(report))
        self._seconds.append(self._last)
        self._live = latencies_of(report)
        if not self._marks or now - self._marks[-1].at >= STEP:
            self._marks.append(self._last)
            self._buckets.append((now, {key: array("Q", counts) for key, counts in self._live.items()}))

    def rates(self, key: Key, window: Window) -> Counts[float] | None:
        """Per second; None for what is not known, and until there were two samples."""
        last, base = self._last, self._base(window)
        if last is None or base is None or base.at >= last.at:
            return None
        parts = _parts(key, last.counts, "listener")
        if not parts:
            return None
        sums: Iterable[int] = NOTHING
        for part in parts:
            sums = map(add, sums, _change(base.counts.get(part), last.counts[part]))
        elapsed = last.at - base.at
        return Counts(*(change / elapsed for change in sums))

    def latencies(self, key: Key) -> list[int]:
        """What the last minute added to each bucket of `BOUNDS`."""
        sums = [0] * (len(BOUNDS) + 1)
        if self._last is None:
            return sums
        since = self._last.at - SECONDS["minute"]
        old = next((buckets for at, buckets in reversed(self._buckets) if at <= since), self._buckets[0][1])
        for part in _parts(key, self._live, "route"):
            sums = list(map(add, sums, _change(old.get(part), self._live[part])))
        return sums

    def _base(self, window: Window) -> Mark | None:
        """The youngest sample that is old enough, or the oldest there is."""
        if window == "now" or self._last is None:
            return self._before
        since = self._last.at - SECONDS[window]
        if window == "ten_seconds":
            return next((mark for mark in reversed(self._seconds) if mark.at <= since), self._seconds[0])
        return next((mark for mark in reversed(self._marks) if mark.at <= since), self._marks[0])


def counted(report: Report) -> dict[Key, Counts[int]]:
    """What each thing has counted by itself: what no server answered, of a pool."""
    counts: dict[Key, Counts[int]] = {}
    for name, listener in report.listeners.items():
        counts["listener", name] = of_listener(listener)
    for name, route in report.routes.items():
        counts["route", name] = of_codes(route.codes)
    for name, pool in report.pools.items():
        counts["pool", name] = of_codes(pool.tally.unserved)
    for (pool_name, name), server in report.servers():
        counts["server", pool_name, name] = of_server(server.tally)
    return counts


def latencies_of(report: Report) -> Buckets:
    """The live lists, so that an answer is right at the time of asking."""
    live: Buckets = {("route", name): route.latency.counts for name, route in report.routes.items()}
    for (pool, name), server in report.servers():
        live["server", pool, name] = server.tally.latency.counts
    return live


def kept_apart(key: Key, counts: Mapping[Key, Counts[int]]) -> Counts[int]:
    """What a thing and its parts have counted; () is everything."""
    return total([counts[part] for part in _parts(key, counts, "listener")])


def _parts(key: Key, known: Collection[Key], whole: str) -> list[Key]:
    """Those of the known things whose counts make up `key`'s; all of kind `whole` make up everything."""
    if not key:
        return [part for part in known if part[0] == whole]
    if key[0] == "pool":
        return [part for part in known if part[:2] in (key, ("server", key[1]))]
    return [key] if key in known else []


def _change(old: Sequence[int] | None, new: Sequence[int]) -> Iterable[int]:
    if old is None or any(map(gt, old, new)):
        return new
    return map(sub, new, old)
