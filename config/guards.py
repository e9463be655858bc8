"""What stands before a route: limits of rate and number, and rules for addresses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from config.pool import Method, Model
from config.rates import Rate
from config.values import Network

KeyPart = Annotated[
    str,
    Field(
        pattern=r"^(client|network|route|api-key|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+|jwt:[A-Za-z0-9_.:/-]+)$",
        examples=["client", "network", "header:X-Tenant", "cookie:session", "api-key", "jwt:sub", "route"],
    ),
]
Cost = Annotated[int, Field(ge=0, le=1_000_000)]


class RateLimit(Model):
    """A policy that routes choose by its name: so many requests in a time, at once, or both."""

    rate: Rate | None = None
    """Requests that are allowed in the long run, such as 100/s or 600/m. null: no limit of rate."""
    burst: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Requests that may come at once after a pause; null: as many as `rate` has before its slash."""
    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests of one key that may be under way at the same time. null: no limit of number."""
    key: tuple[KeyPart, ...] = ("client",)
    """What is counted apart: client (an IPv4 address or an IPv6 /64), network (/24 or /48), route, header:NAME,
    cookie:NAME, api-key, jwt:CLAIM; several are a combination. A request that lacks one counts by its client."""
    costs: dict[Method, Cost] = Field(default_factory=dict)
    """What a request of a method takes instead of 1; 0: nothing."""
    exempt: tuple[Network, ...] = ()
    """Clients that are not counted."""
    dry_run: bool = False
    """Count what would be refused, and refuse nothing."""
    shared: bool | Literal["leased", "exact"] = False
    """Whether all balancers of the same `redis.prefix` count together: exact asks Redis for every request; leased, or
    true, takes tokens from it in lots; false: each for itself."""
    on_redis_down: Literal["local", "allow", "deny"] = "local"
    """While Redis can not be asked: this balancer's share of the limit, no limit, or no request."""
    fields: Literal["refused", "always"] = "refused"
    """Which answers tell of the limit in RateLimit fields: those to refused requests, or all. What is left of a shared
    limit is told to refused requests alone."""
    max_keys: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    """Keys that are remembered; the one that was not seen for the longest time is forgotten first."""

    @property
    def most(self) -> int:
        """`burst`, or what stands for it."""
        if self.burst is not None:
            return self.burst
        return self.rate.count if self.rate is not None else 1


class RouteLimit(Model):
    """A policy as a route has it."""

    policy: Annotated[str, Field(min_length=1, examples=["per-client"])]
    cost: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """What each request of this route takes; multiplied by that of its method."""


class Access(Model):
    """Which clients may come at all."""

    allow: tuple[Network, ...] = ()
    """Only clients of these networks; none: all."""
    deny: tuple[Network, ...] = ()
    """Never clients of these networks, even where they are in `allow`."""
