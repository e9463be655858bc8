"""How often the API may be asked: each key by itself, and each address that has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Final

from api.problems import Problem
from balancer.guards.address import client_key
from balancer.guards.gcra import Gcra
from config.schema import AdminRateLimit

MOST: Final = 4096
"""Keys, and addresses, that are remembered; the one that was quiet longest is forgotten first."""
_NAME: Final = '"admin"'


class Pace:
    """`admin.rate_limit`. What has a key is never held up by those who have none."""

    def __init__(self, settings: Callable[[], AdminRateLimit | None], clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._known: AdminRateLimit | None = None
        self._keys = Gcra(1.0, 1, MOST)
        self._addresses = Gcra(1.0, 1, MOST)

    def take(self, key: str | None, address: str) -> Mapping[str, str]:
        """Count a request, and the fields that tell its client how it stands. A Problem (429): it is one too many."""
        settings = self._settings()
        if settings is None:
            return {}
        if settings is not self._known:
            self._known = settings
            for buckets in (self._keys, self._addresses):
                buckets.configure(settings.rate.interval, settings.burst, MOST)
        buckets, name = (self._keys, key) if key is not None else (self._addresses, client_key(address))
        now = self._clock()
        wait = buckets.take(name, 1, now)
        policy = {"RateLimit-Policy": f"{_NAME};q={settings.burst};w={ceil(buckets.tolerance)}"}
        if not wait:
            left, full = buckets.left(name, now), ceil(buckets.full_in(name, now))
            return {**policy, "RateLimit": f"{_NAME};r={left};t={full}"}
        seconds = max(1, ceil(wait))
        whose = f"the key {key}" if key is not None else "this address"
        told = {**policy, "RateLimit": f"{_NAME};r=0;t={seconds}", "Retry-After": str(seconds)}
        raise Problem(429, f"{whose} asks more often than admin.rate_limit allows: wait {seconds} s", headers=told)
