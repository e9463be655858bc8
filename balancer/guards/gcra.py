"""The generic cell rate algorithm: a rate with a burst for each of many keys, one number per key.

It is the leaky bucket of ITU-T I.371 annex A in the form of virtual scheduling. A key's number is the time at which its
bucket will be full again, its theoretical arrival time; a key that is not there has a full one. So a request costs one
lookup, and there is nothing to be refilled by a timer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

NEVER: Final = float("inf")
_DUST: Final = 1e-9
"""Seconds: sums of intervals are off by less, and would else refuse the last of a burst."""


class Gcra:
    """The buckets of one policy. `most` bounds them: the key not seen for the longest time is forgotten first."""

    __slots__ = ("_times", "burst", "interval", "most", "tolerance")

    def __init__(self, interval: float, burst: int, most: int) -> None:
        self._times: OrderedDict[str, float] = OrderedDict()
        self.configure(interval, burst, most)

    def configure(self, interval: float, burst: int, most: int) -> None:
        """Take other settings: seconds between two requests in the long run, how many at once, how many keys.

        What is known of the keys stays. A bucket that was emptied under another rate is empty under this one, too, and
        no emptier: a limit that is raised is raised for those as well who had used it up.
        """
        self.interval = interval
        self.burst = burst
        self.tolerance = burst * interval
        self.most = most
        while len(self._times) > most:
            self._times.popitem(last=False)

    def take(self, key: str, cost: int, now: float) -> float:
        """Take `cost` from the bucket of `key`: 0.0 if there is as much, else nothing, and the seconds until then."""
        times = self._times
        time = times.get(key)
        if time is None:
            if len(times) >= self.most:
                times.popitem(last=False)
            time = now
        else:
            times.move_to_end(key)
            if time < now:
                time = now
            elif time > now + self.tolerance:
                time = now + self.tolerance
        full = time + cost * self.interval
        wait = full - now - self.tolerance
        if wait > _DUST:
            times[key] = time
            return wait if cost <= self.burst else NEVER
        times[key] = full
        return 0.0

    def owe(self, key: str, full: float) -> None:
        """Have the bucket of `key` be full at that time and not before."""
        time = self._times.get(key)
        if time is None:
            if len(self._times) >= self.most:
                self._times.popitem(last=False)
            self._times[key] = full
        elif time < full:
            self._times[key] = full

    def left(self, key: str, now: float) -> int:
        """How many could be taken now."""
        return max(0, int((self.tolerance - self.full_in(key, now) + _DUST) / self.interval))

    def full_in(self, key: str, now: float) -> float:
        """Seconds until the bucket is full."""
        return min(max(0.0, self._times.get(key, now) - now), self.tolerance)

    def forget(self, key: str) -> None:
        """Fill the bucket."""
        self._times.pop(key, None)

    def __len__(self) -> int:
        return len(self._times)
