"""Who a request is from, by one of the ways in which a route lets somebody in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Final, NamedTuple, Protocol

from balancer.decision import Decision, Identity
from balancer.guards.address import client_key, network_key
from balancer.guards.gcra import Gcra
from balancer.guards.request_rules import OVERRIDES
from balancer.guards.verdict import Answered, Refusal, Verdict
from balancer.http1.fields import parse_line, usual
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client
from balancer.http1.substitution import Substitution
from balancer.tally import AuthTally

WORD: Final = "auth"
NEVER: Final = float("inf")
NO_PREFLIGHT: Final = OVERRIDES | {b"authorization", b"cookie", b"proxy-authorization"}
"""What a browser's question never has: credentials, and another method than OPTIONS."""


class Proof(NamedTuple):
    """Somebody is known, until a Unix time, and servers are told so."""

    identity: Identity
    substitution: Substitution
    until: float
    extra: bytes = b""
    """Complete field lines for the answer."""


Found = Callable[[Proof | Refusal | Exception], None]
"""An exception was raised while it was looked for."""


class Pending(Protocol):
    """What has to be waited for. The seam is that of `verdict.Question`."""

    def ask(self, answered: Found) -> None:
        """Begin; `answered` is called once, perhaps before this returns."""

    def forget(self) -> None: ...


Finding = Proof | Refusal | Pending | None


class Way(Protocol):
    """One of `auth`."""

    tally: AuthTally
    challenge: bytes
    """What is said to who shows nothing: a complete line, or nothing."""
    shown_in: tuple[bytes, ...]
    """The fields, by lower-cased name, in which somebody shows who they are."""
    cookies: tuple[bytes, ...]
    """The same of cookies."""

    @property
    def epoch(self) -> object:
        """Another object when what was known before is not to be believed any more."""

    def look(self, head: RequestHead, client: Client, decision: Decision) -> Finding:
        """Who it is; None: it does not show what this is about."""


class Wall:
    """The clock of expiry dates: `offset` is Unix time less monotonic time, set once a second by its owner."""

    __slots__ = ("offset",)

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset


class _Known(NamedTuple):
    """What a connection's last request has shown already: repeated to the byte, it is not looked at again."""

    step: AuthStep
    way: Way
    epoch: object
    proof: Proof


class AuthStep:
    """Lets a request pass if one of some ways knows who it is from."""

    __slots__ = ("_challenges", "_credentials", "_names", "_others", "_preflight", "_wall", "_ways")

    def __init__(self, ways: Mapping[str, Way], wall: Wall, *, preflight: bool) -> None:
        """`ways` by their names in the configuration, in the order in which they are asked."""
        self._names = tuple(ways)
        self._ways = tuple(ways.values())
        self._wall = wall
        self._preflight = preflight
        self._challenges = b"".join([way.challenge for way in self._ways])
        self._credentials = NO_PREFLIGHT.union(*[map(usual, way.shown_in) for way in self._ways])
        self._others = [_others(way, self._ways) for way in self._ways]

    def __call__(self, head: RequestHead, client: Client, decision: Decision) -> Verdict:
        known = head.common.proof
        if (
            isinstance(known, _Known)
            and known[0] is self
            and known[1].epoch is known[2]
            and known[3][2] > self._wall.offset + decision.started
        ):
            proof = known[3]
            decision.identity = proof[0]
            decision.substitution = proof[1]
            known[1].tally.results["passed"] += 1
            return None
        if self._preflight and self._is_preflight(head, decision):
            return None
        return self.walk(head, client, decision, 0, None)

    def walk(
        self, head: RequestHead, client: Client, decision: Decision, start: int, refused: Refusal | None
    ) -> Verdict:
        """Try the ways from one on. `refused` is what an earlier one has said."""
        for at in range(start, len(self._ways)):
            way = self._ways[at]
            found = way.look(head, client, decision)
            if found is None:
                continue
            if isinstance(found, Proof):
                self.pass_(at, head, decision, found)
                return None
            if isinstance(found, Refusal):
                refused = found
                self._note(decision, at, found)
            else:
                return _Question(self, head, client, decision, at, found)
        if refused is not None:
            return refused
        self._ways[0].tally.results["missing"] += 1
        decision.denied = "missing"
        return Refusal(401, "who asks for this has to show who they are", WORD, self._challenges)

    def went(self, head: RequestHead, client: Client, decision: Decision, at: int, found: Proof | Refusal) -> Verdict:
        """What was waited for is there."""
        if isinstance(found, Refusal):
            self._note(decision, at, found)
            return self.walk(head, client, decision, at + 1, found)
        self.pass_(at, head, decision, found)
        return None

    def pass_(self, at: int, head: RequestHead, decision: Decision, proof: Proof) -> None:
        way = self._ways[at]
        fields, cookies = self._others[at]
        if fields or cookies:  # what was shown for another way nobody has found good
            proof = proof._replace(substitution=proof.substitution.without(fields, cookies))
        way.tally.results["passed"] += 1
        decision.identity = proof.identity
        decision.substitution = proof.substitution
        decision.extra += proof.extra
        if proof.until:
            head.common.proof = _Known(self, way, way.epoch, proof)

    def _note(self, decision: Decision, at: int, refusal: Refusal) -> None:
        told = f"{self._names[at]} {refusal.result}"
        decision.denied = f"{decision.denied}, {told}" if decision.denied else told

    def _is_preflight(self, head: RequestHead, decision: Decision) -> bool:
        """A browser's question whether a page of another site may send a request (CORS), and no more than that."""
        return (
            decision.method == "OPTIONS"
            and head.value(b"origin") is not None
            and head.value(b"access-control-request-method") is not None
            and not head.common.has_body
            and not head.common.upgrade
            and self._credentials.isdisjoint([field[5] for field in head.common.fields])
        )


