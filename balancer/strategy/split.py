"""The pool that a request of a split route goes to."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from balancer.strategy.sticky import StickyCookie
from balancer.strategy.weights import bounds_of, draw
from config.schema import Sticky


class Split:
    """Sends requests to pools in proportion to their shares, each client to the same one if it is sticky.

    A pool whose share is 0 gets nothing, not even the clients that have its cookie: so a canary is called off
    at once. Any other change of shares moves nobody who has a cookie.
    """

    __slots__ = ("_bounds", "_cookie", "_pools", "_rng", "_set")

    def __init__(
        self,
        route: str,
        shares: Mapping[str, float],
        rng: Random,
        sticky: Sticky | None = None,
        secret: bytes = b"",
    ) -> None:
        open_shares = {pool: share for pool, share in shares.items() if share > 0}
        if not open_shares:
            raise ValueError(f"routes.{route}.split: at least one share must be above 0, not {dict(shares)}")
        self._pools = tuple(open_shares)
        self._bounds = bounds_of(tuple(open_shares.values()))
        self._rng = rng
        self._cookie: StickyCookie[str] | None = None
        self._set: dict[str, bytes] = {}
        if sticky is not None:
            cookie = StickyCookie(f"route {route}", {pool: pool for pool in self._pools}, sticky, secret)
            self._cookie = cookie
            self._set = {pool: cookie.write(pool) for pool in self._pools}

    def pick(self, field: bytes = b"") -> tuple[str, bytes | None]:
        """A pool's name, and the Set-Cookie value for the answer. `field` is the Cookie field's value."""
        if self._cookie is not None and field:
            named = self._cookie.read(field)
            if named is not None:
                return named, None
        pool = self._pools[draw(self._bounds, self._rng)]
        return pool, self._set.get(pool)
