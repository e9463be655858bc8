"""Turns single check results into a verdict that does not flicker."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["checking", "up", "down"]


class Hysteresis:
    """Turns a stream of single results into a steady verdict.

    Starts as "checking", which the first result ends at once, either way. From then on it goes down after
    `fall` failures in a row and up again after `rise` successes in a row; one result that agrees with the
    verdict starts the count anew.
    """

    __slots__ = ("_contrary", "_fall", "_rise", "verdict")

    def __init__(self, rise: int, fall: int, verdict: Verdict = "checking") -> None:
        self._rise = rise
        self._fall = fall
        self._contrary = 0  # results in a row that speak against the verdict
        self.verdict: Verdict = verdict

    def observe(self, ok: bool) -> bool:
        """Count one result; True when it has changed the verdict."""
        said: Verdict = "up" if ok else "down"
        if said == self.verdict:
            self._contrary = 0
            return False
        self._contrary += 1
        if self.verdict != "checking" and self._contrary < (self._rise if ok else self._fall):
            return False
        self.verdict = said
        self._contrary = 0
        return True
