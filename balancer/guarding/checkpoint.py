"""A request that waits until it is known whether it may pass."""

from __future__ import annotations

from time import monotonic
from typing import Protocol

from balancer.decision import Decision
from balancer.guards.verdict import Question, Refusal, Verdict
from balancer.http1.fields import Field
from balancer.http1.head import RequestHead
from balancer.proxy.sides import ClientSide, Finished, Serving
from balancer.routing import Route
from balancer.tally import ListenerTally


class Desk(Protocol):
    """Who sent it here, and takes it back."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer it so."""

    def failed(self, error: Exception) -> None:
        """A guard has raised."""

    def let_in(self) -> Serving | None:
        """What answers it, not yet started; None: it has been answered."""

    def over(self, finished: Finished) -> None:
        """A request is over and its decision complete."""


class Checkpoint:
    """One such request; to its client's connection it is an exchange. What comes of its body meanwhile is kept.

    That is no more than was on its way, as the client is held as soon as the first of it is here.
    """

    __slots__ = (
        "_body",
        "_desk",
        "_ended",
        "_question",
        "_trailers",
        "client",
        "decision",
        "head",
        "listener",
        "route",
    )

    def __init__(
        self,
        desk: Desk,
        client: ClientSide,
        head: RequestHead,
        route: Route,
        decision: Decision,
        listener: ListenerTally,
        question: Question,
    ) -> None:
        self._desk = desk
        self._question: Question | None = question
        self._body: list[bytes] = []
        self._ended = not head.common.has_body
        self._trailers: list[Field] = []
        self.client = client
        self.head = head
        self.route = route
        self.decision = decision
        self.listener = listener

    # What the client's connection says.

    def start(self) -> None:
        assert self._question is not None  # it is made with one
        self._ask(self._question)

    def request_body(self, pieces: list[bytes]) -> None:
        self._body += pieces
        self.client.hold()

    def request_end(self, trailers: list[Field]) -> None:
        self._ended = True
        self._trailers = trailers

    def client_fault(self, status: int, reason: str) -> None:
        self._forget()
        self._desk.refuse(Refusal(status, reason, ""))

    def client_gone(self) -> None:
        if self._question is None:
            return
        self._forget()
        self.decision.status = 499
        self.decision.outcome = "client-abort"
        self.decision.finished = monotonic()
        self._desk.over(self)

    def client_full(self) -> None:
        """Nothing has been sent yet: it is an answer before this one that the client does not take."""

    def client_drained(self) -> None:
        pass

    # What the question says.

    def _ask(self, question: Question) -> None:
        try:
            question.ask(self._answered)
        except Exception as error:  # see the reception
            if self._question is not question:
                raise  # it had answered
            self._forget()
            self._desk.failed(error)

    def _answered(self, found: Refusal | Exception | None) -> None:
        if self._question is None:
            return
        self._question = None
        if isinstance(found, Exception):
            self._desk.failed(found)
            return
        guard = self.route.guard
        verdict: Verdict = found
        if verdict is None and guard is not None:
            self.decision.moment = monotonic()  # a slow answer is not to make the next limit look nearer
            try:
                verdict = guard.go_on(self.head, self.client, self.decision)
            except Exception as error:  # see the reception
                self._desk.failed(error)
                return
        if isinstance(verdict, Refusal):
            self._desk.refuse(verdict)
            return
        if verdict is not None:
            self._question = verdict
            self._ask(verdict)
            return
        try:
            serving = self._desk.let_in()
        except Exception as error:  # as if a guard had raised: nobody else would tell the client
            self._desk.failed(error)
            return
        if serving is not None:
            self._hand_over(serving)

    def _hand_over(self, serving: Serving) -> None:
        """Whatever answers it from now on gets what has come of the body."""
        client = self.client
        if self.head.common.has_body:
            client.resume()  # whoever takes over holds it where there is a need
        client.serve(serving)
        if not self.head.common.has_body:
            return
        if self._body and not self.decision.outcome:  # it may be over already
            pieces, self._body = self._body, []
            serving.request_body(pieces)
        if self._ended and not self.decision.outcome:
            serving.request_end(self._trailers)

    def _forget(self) -> None:
        question, self._question = self._question, None
        if question is not None:
            question.forget()
