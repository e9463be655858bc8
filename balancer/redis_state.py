"""How it goes with Redis: what is counted, and what is known of its state."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

from balancer.tally import Histogram

Phase = Literal["off", "up", "partial", "open", "half-open"]
"""partial: some nodes of a cluster are not used; open, half-open: nothing is asked until a probe is answered."""


class Unavailable(Exception):
    """A command was not answered as it should have been; the message is one word, such as timeout or OOM."""

    @property
    def why(self) -> str:
        return str(self)


class GatewayCounts:
    """What only grows."""

    __slots__ = ("connects", "latency", "opened", "redirected", "results")

    def __init__(self) -> None:
        self.results: defaultdict[str, int] = defaultdict(int)  # commands by "ok" or why they were not answered
        self.latency = Histogram()  # from asking to the answer
        self.opened = 0  # times that a breaker has opened
        self.connects = 0  # connections made
        self.redirected = 0  # commands that another node of the cluster was asked


class GatewayState:
    """How it goes, for the status, the log and the metrics. Nodes of a cluster have one each, and count as one."""

    __slots__ = ("counts", "phase", "reason")

    def __init__(self, phase: Phase, reason: str | None, counts: GatewayCounts | None = None) -> None:
        self.phase: Phase = phase
        self.reason = reason  # of the last failure; None when the last command was answered
        self.counts = counts or GatewayCounts()

    @property
    def results(self) -> defaultdict[str, int]:
        return self.counts.results

    @property
    def latency(self) -> Histogram:
        return self.counts.latency

    @property
    def opened(self) -> int:
        return self.counts.opened

    @property
    def connects(self) -> int:
        return self.counts.connects
