"""API keys: known by their hashes, each with an end and with networks that it may be used from."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from typing import Final, NamedTuple

from balancer.decision import Decision, Identity
from balancer.guards.address import Networks
from balancer.guards.auth import NEVER, WORD, Finding, Guesses, Proof, Wall, substitution, told_subject, too_many
from balancer.guards.credentials import Ambiguous, authorization, field
from balancer.guards.verdict import Refusal
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client
from balancer.tally import AuthTally
from config.auth import ApiKeys

UNGUESSABLE: Final = 32
"""Bytes from which on a key is found at no speed; `balancer api-key` makes longer ones."""
_NOBODY: Final = bytes(32)


class _Known(NamedTuple):
    digest: bytes
    proof: Proof
    networks: Networks
    ends: float
    """Unix time."""


class ApiKeyWay:
    """Looks a request's key up. Its time tells nothing: what is compared are hashes, which nobody can steer."""

    def __init__(
        self, settings: ApiKeys, subject_to: str | None, tally: AuthTally, wall: Wall, guesses: Guesses
    ) -> None:
        self.tally = tally
        self._wall = wall
        self._guesses = guesses
        self._header = settings.header.lower().encode("ascii")
        self.shown_in: tuple[bytes, ...] = (self._header,)
        self.cookies: tuple[bytes, ...] = ()
        self._bearer = self._header == b"authorization"
        self.challenge = b'WWW-Authenticate: ApiKey header="%b"\r\n' % settings.header.encode("ascii")
        if self._bearer:
            self.challenge = b"WWW-Authenticate: Bearer\r\n"
        gone = () if settings.forward_credentials else (self._header,)
        self._known: dict[bytes, _Known] = {}
        for name, key in settings.keys.items():
            digest = bytes.fromhex(key.hash.removeprefix("sha256:"))
            ends = _end(key.expires)
            told = substitution(told_subject(subject_to, name.encode("ascii")), gone)
            proof = Proof(Identity("api-key", name), told, ends)
            self._known[digest] = _Known(digest, proof, Networks(key.networks), ends)

    @property
    def epoch(self) -> object:
        return self

    def look(self, head: RequestHead, client: Client, decision: Decision) -> Finding:
        try:
            text = authorization(head, b"bearer") if self._bearer else field(head, self._header)
        except Ambiguous as error:
            return self._refused("malformed", 400, str(error))
        if text is None:
            return None
        guessable = len(text) < UNGUESSABLE
        now = decision.started
        if guessable and (wait := self._guesses.take(decision.client, now)):
            self.tally.results["limited"] += 1
            return too_many(wait)
        digest = sha256(text).digest()
        known = self._known.get(digest)
        if not compare_digest(known.digest if known is not None else _NOBODY, digest) or known is None:
            return self._refused("wrong", 401, "the API key is not known", self.challenge)
        if guessable:
            self._guesses.give_back(decision.client, now)
        if known.ends <= self._wall.offset + now:
            return self._refused("expired", 401, "the API key has expired", self.challenge)
        if known.networks and decision.client not in known.networks:
            return self._refused("forbidden", 403, "the API key may not be used from your network")
        return known.proof

    def _refused(self, result: str, status: int, reason: str, extra: bytes = b"") -> Refusal:
        self.tally.results[result] += 1
        return Refusal(status, reason, WORD, extra, result=result)


def _end(day: str | None) -> float:
    """The Unix time when the day is over, in UTC."""
    if day is None:
        return NEVER
    after = date.fromisoformat(day) + timedelta(days=1)
    return datetime(after.year, after.month, after.day, tzinfo=UTC).timestamp()
