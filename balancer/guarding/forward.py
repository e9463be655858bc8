"""Another service is asked whether a request may pass: by an exchange of its own, whose answer is read here."""

from __future__ import annotations

from time import monotonic
from typing import Final, cast

from balancer.decision import Decision, Identity
from balancer.guards.auth import WORD, Finding, Found, Proof, substitution
from balancer.guards.verdict import Refusal
from balancer.http1.fields import PLAIN, Field, nominated, usual
from balancer.http1.head import RequestFields, RequestHead, ResponseHead
from balancer.http1.outgoing import Client
from balancer.proxy.exchange import ANSWERING, OVER, Exchange
from balancer.proxy.nobody import Nobody
from balancer.proxy.sides import ClientSide, Surroundings
from balancer.routing import Route
from balancer.tally import AuthTally, ListenerTally
from config.auth import ForwardAuth

LARGEST: Final = 64 * 1024
"""Bytes of an answer's body that go to the client: a page that asks who it is."""
NOT_ASKED: Final = frozenset(
    b"""
    accept-encoding content-encoding content-language content-length content-location content-range content-type expect
    if-match if-modified-since if-none-match if-range if-unmodified-since max-forwards range
    x-forwarded-method x-forwarded-uri
    """.split()
)
"""What a request says of its body, of what its client has already and of parts, which the question is not about; and
what is our own to say."""
NOT_ANSWERED: Final = frozenset((b"content-length", b"content-type", b"accept-ranges", b"etag", b"last-modified"))
_AWAY: Final = "the service that knows who may pass cannot be asked at the moment"


class ForwardWay:
    """Asks a service about each request."""

    def __init__(
        self, settings: ForwardAuth, subject_to: str | None, tally: AuthTally, route: Route, around: Surroundings
    ) -> None:
        """`route` leads to the service, and says how long it may take."""
        self.tally = tally
        self.challenge = b""
        self.shown_in: tuple[bytes, ...] = ()  # only the service knows
        self.cookies: tuple[bytes, ...] = ()
        self.route = route
        self.around = around
        self.listener = ListenerTally()  # nobody reads it: a question is no request of a client's
        self.target = settings.path.encode("ascii")
        self.copied = tuple(name.lower().encode("ascii") for name in settings.copy_headers)
        self._copy = settings.copy_headers
        self._set_cookie = settings.set_cookie
        self._subject = settings.subject.lower().encode("ascii") if settings.subject is not None else b""
        self._subject_to = subject_to

    @property
    def epoch(self) -> object:
        return self

    def look(self, head: RequestHead, client: Client, decision: Decision) -> Finding:
        return _Inquiry(self, self._question(head, client), client, decision)

    def _question(self, head: RequestHead, client: Client) -> RequestHead:
        """The request as the service is asked about it: its own fields, and what was asked for."""
        common = head.common
        gone = nominated(common.names)
        fields = [field for field in common.fields if field.name not in gone and field[5] not in NOT_ASKED]
        fields += [_own(b"X-Forwarded-Method", head.method), _own(b"X-Forwarded-Uri", head.target)]
        special = [field for field in common.special if field[5] not in NOT_ASKED]
        asked = RequestFields(b"", 1, fields, special)
        asked.host = common.host
        asked.persistent = True
        asked.names = ()
        asked.user_agent = common.user_agent
        asked.via = common.via
        made = RequestHead(b"GET", self.target, 1, asked)
        made.host = head.host
        return made

    def judged(self, answer: ResponseHead, body: bytes, head: RequestHead) -> Proof | Refusal:
        """What an answer means: with 2xx it may pass."""
        status = answer.status
        if 200 <= status < 300:
            return self._proof(answer)
        if not 300 <= status < 600 or status == 304:  # nothing that could be said to who asked for something else
            return self.away()
        result = "denied" if status < 500 else "unavailable"
        self.tally.results[result] += 1
        gone = nominated(answer.names) | NOT_ANSWERED
        lines = [field.line for field in answer.fields if field.kind == PLAIN and field.name not in gone]
        if answer.value(b"cache-control") is None:
            lines.append(b"Cache-Control: no-store\r\n")  # it is about who asks
        kind = answer.value(b"content-type") or b"text/plain; charset=utf-8"
        return Refusal(status, "", WORD, b"".join(lines), body, kind, result)

    def _proof(self, answer: ResponseHead) -> Proof:
        pairs = []
        for name, lower in zip(self._copy, self.copied, strict=True):
            value = answer.value(lower)
            if value is not None:
                pairs.append((name, value))
        who = answer.value(self._subject) if self._subject else None
        if who is not None and self._subject_to is not None:
            pairs.append((self._subject_to, who))
        extra = b""
        if self._set_cookie:
            extra = b"".join([field.line for field in answer.fields if field.name == b"set-cookie"])
        name = who.decode("utf-8", "backslashreplace")[:128] if who is not None else ""
        # 0.0: it is asked anew about each request.
        return Proof(Identity("forward", name), substitution(pairs, self.copied), 0.0, extra)

    def away(self) -> Refusal:
        self.tally.results["unavailable"] += 1
        return Refusal(503, _AWAY, WORD, b"Retry-After: 1\r\n", result="unavailable")


