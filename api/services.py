"""Everything the operations are given to work with; the composition root puts it together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

from api.auth import Keyring
from api.pace import Pace
from api.sessions import Sessions
from api.streams import Streams
from api.trail import AuditTrail
from balancer.alerting.service import AlertService
from balancer.analytics.service import AnalyticsService
from balancer.cdn.service import CdnService
from balancer.control import Control
from balancer.databases.service import Databases
from balancer.redis_link import RedisLink
from balancer.telemetry.changes_seen import ChangesSeen
from balancer.telemetry.error_groups import ErrorGroups
from balancer.telemetry.happenings import Happenings
from balancer.telemetry.history import History
from balancer.telemetry.last_errors import Failed
from balancer.telemetry.metrics import Metrics
from balancer.telemetry.process import LoopLag, Process
from balancer.telemetry.rates import Recent


def _nothing_dropped() -> Mapping[str, int]:
    return {}


@dataclass
class Services:
    """The rooms that the API looks into. It changes things through `control` alone."""

    control: Control
    keyring: Keyring
    recent: Recent
    """Sampled once a second by whoever owns the loop."""
    metrics: Metrics
    process: Process
    lag: LoopLag
    redis: RedisLink
    cdn: CdnService
    analytics: AnalyticsService
    databases: Databases
    alerts: AlertService
    trail: AuditTrail = field(default_factory=AuditTrail)
    history: History = field(default_factory=History)
    """Sampled with `recent`."""
    error_groups: ErrorGroups = field(default_factory=ErrorGroups)
    errors: Iterable[Failed] = ()
    """The last requests that went wrong, the latest first."""
    loop: str = "asyncio"
    """The event loop's name, for those who compare figures."""
    dropped: Callable[[], Mapping[str, int]] = _nothing_dropped
    """Log lines given up, by log."""
    clock: Callable[[], float] = monotonic
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    sessions: Sessions = field(init=False)
    pace: Pace = field(init=False)
    health_seen: ChangesSeen[str] = field(default_factory=ChangesSeen)
    """Since when each check of health says what it says."""
    happenings: Happenings = field(default_factory=Happenings)
    streams: Streams = field(default_factory=Streams)
    """Who follows what happens."""
    requests: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Requests to the API by status (owner: api.app)."""

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.clock)
        self.pace = Pace(lambda: self.control.snapshot.config.admin.rate_limit, self.clock)

    def moment(self, then: float) -> datetime:
        """When a monotonic time was, or will be, by the wall clock."""
        return datetime.fromtimestamp(self.wall().timestamp() + then - self.clock(), UTC)
