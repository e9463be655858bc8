"""Policies that limit how often, and how many at a time."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from math import ceil
from typing import Final, Literal, NamedTuple, Protocol

from balancer.decision import Decision
from balancer.guards.address import Networks, client_key
from balancer.guards.gcra import NEVER, Gcra
from balancer.guards.keys import key_of
from balancer.guards.rulings import NamedKey, Ruling, UnknownKey, masked_key, name_of, text_of
from balancer.guards.verdict import Question, Refusal, Verdict
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client
from config.guards import RateLimit, RouteLimit

Step = Callable[[RequestHead, Client, Decision], Verdict]
MOST_TOP: Final = 1000
"""Keys whose refusals are counted one by one."""
MOST_ORDERS: Final = 10_000
"""Keys that an operator may have lifted or blocked at a time."""
TOO_MANY: Final = 429
RATE: Final = "rate-limit"
CONCURRENCY: Final = "concurrency"
BLOCKED: Final = "blocked"
DRY_RUN: Final = "dry-run"
_LONGEST_WAIT: Final = 86400
"""Seconds that a client is told to wait, at most: what it is told is an integer, and the balancer may be restarted."""


class LimitTally:
    """What one policy decided."""

    __slots__ = ("decisions", "limited")

    def __init__(self) -> None:
        self.decisions: defaultdict[str, int] = defaultdict(int)
        """allowed, exempt, lifted, limited, concurrency, blocked, dry-run; and those of shared limits."""
        self.limited: OrderedDict[str, int] = OrderedDict()
        """Refusals by key; the one that was not refused for the longest time is forgotten first."""

    def refused(self, word: str, key: str) -> None:
        self.decisions[word] += 1
        limited = self.limited
        limited[key] = limited.pop(key, 0) + 1
        if len(limited) > MOST_TOP:
            limited.popitem(last=False)


class Standing(NamedTuple):
    """What an operator has ordered for one key."""

    order: Literal["lift", "block"]
    until: float
    """Monotonic."""


class Hold(NamedTuple):
    """A place that a request has until it is over."""

    policy: Policy
    key: str

    def release(self) -> None:
        places = self.policy.places
        left = places[self.key] - 1
        if left:
            places[self.key] = left
        else:
            del places[self.key]


class Shared(Protocol):
    """What a policy asks in place of its own buckets, where balancers count together."""

    def take(self, key: str, cost: int, now: float) -> float | Refusal | Question | Counted:
        """0.0: it may pass; seconds: not before then; or that for which all has been counted."""

    def forget(self, key: str) -> None:
        """Fill the bucket of a key."""


class Counted:
    """A request passes, and has been counted already."""


COUNTED: Final = Counted()


class Policy:
    """One of `rate_limits`, with what it knows of its keys. Over reloads it is kept as long as its name and key are."""

    __slots__ = ("buckets", "exempt", "fields", "name", "places", "rulings", "settings", "shared", "tally")

    def __init__(self, name: str, settings: RateLimit) -> None:
        self.name = name
        self.tally = LimitTally()
        self.places: dict[str, int] = {}  # requests under way by key: as many as there are requests, at most
        self.rulings: dict[str, Standing] = {}
        self.buckets = Gcra(1.0, 1, 1)
        self.shared: Shared | None = None  # set before `step` is called
        self.configure(settings)

    def configure(self, settings: RateLimit) -> None:
        """Take other settings for the same keys."""
        self.settings = settings
        rate = settings.rate
        self.buckets.configure(rate.interval if rate is not None else 0.0, settings.most, settings.max_keys)
        self.exempt = Networks(settings.exempt)
        self.fields = b""
        if rate is not None:
            window = ceil(self.buckets.tolerance)
            self.fields = b'RateLimit-Policy: "%b";q=%d;w=%d\r\n' % (self.name.encode(), settings.most, window)

    def step(self, limit: RouteLimit, route: str) -> Step:
        """What a route asks of a request that is to be counted."""
        settings = self.settings
        take = self.shared.take if self.shared is not None else self.buckets.take
        decisions = self.tally.decisions
        key_for = key_of(settings.key, route)
        costs = {method: cost * limit.cost for method, cost in settings.costs.items()}
        usual = limit.cost
        rulings = self.rulings
        exempts = bool(settings.exempt)
        counts = settings.concurrency is not None
        limits = settings.rate is not None
        dry_run = settings.dry_run
        tells = limits and settings.fields == "always"

        def step(head: RequestHead, client: Client, decision: Decision) -> Verdict:
            if key_for is None:
                key = decision.client
                if ":" in key:
                    key = client_key(key)
            else:
                key = key_for(head, decision)
            cost = costs.get(decision.method, usual) if costs else usual
            if rulings or exempts:
                stands_out = self._stands_out(key, decision)
                if stands_out is not False:
                    return stands_out
            within = True
            if counts and cost:
                refusal = self._enter(key, decision)
                if refusal is not None:
                    if not dry_run:
                        return refusal
                    within = False
            if limits and (said := take(key, cost, decision.moment)):
                if isinstance(said, float):
                    if not within:
                        return None  # it has been counted
                    refusal = self.over(key, said)
                    if refusal is None:
                        decision.guarded = DRY_RUN
                    return refusal
                return None if isinstance(said, Counted) else said
            if within:
                decisions["allowed"] += 1
            if tells:
                decision.extra += self._told(key, decision.moment)
            return None

        return step

    def _told(self, key: str, now: float) -> bytes:
        """What an answer says to a client that keeps to the limit."""
        if self.shared is not None:
            return self.fields
        left, full = self.buckets.left(key, now), ceil(self.buckets.full_in(key, now))
        return b'%bRateLimit: "%b";r=%d;t=%d\r\n' % (self.fields, self.name.encode(), left, full)

    def _stands_out(self, key: str, decision: Decision) -> Verdict | Literal[False]:
        """What is said of a key that an operator named, or of an exempt client; False of all others."""
        ordered = self.rulings.get(key)
        if ordered is not None:
            if ordered.until <= decision.moment:
                del self.rulings[key]
            elif ordered.order == "lift":
                self.tally.decisions["lifted"] += 1
                return None
            else:
                self.tally.refused(BLOCKED, key)
                return self._refusal(ordered.until - decision.moment, BLOCKED, "your requests are blocked for now")
        if self.exempt and decision.client in self.exempt:
            self.tally.decisions["exempt"] += 1
            return None
        return False

    def _enter(self, key: str, decision: Decision) -> Refusal | None:
        """Give the request a place, until it is over; or say that there is none (in a dry run it has one then, too)."""
        places = self.places
        held = places.get(key, 0)
        assert self.settings.concurrency is not None  # else nobody asks
        refusal = None
        if held >= self.settings.concurrency:
            refusal = self._refusal(1.0, CONCURRENCY, "too many requests are under way at the same time")
            if not self.settings.dry_run:
                self.tally.refused(CONCURRENCY, key)
                return refusal
            self.tally.refused(DRY_RUN, key)
            decision.guarded = DRY_RUN
        places[key] = held + 1
        if decision.holds is None:
            decision.holds = []
        decision.holds.append(Hold(self, key))
        return refusal

    def over(self, key: str, wait: float, word: str = "limited") -> Refusal | None:
        """The bucket has not enough for the request; it is counted as that word."""
        if self.settings.dry_run:
            self.tally.refused(DRY_RUN, key)
            return None
        self.tally.refused(word, key)
        return self.limited(wait)

    def limited(self, wait: float) -> Refusal:
        """The answer to a request that would pass in `wait` seconds."""
        if wait == NEVER:
            return self._refusal(float(_LONGEST_WAIT), RATE, "a request of this kind takes more than may come at once")
        return self._refusal(wait, RATE, "too many requests: wait before the next one")

    def _refusal(self, wait: float, why: str, reason: str) -> Refusal:
        seconds = min(max(1, ceil(wait)), _LONGEST_WAIT)
        told = b"Retry-After: %d\r\n" % seconds
        if why == RATE:
            told += b'%bRateLimit: "%b";r=0;t=%d\r\n' % (self.fields, self.name.encode(), seconds)
        return Refusal(TOO_MANY, reason, why, told)

    # What an operator does.

    def obey(self, ruling: Ruling, secret: bytes, now: float) -> NamedKey:
        """Do what an operator says, and tell of whom. UnknownKey, ValueError: there is no such key.

        `secret` is what names of keys were made with.
        """
        if ruling.key:
            key = text_of(self.settings.key, ruling.key)
        else:
            named = (key for key in self.known() if name_of(self.name, key, secret) == ruling.name)
            found = next(named, None)
            if found is None:
                raise UnknownKey(f"policy {self.name!r} has no key that is called {ruling.name!r}")
            key = found
        self.rulings.pop(key, None)
        named_key = NamedKey(name_of(self.name, key, secret), masked_key(key))
        if ruling.order == "restore":
            self.buckets.forget(key)
            if self.shared is not None:
                self.shared.forget(key)
            return named_key
        self.expire(now)
        if len(self.rulings) >= MOST_ORDERS:
            raise ValueError(f"is one too many: {MOST_ORDERS} exceptions from {self.name} hold already")
        self.rulings[key] = Standing(ruling.order, now + ruling.seconds)
        return named_key

    def expire(self, now: float) -> None:
        """Drop the orders that have ended."""
        for key in [key for key, standing in self.rulings.items() if standing.until <= now]:
            del self.rulings[key]

    def known(self) -> Iterator[str]:
        """Keys that an operator may see: those with orders, and those that were refused."""
        yield from dict.fromkeys((*self.rulings, *self.tally.limited))


class Limiter:
    """All policies of a plane."""

    def __init__(self) -> None:
        self.policies: dict[str, Policy] = {}

    def configure(self, settings: Mapping[str, RateLimit]) -> None:
        """Take a configuration. What a policy knows of its keys is dropped with the policy, or if its keys change."""
        old, self.policies = self.policies, {}
        for name, one in settings.items():
            policy = old.get(name)
            if policy is None or policy.settings.key != one.key:
                policy = Policy(name, one)
            else:
                policy.configure(one)
            self.policies[name] = policy

    def second_passed(self, now: float) -> None:
        """Once a second: orders end by themselves."""
        for policy in self.policies.values():
            if policy.rulings:
                policy.expire(now)

    def obey(self, ruling: Ruling, secret: bytes, now: float) -> NamedKey:
        """See `Policy.obey`."""
        policy = self.policies.get(ruling.policy)
        if policy is None:
            known = ", ".join(map(repr, self.policies)) or "none at all"
            raise UnknownKey(f"there is no policy {ruling.policy!r}, but {known}")
        return policy.obey(ruling, secret, now)
