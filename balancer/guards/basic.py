"""Names and passwords. A password is looked at slowly once; who has shown it is then known for some minutes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, Protocol

from balancer.decision import Decision, Identity
from balancer.guards.address import network_key
from balancer.guards.auth import WORD, Finding, Found, Guesses, Proof, Wall, substitution, told_subject, too_many
from balancer.guards.credentials import Ambiguous, Password, authorization, password
from balancer.guards.passwords import LONGEST, P
from balancer.guards.texts import text
from balancer.guards.verdict import Refusal
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client
from balancer.tally import AuthTally
from config.auth import Basic
from config.passwords import PasswordHash

REMEMBERED: Final = 300.0
"""Seconds for which a right password need not be looked at again."""
MOST: Final = 4096
"""Credentials that are remembered, right ones and wrong ones for themselves."""
DECOY: Final = PasswordHash(2**14, 8, P, bytes(16), bytes(32))
"""Looked at in the place of a user that there is none of, when there is no user at all."""


class Looks(Protocol):
    """Where passwords are looked at, beside the loop."""

    def begin(self, kept: PasswordHash, given: bytes, network: str, done: Callable[[bool | None], None]) -> bool:
        """Whether it has begun; False: too many wait already.

        `done` is called once, later: with None if it could not be said, for want of memory, or because others had to
        have their turn, of networks that have fewer who wait.
        """

    def call_soon(self, callback: Callable[..., object], *given: object) -> object:
        """Call it on the loop, after what is under way."""


class BasicWay:
    """Knows users by their passwords (RFC 7617)."""

    def __init__(
        self,
        settings: Basic,
        subject_to: str | None,
        tally: AuthTally,
        wall: Wall,
        guesses: Guesses,
        looks: Looks,
        secret: bytes,
    ) -> None:
        """`secret` is one of this process: what is remembered of a password is of no use elsewhere."""
        self.tally = tally
        self.challenge = b'WWW-Authenticate: Basic realm="%b", charset="UTF-8"\r\n' % settings.realm.encode("ascii")
        self.shown_in: tuple[bytes, ...] = (b"authorization",)
        self.cookies: tuple[bytes, ...] = ()
        self._wall = wall
        self._guesses = guesses
        self._looks = looks
        self._secret = secret[:64]
        gone = () if settings.forward_credentials else (b"authorization",)
        self._users: dict[str, tuple[PasswordHash, Proof]] = {}
        for name, kept in settings.users.items():
            told = substitution(told_subject(subject_to, text(name) or b""), gone)
            self._users[name] = PasswordHash.of(kept), Proof(Identity("basic", name), told, 0.0)
        self._decoy = next((kept for kept, _ in self._users.values()), DECOY)
        self._right: OrderedDict[bytes, Proof] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: dict[bytes, list[_Look]] = {}  # those who gave the very same, and wait for one look at it

    @property
    def epoch(self) -> object:
        return self

    def look(self, head: RequestHead, client: Client, decision: Decision) -> Finding:
        try:
            token = authorization(head, b"basic")
        except Ambiguous as error:
            self.tally.results["malformed"] += 1
            return Refusal(400, str(error), WORD, result="malformed")
        if token is None:
            return None
        mark = blake2b(token, key=self._secret, digest_size=32).digest()
        proof = self._right.get(mark)
        if proof is not None and proof.until > self._wall.offset + decision.started:
            return proof
        if mark in self._wrong:  # the same once more is no new guess: who has an old password is not kept out for it
            return self.refused("wrong")
        given = password(token)
        if given is None or len(given.password) > LONGEST:
            return self.refused("wrong")
        if mark in self._waiting:
            return _Look(self, given, mark, decision)
        if wait := self._guesses.take(decision.client, decision.started):
            self.tally.results["limited"] += 1
            return too_many(wait)
        return _Look(self, given, mark, decision)

    def refused(self, result: str) -> Refusal:
        """One answer for wrong names and wrong passwords."""
        self.tally.results[result] += 1
        return Refusal(401, "name or password are wrong", WORD, self.challenge, result=result)

    def join(self, look: _Look) -> bool:
        """Wait for the look at these credentials; False when there are too many."""
        waiting = self._waiting.get(look.mark)
        if waiting is not None:
            waiting.append(look)
            return True
        kept, _ = self._users.get(look.given.user, (self._decoy, None))
        self._waiting[look.mark] = [look]
        network = network_key(look.decision.client)
        if self._looks.begin(kept, look.given.password, network, lambda right: self._looked(look, right)):
            return True
        del self._waiting[look.mark]
        return False

    def leave(self, look: _Look) -> None:
        waiting = self._waiting.get(look.mark)
        if waiting is not None and look in waiting:
            waiting.remove(look)  # the look itself goes on

    def _looked(self, look: _Look, right: bool | None) -> None:
        """The passwords are the same, or are not; of a user that there is none of, both are wrong."""
        call_soon = self._looks.call_soon  # each by itself: what comes of one does not touch the others
        waiting = self._waiting.pop(look.mark, [])
        if right is None:
            for one in waiting:
                call_soon(one.unknown)
            return
        _, proof = self._users.get(look.given.user, (None, None))
        found: Proof | None = None
        if right and proof is not None:
            self._guesses.give_back(look.decision.client, look.decision.started)
            found = proof._replace(until=self._wall.offset + look.decision.started + REMEMBERED)
            self._right[look.mark] = found
            _bound(self._right)
        else:
            self._wrong[look.mark] = None
            _bound(self._wrong)
        for one in waiting:
            call_soon(one.done, found if found is not None else self.refused("wrong"))


class _Look:
    """A request that waits for it."""

    __slots__ = ("_answered", "decision", "given", "mark", "way")

    def __init__(self, way: BasicWay, given: Password, mark: bytes, decision: Decision) -> None:
        self.way = way
        self.given = given
        self.mark = mark
        self.decision = decision
        self._answered: Found | None = None

    def ask(self, answered: Found) -> None:
        self._answered = answered
        if not self.way.join(self):
            self.unknown()

    def unknown(self) -> None:
        """It cannot be looked at, for now."""
        self.way.tally.results["unavailable"] += 1
        reason = "too many passwords are being looked at: try again"
        self.done(Refusal(503, reason, WORD, b"Retry-After: 1\r\n", result="unavailable"))

    def forget(self) -> None:
        self._answered = None
        self.way.leave(self)

    def done(self, found: Proof | Refusal) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(found)


def _bound(remembered: OrderedDict[bytes, Proof] | OrderedDict[bytes, None]) -> None:
    if len(remembered) > MOST:
        remembered.popitem(last=False)
