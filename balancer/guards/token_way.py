"""Who a request is from, by a signed token; one that was looked at is known until it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, Protocol, TypeVar

from balancer.decision import Decision, Identity
from balancer.guards.auth import WORD, Finding, Found, Proof, Wall, substitution, told_subject
from balancer.guards.credentials import Ambiguous, authorization, cookie, field
from balancer.guards.keyset import KeySet
from balancer.guards.texts import text
from balancer.guards.tokens import KEY, Fault, UnknownKey, Verifier
from balancer.guards.verdict import Refusal
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client
from balancer.tally import AuthTally
from config.auth import Jwt

MOST: Final = 4096
"""Tokens that are remembered, good ones and bad ones for themselves."""
MOST_BYTES: Final = 8 * 1024 * 1024
"""The same in bytes of tokens, again for each."""
_ERRORS: Final = {400: b"invalid_request", 401: b"invalid_token", 403: b"insufficient_scope"}
"""RFC 6750 section 3.1."""
T = TypeVar("T")


class Issuer(Protocol):
    """Where the keys of tokens come from."""

    keys: KeySet
    """Another object when they change; empty until they are known."""

    def ask_anew(self, done: Callable[[], None]) -> bool:
        """Fetch the keys, and say so; False: not so soon after the last time. `done` is called once, later."""

    def forget(self, done: Callable[[], None]) -> None:
        """It is not waited for any more."""


class Fixed:
    """Keys that stand in the configuration."""

    def __init__(self, keys: KeySet) -> None:
        self.keys = keys

    def ask_anew(self, done: Callable[[], None]) -> bool:
        return False

    def forget(self, done: Callable[[], None]) -> None:
        pass


class TokenWay:
    """Knows bearers of tokens (RFC 6750)."""

    def __init__(self, settings: Jwt, subject_to: str | None, tally: AuthTally, wall: Wall, issuer: Issuer) -> None:
        self.tally = tally
        self.issuer = issuer
        self.challenge = b'WWW-Authenticate: Bearer realm="%b"\r\n' % settings.realm.encode("ascii")
        self._realm = settings.realm.encode("ascii")
        self._settings = settings
        self._subject_to = subject_to
        self._wall = wall
        self._verifier = Verifier(settings)
        kind, _, name = settings.token.partition(":")
        self._cookie = name.encode("ascii") if kind == "cookie" else b""
        self._header = name.lower().encode("ascii") if kind == "header" else b""
        self.shown_in: tuple[bytes, ...] = () if self._cookie else (self._header or b"authorization",)
        self.cookies: tuple[bytes, ...] = (self._cookie,) if self._cookie else ()
        self._gone = () if settings.forward_credentials else self.shown_in
        self._cookies_gone = () if settings.forward_credentials else self.cookies
        self._keys = issuer.keys
        self._good: _Remembered[Proof] = _Remembered()
        self._bad: _Remembered[Fault] = _Remembered()

    @property
    def epoch(self) -> object:
        return self.issuer.keys

    def look(self, head: RequestHead, client: Client, decision: Decision) -> Finding:
        try:
            if self._cookie:
                token = cookie(head, self._cookie)
            elif self._header:
                token = field(head, self._header)
            else:
                token = authorization(head, b"bearer")
        except Ambiguous as error:
            return self._refused(Fault("malformed", str(error), status=400))
        if token is None:
            return None
        found = self.judge(token, self._wall.offset + decision.started)
        return _Wait(self, token, decision) if found is None else found

    def judge(self, token: bytes, now: float, *, last: bool = False) -> Proof | Refusal | None:
        """What a token is; None: that can be said only with newer keys. With `last` it is said with those there are."""
        keys = self.issuer.keys
        if keys is not self._keys:  # what was signed with a key that has been taken back is not good any more
            self._keys = keys
            self._good.clear()
            self._bad.clear()
        proof = self._good.get(token)
        if proof is not None and proof.until > now:
            return proof
        fault = self._bad.get(token)
        if fault is not None:
            return self._refused(fault)
        found = self._verifier.verify(token, keys, now)
        if isinstance(found, UnknownKey):
            if not last:
                return None
            if not keys:
                self.tally.results["unavailable"] += 1
                reason = "the keys of the issuer of tokens are not known at the moment"
                return Refusal(503, reason, WORD, b"Retry-After: 1\r\n", result="unavailable")
            return self._refused(KEY)
        if isinstance(found, Fault):
            if found.lasting:
                self._bad.put(token, found)
            return self._refused(found)
        proof = self._proof(found.claims, found.until)
        self._good.put(token, proof)
        return proof

    def _proof(self, claims: Mapping[str, object], until: float) -> Proof:
        settings = self._settings
        subject = claims.get(settings.subject)
        name = str(subject) if isinstance(subject, (str, int)) and not isinstance(subject, bool) else ""
        pairs = told_subject(self._subject_to, text(name) or b"")
        for claim, to in settings.claims_to.items():
            told = text(claims.get(claim))
            if told is not None:
                pairs.append((to, told))
        return Proof(Identity("jwt", name[:128], claims), substitution(pairs, self._gone, self._cookies_gone), until)

    def _refused(self, fault: Fault) -> Refusal:
        self.tally.results[fault.result] += 1
        said = b'WWW-Authenticate: Bearer realm="%b", error="%b", error_description="%b"\r\n' % (
            self._realm,
            _ERRORS[fault.status],
            fault.reason.encode("ascii"),
        )
        return Refusal(fault.status, fault.reason, WORD, said, result=fault.result)


class _Remembered(Generic[T]):
    """What was said of tokens. The oldest makes room."""

    __slots__ = ("_held", "_size", "get")

    def __init__(self) -> None:
        self._held: dict[bytes, T] = {}
        self._size = 0
        self.get = self._held.get

    def put(self, token: bytes, said: T) -> None:
        held = self._held
        if held.pop(token, None) is not None:
            self._size -= len(token)
        while held and (len(held) >= MOST or self._size + len(token) > MOST_BYTES):
            oldest = next(iter(held))
            del held[oldest]
            self._size -= len(oldest)
        held[token] = said
        self._size += len(token)

    def clear(self) -> None:
        self._held.clear()
        self._size = 0

    def __len__(self) -> int:
        return len(self._held)


class _Wait:
    """A request whose token is signed with a key that may yet come."""

    __slots__ = ("_answered", "_decision", "_token", "_way")

    def __init__(self, way: TokenWay, token: bytes, decision: Decision) -> None:
        self._way = way
        self._token = token
        self._decision = decision
        self._answered: Found | None = None

    def ask(self, answered: Found) -> None:
        self._answered = answered
        if not self._way.issuer.ask_anew(self._done):
            self._done()

    def forget(self) -> None:
        self._answered = None
        self._way.issuer.forget(self._done)

    def _done(self) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            try:
                found = self._way.judge(self._token, self._way._wall.offset + self._decision.started, last=True)
            except Exception as error:  # whoever waits has to be told
                answered(error)
                return
            assert found is not None  # it is the last word
            answered(found)
