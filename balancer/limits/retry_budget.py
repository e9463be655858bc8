"""How many retries a pool may afford."""

from __future__ import annotations

A_RETRY = 1.0 - 1e-9
"""What a withdrawal needs: ten deposits of 0.1 add up to a little less than 1."""


class RetryBudget:
    """Allows retries up to a share of requests, so that a failing pool is not hit several times as hard.

    A fixed number of attempts is the wrong knob: when every request fails, it multiplies the load just when
    the servers can bear it least. Here every request deposits `ratio` of a retry and every retry withdraws
    one. `minimum_per_second` retries come free, for pools with too little traffic to save up; what is not
    used of them is kept for one second only. The savings never buy more than `cap` retries.
    """

    __slots__ = ("_cap", "_free", "_minimum", "_most_free", "_ratio", "_saved", "_stamp")

    def __init__(self, ratio: float, minimum_per_second: float, cap: float = 100.0) -> None:
        # The default cap: as many requests as a busy server may have had in flight when it died.
        self._ratio = ratio
        self._minimum = minimum_per_second
        self._cap = cap
        self._saved = 0.0  # may pass the cap between two withdrawals, which is where it is cut
        self._most_free = max(minimum_per_second, 1.0) if minimum_per_second > 0.0 else 0.0
        self._free = self._most_free
        self._stamp: float | None = None  # when `_free` was last filled up

    def __repr__(self) -> str:
        return f"<RetryBudget {min(self._saved, self._cap):.1f} saved, {self._free:.1f} free>"

    def deposit(self) -> None:
        """Save up for one request. Retries deposit nothing."""
        self._saved += self._ratio

    def withdraw(self, now: float) -> bool:
        """Pay for one retry; False when it must not be made."""
        saved = min(self._saved, self._cap)
        if saved >= A_RETRY:
            self._saved = saved - 1.0
            return True
        self._saved = saved
        self._refill(now)
        if self._free < A_RETRY:
            return False
        self._free -= 1.0
        return True

    def _refill(self, now: float) -> None:
        """Add the free retries that came up since last time, keeping one second's worth (at least one)."""
        if self._stamp is None:
            self._stamp = now
        elif now > self._stamp:
            self._free = min(self._free + (now - self._stamp) * self._minimum, self._most_free)
            self._stamp = now
