"""Decides from live traffic when a server is to be left alone for a while."""

from __future__ import annotations

from collections import deque
from math import ceil, inf

from config.schema import PassiveChecks

BUCKETS = 10
"""Parts of the window, forgotten one by one: an answer counts for 0.9 of it at least, and never longer."""
NARROWEST = 1e-3
"""The least width of a bucket in seconds: a window of 0 must not divide by zero."""


class Outlier:
    """What the recent answers of one server say about it, in one plane.

    It is ejected when at least `failures` of the answers in `window` failed and either the last `failures`
    failed in a row or they are at least `share` of all. The first ejection takes `eject` seconds and each further
    one takes as much more, up to `eject_max`; every `eject + window` seconds without one take such a step back.
    Answers that come in while the server is ejected belong to requests sent before or in need, and do not count.

    Answers are counted in buckets of time, so that memory is fixed and a success costs a comparison and an
    addition.
    """

    __slots__ = (
        "_earlier",
        "_ends",
        "_failed",
        "_passed",
        "_quiet_since",
        "_row",
        "_step",
        "_width",
        "ejected_until",
        "settings",
    )

    def __init__(self, settings: PassiveChecks) -> None:
        self.settings = settings
        self.ejected_until: float | None = None  # None: not ejected
        self._width = max(settings.window / BUCKETS, NARROWEST)
        self._ends = -inf  # when the current bucket is full; the first answer opens one
        self._passed = 0  # successes in the current bucket
        self._failed = 0  # failures in the current bucket
        self._row = 0  # failures since the last success
        # (successes, failures) of the buckets before the current one.
        self._earlier: deque[tuple[int, int]] = deque(maxlen=BUCKETS - 1)
        self._step = 0  # the last ejection took this many times `eject`
        self._quiet_since = 0.0  # the end of the last ejection

    def observe(self, ok: bool, now: float) -> bool:
        """Count one finished attempt; True when the server is to be ejected now, until `ejected_until`."""
        if ok and now < self._ends:
            self._passed += 1
            self._row = 0
            return False
        return self._weigh(ok, now)

    def back(self, now: float) -> bool:
        """End an ejection whose time is over; True when it has just done so.

        Answers from before the ejection are forgotten, its length is remembered.
        """
        if self.ejected_until is None or now < self.ejected_until:
            return False
        self._quiet_since = self.ejected_until
        self.ejected_until = None
        self._forget()
        return True

    def pardon(self, now: float) -> None:
        """Something better than the past says that the server is well: end the ejection, if there is one."""
        if self.ejected_until is not None:
            self.ejected_until = now
            self.back(now)

    def _weigh(self, ok: bool, now: float) -> bool:
        if self.ejected_until is not None:
            return False
        if now >= self._ends:
            self._turn(now)
        if ok:
            self._passed += 1
            self._row = 0
            return False
        self._failed += 1
        self._row += 1
        failed = self._failed + sum(failures for _, failures in self._earlier)
        if failed < self.settings.failures:
            return False
        if self._row >= self.settings.failures:
            # Dead, not doubtful: the good answers of the seconds before must not keep it in.
            self._eject(now)
            return True
        answers = failed + self._passed + sum(successes for successes, _ in self._earlier)
        if failed / answers < self.settings.share:
            return False
        self._eject(now)
        return True

    def _turn(self, now: float) -> None:
        """Move on to the bucket that `now` falls into."""
        if now - self._ends >= self._width * BUCKETS:
            self._forget()
            self._ends = now + self._width
            return
        while now >= self._ends:
            self._earlier.append((self._passed, self._failed))
            self._passed = self._failed = 0
            self._ends += self._width

    def _eject(self, now: float) -> None:
        eject, most = self.settings.eject, self.settings.eject_max
        if self._step:
            calm = max(eject + self.settings.window, NARROWEST)
            self._step = max(0, self._step - int((now - self._quiet_since) / calm))
        # A step beyond the longest ejection would only take longer to be taken back.
        self._step = min(self._step + 1, max(1, ceil(most / eject))) if eject else 1
        self.ejected_until = now + min(eject * self._step, most)

    def _forget(self) -> None:
        self._earlier.clear()
        self._passed = self._failed = self._row = 0
        self._ends = -inf