def _others(way: Way, ways: Sequence[Way]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """The fields and the cookies of all ways but one."""
    fields = frozenset(name for other in ways for name in other.shown_in)
    cookies = frozenset(name for other in ways for name in other.cookies)
    return fields.difference(way.shown_in), cookies.difference(way.cookies)


class _Question:
    """The question of a guard that one of the ways has."""

    __slots__ = ("_answered", "_at", "_client", "_decision", "_head", "_pending", "_step")

    def __init__(
        self, step: AuthStep, head: RequestHead, client: Client, decision: Decision, at: int, pending: Pending
    ) -> None:
        self._step = step
        self._head = head
        self._client = client
        self._decision = decision
        self._at = at
        self._pending: Pending | None = pending
        self._answered: Answered | None = None

    def ask(self, answered: Answered) -> None:
        assert self._pending is not None  # it is asked once
        self._answered = answered
        self._pending.ask(self._found)

    def forget(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.forget()

    def _found(self, found: Proof | Refusal | Exception) -> None:
        if self._pending is None or self._answered is None:
            return
        self._pending = None
        if isinstance(found, Exception):
            self._answered(found)
            return
        try:
            verdict = self._step.went(self._head, self._client, self._decision, self._at, found)
            if isinstance(verdict, _Question):  # a later way has to be waited for, too
                self._at = verdict._at
                self._pending = verdict._pending
                assert self._pending is not None  # it is new
                self._pending.ask(self._found)
                return
        except Exception as error:  # whoever waits has to be told
            self._pending = None
            self._answered(error)
            return
        assert verdict is None or isinstance(verdict, Refusal)  # there is no other question
        self._answered(verdict)


class Guesses:
    """How fast one client may try what could be guessed: an IPv4 address, or an IPv6 /64.

    And its network, an IPv4 /24 or an IPv6 /48: a household may have 256 and more of those.
    """

    BURST: Final = 10
    PACE: Final = 10.0
    NETWORKS: Final = 10
    """So many clients of one network may guess at once, as fast as each may."""
    MOST: Final = 10_000

    def __init__(self) -> None:
        self._clients = Gcra(self.PACE, self.BURST, self.MOST)
        self._networks = Gcra(self.PACE / self.NETWORKS, self.BURST * self.NETWORKS, self.MOST)

    def take(self, client: str, now: float) -> float:
        """Count one try: 0.0, or the seconds until the next one may come."""
        wait = self._clients.take(client_key(client), 1, now)
        if not wait and (wait := self._networks.take(network_key(client), 1, now)):
            self._clients.take(client_key(client), -1, now)
        return wait

    def give_back(self, client: str, now: float) -> None:
        """It was right, and no guess."""
        self._clients.take(client_key(client), -1, now)
        self._networks.take(network_key(client), -1, now)


def too_many(wait: float) -> Refusal:
    told = b"Retry-After: %d\r\n" % max(1, ceil(wait))
    return Refusal(
        429, "too many wrong credentials came from your address: wait before the next one", WORD, told, result="limited"
    )


def told_subject(name: str | None, subject: bytes) -> list[tuple[str, bytes]]:
    """The pair for `subject_to`, if there is such a field and somebody to name."""
    return [(name, subject)] if name is not None and subject else []


def substitution(
    pairs: Sequence[tuple[str, bytes]], gone: Sequence[bytes] = (), cookies: Sequence[bytes] = ()
) -> Substitution:
    """What servers are told: field names with values that are fit for one."""
    fields = [parse_line(b"%b: %b" % (name.encode("ascii"), value)) for name, value in pairs]
    return Substitution(fields, gone, cookies)