def _own(name: bytes, value: bytes) -> Field:
    """A field that is sent on although a client could not send it."""
    line = b"%b: %b\r\n" % (name, value)
    lower = name.lower()
    return Field(lower, value, line, PLAIN, line, usual(lower))


class _Inquiry(Exchange):
    """The exchange with the service: one request without a body, and an answer that nobody but us is sent."""

    __slots__ = ("_answer_head", "_answered", "_pieces", "_room", "_way")

    def __init__(self, way: ForwardWay, question: RequestHead, client: Client, decision: Decision) -> None:
        own = Decision(decision.listener, decision.client, decision.started)
        own.method, own.host, own.target, own.version = "GET", decision.host, way.target, b"1.1"
        nobody = cast(ClientSide, Nobody(cast(ClientSide, client)))
        super().__init__(way.around, nobody, question, way.route, own, way.listener)
        self._way = way
        self._answer_head: ResponseHead | None = None
        self._pieces: list[bytes] = []
        self._room = LARGEST
        self._answered: Found | None = None

    # The seam of `auth.Pending`.

    def ask(self, answered: Found) -> None:
        self._answered = answered
        self.decision.started = monotonic()
        self.deadline = self.decision.started + (self.route.total or 0.0)
        self.start()

    def forget(self) -> None:
        self._answered = None
        self.client_gone()

    # What the server's side says.

    def _answer_with(self, response: ResponseHead, length: int) -> None:
        self.state = ANSWERING
        self.decision.status = response.status
        self._answer_head = response

    def response_body(self, pieces: list[bytes]) -> None:
        self._room -= sum(map(len, pieces))
        if self._room >= 0:
            self._pieces += pieces

    def flush(self) -> None:
        self._out.clear()
        if self._upstream is None:
            return
        if self._room < 0:  # what is more is not read, so that nobody can keep us busy with it
            self._drop_attempt()
            self._done()
        else:
            self._await_more()

    def response_end(self, trailers: list[Field], reusable: bool) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.release(reusable and self._room >= 0)
        self._leave_server()
        self._done()

    def _done(self) -> None:
        self.state = OVER
        answer = self._answer_head
        assert answer is not None  # its head has come
        found: Proof | Refusal | Exception
        try:
            if self._room < 0 and not 200 <= answer.status < 300:
                found = self._way.away()  # half a page is none
            else:
                found = self._way.judged(answer, b"".join(self._pieces), self.head)
        except Exception as error:  # whoever waits has to be told
            found = error
        self._tell(found)

    def _answer(self, status: int, reason: str, outcome: str) -> None:
        """The exchange has failed, and would say so to its client."""
        self.state = OVER
        self._tell(self._way.away())

    def _cut(self, outcome: str) -> None:
        self._drop_attempt()
        self.state = OVER
        self._tell(self._way.away())

    def _over(self, outcome: str) -> None:
        """It is no request of a client's: its own is counted, and logged."""
        self.state = OVER

    def _tell(self, found: Proof | Refusal | Exception) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(found)
