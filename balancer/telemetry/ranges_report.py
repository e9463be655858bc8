"""What is told of the networks of a CDN that `trusted_proxies` names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from balancer.tally import RangesTally


@dataclass(frozen=True, slots=True)
class RangesReport:
    """Those of one CDN, as they are in force. The tally is the live one."""

    networks: int
    at: float
    """When they were published or fetched, in Unix time; 0 where none are known."""
    origin: Literal["shipped", "disk", "fetched", "none"]
    """shipped: with the balancer; disk: fetched before the last start; fetched: since then; none: there are none."""
    tally: RangesTally
