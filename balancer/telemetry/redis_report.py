"""What a plane hands over about its way to Redis, whatever uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from balancer.tally import Histogram
from balancer.telemetry.sums import add_up, merge

NODE_STATES = ("up", "open", "half-open")
STATES = ("up", "partial", "half-open", "open", "off")
"""The further right, the worse."""


class NodeReport(NamedTuple):
    """One server, or what sentinels know as one."""

    name: str
    """host:port, or a path."""
    state: str
    """up; open while it fails and is not asked; half-open while it is probed."""
    reason: str | None
    """Of its last failure; null when its last command was answered."""


@dataclass(frozen=True, slots=True)
class RedisReport:
    """The gateway of one plane, or the sum of several."""

    state: str
    """up; partial while some nodes of a cluster are not asked; open or half-open while nothing is."""
    reason: str | None = None
    waiting: int = 0
    """Commands without an answer."""
    nodes: tuple[NodeReport, ...] = ()
    commands: Mapping[str, int] = field(default_factory=dict)
    """By result: ok, or why there was none."""
    seconds: Histogram = field(default_factory=Histogram)
    """Of commands that were answered."""
    opened: int = 0
    """Times that a node was left alone, since it had failed."""
    connects: int = 0
    redirected: int = 0
    """Commands that had to be sent to another node of the cluster."""

    @property
    def up(self) -> bool:
        return self.state in ("up", "partial")

    def by_state(self) -> dict[str, int]:
        """Nodes by state."""
        return {state: sum(node.state == state for node in self.nodes) for state in NODE_STATES}


def add(reports: Sequence[RedisReport]) -> RedisReport | None:
    """The sum of several planes, in the state of the worst; None for none."""
    if len(reports) < 2:
        return reports[0] if reports else None
    worst = max(reports, key=lambda report: STATES.index(report.state))
    return RedisReport(
        state=worst.state,
        reason=worst.reason,
        waiting=sum(report.waiting for report in reports),
        nodes=worst.nodes,
        commands=add_up([dict(report.commands) for report in reports]),
        seconds=merge([report.seconds for report in reports]),
        opened=sum(report.opened for report in reports),
        connects=sum(report.connects for report in reports),
        redirected=sum(report.redirected for report in reports),
    )
