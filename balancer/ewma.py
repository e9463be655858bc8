"""A moving average of latency that jumps up at once and comes down slowly."""

from __future__ import annotations

from math import exp

SHORTEST = 1e-3
"""The least `decay` in seconds: with none, only the last sample would count, and nothing divides by zero."""


class PeakEwma:
    """Remembers the latency of a server, trusting bad news more than good.

    A sample above the average replaces it; a sample below pulls it down with a weight that depends on the
    time since the last one (`decay` seconds for a factor of e), so that a burst of quick answers counts no
    more than the time it took. Reading never changes it. After Finagle's and linkerd's peak EWMA.
    """

    __slots__ = ("decay", "failing", "measured", "stamp", "value")

    def __init__(self, decay: float, start: float) -> None:
        self.decay = max(decay, SHORTEST)
        self.value = start  # as it stood at `stamp`; a guess until `measured`
        self.stamp = 0.0  # the last sample's time
        self.measured = False
        self.failing = False  # the last sample was an error

    def __repr__(self) -> str:
        return f"<PeakEwma {self.value:.6g} s at {self.stamp:.6g}{'' if self.measured else ', a guess'}>"

    def observe(self, sample: float, now: float) -> None:
        """Take in one latency in seconds."""
        self.failing = False
        if not self.measured or sample >= self.value:
            self.value = sample
            self.measured = True
        elif now > self.stamp:
            kept = exp((self.stamp - now) / self.decay)
            self.value = sample + (self.value - sample) * kept
        else:
            return  # no time has passed, so a better sample has no weight; and `stamp` never goes back
        self.stamp = max(self.stamp, now)

    def punish(self, penalty: float, now: float) -> None:
        """Take in an error as a latency of `penalty` seconds, but not as a peak.

        It is weighed by time like a good sample, so the average becomes the latency plus the share of errors
        times the penalty: a server that fails now and then is not shunned as if it failed always. An error
        never lowers the average.
        """
        self.failing = True
        if not self.measured:
            self.value = penalty
            self.measured = True
        elif now > self.stamp and penalty > self.value:
            self.value = penalty + (self.value - penalty) * exp((self.stamp - now) / self.decay)
        self.stamp = max(self.stamp, now)

    def at(self, now: float, asked: float = 0.0) -> float:
        """The average as it stands at `now`: fading while nothing is heard, so that it is tried again.

        `asked` is when the server was last sent something: the fading starts anew there, since an answer is
        to come. A guess does not fade.
        """
        since = self.stamp if self.stamp > asked else asked
        if since >= now or not self.measured:
            return self.value
        return self.value * exp((since - now) / self.decay)
