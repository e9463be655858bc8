"""One limit that balancers share: what is decided with tokens of Redis, and what without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from typing import Literal, Protocol

from balancer.guarding.shared_bucket import Terms
from balancer.guards.gcra import Gcra
from balancer.guards.leases import LOW, SPENT, Leases, Lot
from balancer.guards.limiter import COUNTED, RATE, Counted, Policy
from balancer.guards.verdict import Answered, Refusal
from balancer.telemetry.limit_report import LimitReport
from config.guards import RateLimit


@dataclass(frozen=True, slots=True)
class Sharing:
    """Whether limits are shared at the moment; each balancer holds its share of them while they are not."""

    state: Literal["shared", "local"]
    reason: str | None
    """Why they are not."""
    since: datetime
    instances: int
    """Balancers known to share them."""


class Redis(Protocol):
    """Where tokens come from."""

    shares: bool
    clock: Callable[[], float]

    @property
    def sharing(self) -> Sharing | None: ...

    def up(self) -> bool:
        """Whether it can be asked now."""

    def order(self, policy: SharedPolicy, key: str, lot: Lot[Asking]) -> None:
        """Ask for tokens of a key."""

    def forget(self, policy: str, key: str) -> None:
        """Fill its bucket."""


class SharedPolicy:
    """One policy that is shared: its lots, and its own buckets for the time without Redis."""

    __slots__ = ("_down", "_local", "_lots", "_redis", "_settings", "leases", "name", "policy", "questions", "terms")

    def __init__(self, redis: Redis, policy: Policy) -> None:
        self.policy = policy
        self.name = policy.name
        self._redis = redis
        self._settings: RateLimit | None = None
        self._local = Gcra(1.0, 1, 1)
        self.questions = 0  # to Redis

    @property
    def down(self) -> str:
        """What is done without Redis."""
        return self._down

    def configure(self, settings: RateLimit, instances: int) -> None:
        """Take other settings. Tokens that are held lapse where the limit is another."""
        before, self._settings = self._settings, settings
        self._down = settings.on_redis_down
        if before is None or _limit(before) != _limit(settings):
            assert settings.rate is not None  # see SharedLimits.configure
            rate = settings.rate.count / settings.rate.period
            self.terms = Terms(rate, settings.most)
            self.leases = Leases[Asking](rate, settings.most, settings.max_keys, exact=settings.shared == "exact")
            self._lots = self.leases.lots
        self.share(instances)

    def share(self, instances: int) -> None:
        """So many balancers count together."""
        self.leases.share(instances)
        most = self.leases.burst
        self._local.configure(self.leases.interval * instances, ceil(most / instances), self.leases.most)

    def take(self, key: str, cost: int, now: float) -> float | Refusal | Asking | Counted:
        """Whether a request may pass; see `guards.limiter.Shared`."""
        lot = self._lots.get(key)
        if lot is not None:
            # The usual way, as `Leases.spend` has it. The key keeps its turn to be forgotten: it has been moved up when
            # the lot came, which is not long ago.
            left = lot.left - cost
            if left > lot.low and not lot.owed and now < lot.until:
                lot.left = left
                lot.spent += cost
                return SPENT
        if not cost:
            return SPENT
        leases = self.leases
        lot = leases.lot(key, now)
        said = leases.spend(lot, cost, now)
        if said >= SPENT:
            return said
        redis = self._redis
        if said == LOW:
            if redis.shares:
                redis.order(self, key, lot)
            return SPENT
        if redis.up():
            return Asking(self, key, cost)
        verdict = self.alone(key, cost, now)
        return COUNTED if verdict is None else verdict

    def wait(self, asking: Asking) -> None:
        """Somebody waits for what Redis says."""
        now = asking.since = self._redis.clock()
        lot = self.leases.lot(asking.key, now)
        self.leases.queue(lot, asking.cost, asking)
        if not lot.asked:
            self._redis.order(self, asking.key, lot)

    def verdict(self, key: str, said: float) -> Refusal | None:
        """What Redis has decided."""
        if said > SPENT:
            return self.policy.over(key, said)
        self.policy.tally.decisions["allowed"] += 1
        return None

    def forget(self, key: str) -> None:
        """Fill the bucket. Other balancers that have refused the key do so for as long as they had said."""
        self.leases.lots.pop(key, None)
        self._local.forget(key)
        self._redis.forget(self.name, key)

    def report(self, report: LimitReport) -> LimitReport:
        """What is told of the policy, with what is told of its sharing."""
        sharing = self._redis.sharing
        if sharing is None:
            return report
        mode = "fallback" if sharing.state == "local" else "exact" if self.leases.exact else "leased"
        return replace(
            report,
            mode=mode,
            reason=sharing.reason,
            since=sharing.since,
            instances=sharing.instances,
            keys=len(self.leases.lots),
            questions=self.questions,
            held=self.leases.held,
        )

    def alone(self, key: str, cost: int, now: float) -> Refusal | None:
        """What is decided without Redis."""
        policy = self.policy
        if self._down == "deny" and not policy.settings.dry_run:
            policy.tally.refused("fallback-denied", key)
            reason = "requests cannot be counted at the moment: try again in a while"
            return Refusal(503, reason, RATE, b"Retry-After: 1\r\n")
        if self._down == "local":
            local = self._local
            lot = self._lots.get(key)
            if lot is not None and lot.full > now:  # as empty as the bucket in Redis, by what was heard last
                local.owe(key, now + (lot.full - now) * local.tolerance * self.leases.rate / self.leases.burst)
            # What costs more than this balancer's share of the burst takes all of it, or it would never pass.
            if wait := local.take(key, min(cost, local.burst), now):
                return policy.over(key, wait, "fallback-limited")
        policy.tally.decisions["fallback"] += 1
        return None


class Asking:
    """A request that waits for Redis, the `Question` of a guard."""

    __slots__ = ("_answered", "_policy", "cost", "key", "since")

    def __init__(self, policy: SharedPolicy, key: str, cost: int) -> None:
        self._policy = policy
        self._answered: Answered | None = None
        self.key = key
        self.cost = cost
        self.since = 0.0

    def ask(self, answered: Answered) -> None:
        self._answered = answered
        self._policy.wait(self)

    def forget(self) -> None:
        """The tokens are taken all the same: the request has been made."""
        self._answered = None

    def tell(self, refusal: Refusal | None) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(refusal)


def _limit(settings: RateLimit) -> tuple[object, ...]:
    """What tokens are of."""
    return settings.rate, settings.most, settings.max_keys, settings.shared == "exact"
