"""Plain integers that the request path counts in; telemetry turns them into text when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import pairwise
from math import ceil, log

EXPORTED = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper bounds, in seconds, that Prometheus is shown."""


RELATIVE_ERROR = 0.1
"""By how much of itself a quantile may be off, between `SHORTEST` and the last bound."""
SHORTEST = 0.0001
"""Seconds."""


def _finer(bounds: tuple[float, ...]) -> tuple[float, ...]:
    """Put geometric steps between the bounds: each is at most by `RELATIVE_ERROR` above the one before."""
    fine: list[float] = []
    for low, high in pairwise((SHORTEST, *bounds)):
        steps = ceil(log(high / low) / log(1 + RELATIVE_ERROR))
        fine += [low * (high / low) ** (step / steps) for step in range(steps)]
    return (*fine, bounds[-1])


BOUNDS = _finer(EXPORTED)
"""The upper bounds that are counted; holds every one of `EXPORTED`."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))
"""Label values for methods; every other one counts as OTHER."""


class Histogram:
    """Latencies by bucket: `counts[i]` are those up to `BOUNDS[i]` and above the bound before, the last is the rest."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class ServerTally:
    """What one server was asked and answered."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "codes",
        "connects",
        "ejections",
        "failures",
        "latency",
        "requests",
        "retries",
    )

    def __init__(self) -> None:
        self.requests = 0  # exchanges sent to it, retries included
        self.codes: defaultdict[int, int] = defaultdict(int)  # answers by status
        self.failures: defaultdict[str, int] = defaultdict(
            int
        )  # by kind: connect, connect-timeout, reset, timeout, malformed
        self.retries: defaultdict[str, int] = defaultdict(int)  # requests taken away from it, by reason
        self.latency = Histogram()  # last request byte to first response byte
        self.connects = 0
        self.ejections = 0
        self.bytes_in = 0  # from the server, heads included
        self.bytes_out = 0  # to the server, heads included


class RouteTally:
    """What came of one route's requests."""

    __slots__ = (
        "bytes_out",
        "cache",
        "codes",
        "compression_declined",
        "compression_in",
        "compression_out",
        "guarded",
        "latency",
        "tags_left_out",
    )

    def __init__(self) -> None:
        self.bytes_out = 0  # response bodies
        self.cache: defaultdict[str, int] = defaultdict(int)  # requests of a cached route by `Decision.cache`
        self.codes: defaultdict[int, int] = defaultdict(int)
        self.compression_declined = 0  # answers sent as they are since too many were being compressed
        self.compression_in: defaultdict[str, int] = defaultdict(int)  # bytes of bodies by coding, before it
        self.compression_out: defaultdict[str, int] = defaultdict(int)  # and after it
        self.guarded: defaultdict[str, int] = defaultdict(int)  # requests that a guard refused, by why
        self.latency = Histogram()  # request head complete to last response byte
        self.tags_left_out = 0  # of answers to the CDN: its field had no room for them


class AuthTally:
    """What one of `auth` said of requests."""

    __slots__ = ("results",)

    def __init__(self) -> None:
        self.results: defaultdict[str, int] = defaultdict(int)
        """passed, missing, malformed, wrong, expired, forbidden, limited, denied, unavailable."""


class RequireCdnTally:
    """How requests came that have to come through a CDN."""

    __slots__ = ("results",)

    def __init__(self) -> None:
        self.results: defaultdict[str, int] = defaultdict(int)
        """through; allowed: past it, as they may; address, secret: past it, as that was not the CDN's."""


class IssuerTally:
    """How it went with the keys of one issuer of tokens."""

    __slots__ = ("failures", "fetched", "keys")

    def __init__(self) -> None:
        self.fetched = 0
        self.failures = 0
        self.keys = 0  # that are in use; in a sum over planes those of all


class RangesTally:
    """How it went with the networks of one CDN."""

    __slots__ = ("failures", "fetched")

    def __init__(self) -> None:
        self.fetched = 0
        self.failures = 0


class CacheTally:
    """What the cache of a plane did, beside the requests it answered."""

    __slots__ = ("collapsed", "fills", "invalidated", "purges", "refreshes", "refused")

    def __init__(self) -> None:
        self.fills = 0  # answers that servers were asked for on behalf of the cache
        self.collapsed = 0  # requests that waited for one of them
        self.refreshes = 0  # of them those for what was served stale meanwhile
        self.refused: defaultdict[str, int] = defaultdict(int)  # answers that were not stored, by reason
        self.purges: defaultdict[str, int] = defaultdict(int)  # by kind
        self.invalidated = 0  # answers that were dropped since a request had changed something


class PoolTally:
    """What happened to a pool as a whole; the sums over its servers are taken when somebody asks."""

    __slots__ = ("budget_exhausted", "panics", "plugin_errors", "queue_timeouts", "queued", "unserved")

    def __init__(self) -> None:
        self.queued = 0  # requests that had to wait
        self.queue_timeouts = 0
        self.unserved: defaultdict[int, int] = defaultdict(int)  # answers that no server gave, by status
        self.panics = 0  # times the pool began to fail open
        self.plugin_errors = 0
        self.budget_exhausted = 0  # retries that the budget refused


class ListenerTally:
    """What one listener took in and gave out."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "connections",
        "handshake_errors",
        "handshakes",
        "open",
        "rejected",
        "requests",
        "tunnels",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.handshakes = 0  # of TLS, that were completed
        self.handshake_errors: defaultdict[str, int] = defaultdict(int)  # those that were not, by kind
        self.rejected: defaultdict[str, int] = defaultdict(int)  # connections closed or heads refused, by reason
        self.requests: defaultdict[tuple[str, int], int] = defaultdict(
            int
        )  # by method (of METHODS or OTHER) and status
        self.bytes_in = 0  # request bodies
        self.bytes_out = 0  # response bodies
        self.tunnels = 0  # open now
