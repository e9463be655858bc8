"""Everything that a request has to get past before a route takes it, in order."""

from __future__ import annotations

from collections.abc import Sequence

from balancer.decision import Decision
from balancer.guards.limiter import Step
from balancer.guards.verdict import Refusal, Verdict
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client


class Guard:
    """The steps of one route. The first that has something to say ends the walk, or stays it.

    A step that asks a question is not asked again: once that is answered, `go_on` begins after it.
    """

    __slots__ = ("_steps", "check")

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self.check: Step = steps[0] if len(steps) == 1 else self._walk
        """None: it may pass. A question: the request waits, and goes on with `go_on`."""

    def _walk(self, head: RequestHead, client: Client, decision: Decision) -> Verdict:
        for step in self._steps:
            verdict = step(head, client, decision)
            if verdict is not None:
                if not isinstance(verdict, Refusal):
                    decision.asked = self._steps.index(step)
                return verdict
        return None

    def go_on(self, head: RequestHead, client: Client, decision: Decision) -> Verdict:
        """The steps after the one that had a question."""
        for at in range(decision.asked + 1, len(self._steps)):
            verdict = self._steps[at](head, client, decision)
            if verdict is not None:
                if not isinstance(verdict, Refusal):
                    decision.asked = at
                return verdict
        return None
