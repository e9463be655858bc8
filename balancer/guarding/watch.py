"""The guards of a plane: made anew with each configuration, over what they know of clients, which stays."""

from __future__ import annotations

from collections.abc import Iterator

from balancer.decision import Decision
from balancer.guarding.entrance import Entrance
from balancer.guarding.shared_limits import SharedLimits
from balancer.guards.address import AddressRule
from balancer.guards.cdn import Edges, cdn_step
from balancer.guards.guard import Guard
from balancer.guards.keys import needs_identity
from balancer.guards.limiter import Limiter, Step
from balancer.guards.request_rules import body_step, method_step, scanner_step
from balancer.guards.verdict import Refusal, Verdict
from balancer.http1.fields import keep_out
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client
from balancer.tally import RequireCdnTally
from balancer.telemetry.limit_report import LimitReport, of_policy
from config.cdn import secret_fields
from config.guards import Access
from config.schema import Config, Route

ADDRESS = "address"


class Watch:
    """Makes the guards of routes."""

    def __init__(self, shared: SharedLimits, entrance: Entrance, edges: Edges) -> None:
        self.limiter = Limiter()
        self.cdn: RequireCdnTally | None = None
        """None while requests need not come through a CDN."""
        self._edges = edges
        self.shared = shared
        self.entrance = entrance
        self._config: Config | None = None

    def configure(self, config: Config) -> None:
        """Take a configuration; `guard` is then asked for each of its routes."""
        self._config = config
        self.limiter.configure(config.rate_limits)
        self.shared.configure(config, self.limiter.policies)
        if config.require_cdn is None:
            self.cdn = None
            return
        self.cdn = self.cdn or RequireCdnTally()
        keep_out([name.lower().encode("ascii") for name in secret_fields(config.require_cdn)])

    def guard(self, name: str, route: Route) -> Guard | None:
        """What stands before a route; None: nothing."""
        steps = list(self._steps(name, route))
        return Guard(steps) if steps else None

    def report(self) -> dict[str, LimitReport]:
        """How the limits are doing; `secret` makes names for keys."""
        reports = {name: of_policy(policy) for name, policy in self.limiter.policies.items()}
        return reports | {name: shared.report(reports[name]) for name, shared in self.shared.policies.items()}

    def _steps(self, name: str, route: Route) -> Iterator[Step]:
        config = self._config
        assert config is not None  # see `configure`
        if config.require_cdn is not None and self.cdn is not None:
            yield cdn_step(config.require_cdn, self._edges, self.cdn)
        access = route.access if route.access is not None else config.access
        if access is not None and (access.allow or access.deny):
            yield _addresses(access)
        if route.refuse_scanners is not None:
            yield scanner_step(route.refuse_scanners)
        if route.methods:
            yield method_step(route.methods)
        if route.request_body is not None:
            yield body_step(route.request_body)
        limits = [(limit, config.rate_limits[limit.policy]) for limit in route.rate_limit]
        # Those that need to know who it is come after it has been asked.
        limits.sort(key=lambda pair: (needs_identity(pair[1].key), pair[1].concurrency is not None))
        asked = not route.auth
        for limit, policy in limits:
            if not asked and (needs_identity(policy.key) or policy.concurrency is not None):
                yield self.entrance.step(route.auth)
                asked = True
            yield self.limiter.policies[limit.policy].step(limit, name)
        if not asked:
            yield self.entrance.step(route.auth)


def _addresses(access: Access) -> Step:
    rule = AddressRule(access)

    def step(head: RequestHead, client: Client, decision: Decision) -> Verdict:
        if rule.admits(decision.client):
            return None
        return Refusal(403, "clients of your network may not come here", ADDRESS)

    return step
