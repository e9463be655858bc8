"""What is remembered of who has been let in: for how long, how much of it, and for whom alone."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from balancer.decision import Decision
from balancer.guards import token_way
from balancer.guards.auth import AuthStep, Guesses, Proof, Wall, Way
from balancer.guards.basic import MOST, REMEMBERED, BasicWay
from balancer.guards.keyset import KeySet, of_secret
from balancer.guards.passwords import hashed, matches
from balancer.guards.token_way import Fixed, TokenWay
from balancer.guards.verdict import Refusal
from balancer.http1.head import RequestHead, parse_request
from balancer.tally import AuthTally
from config.auth import Basic, Jwt
from config.passwords import PasswordHash
from tests.guards.issuer import SECRET, claims, token

NOW = 2_000_000_000.0
"""Unix time at monotonic 0."""


def head(line: bytes) -> RequestHead:
    return parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + line, 100, 20_000)


def decision(started: float = 0.0, client: str = "192.0.2.1") -> Decision:
    made = Decision("main", client, started)
    made.method = "GET"
    return made


def status(step: AuthStep, request: RequestHead, started: float = 0.0, client: str = "192.0.2.1") -> int:
    verdict = step(request, None, decision(started, client))  # type: ignore[arg-type]  # no way here asks for it
    if verdict is None:
        return 200
    if isinstance(verdict, Refusal):
        return verdict.status
    found: list[int] = []

    def answered(said: Refusal | Exception | None) -> None:
        assert not isinstance(said, Exception)
        found.append(said.status if said is not None else 200)

    verdict.ask(answered)
    return found[0]


def answers(step: AuthStep, request: RequestHead) -> list[Refusal | Exception | None]:
    """What is said to a request that has to wait for it, as it comes."""
    verdict = step(request, None, decision())  # type: ignore[arg-type]  # no way here asks for it
    assert verdict is not None
    assert not isinstance(verdict, Refusal)
    said: list[Refusal | Exception | None] = []
    verdict.ask(said.append)
    return said


def step_of(way: Way, wall: Wall) -> AuthStep:
    return AuthStep({"a": way}, wall, preflight=False)


def tokens(wall: Wall, keys: KeySet | None = None) -> TokenWay:
    issuer = Fixed(keys if keys is not None else of_secret(SECRET))
    return TokenWay(Jwt(secret=SECRET, audience=("shop",)), "X-Auth-Subject", AuthTally(), wall, issuer)


def bearer(**said: object) -> RequestHead:
    return head(b"Authorization: Bearer " + token(claims(**said), "HS256").encode())


def test_a_token_is_known_until_it_ends_and_not_a_second_longer() -> None:
    wall = Wall(NOW)
    way = tokens(wall)
    step = step_of(way, wall)
    request, other = bearer(exp=NOW + 100), bearer(exp=NOW + 100)
    assert [status(step, request, at) for at in (0.0, 1.0, 129.0)] == [200] * 3  # with the leeway of 30 seconds
    assert status(step, other, 129.0) == 200
    assert status(step, request, 130.0) == 401  # the same bytes of the same connection
    assert status(step, other, 130.0) == 401
    assert status(step, bearer(exp=NOW + 100), 131.0) == 401
    assert way.tally.results == {"passed": 4, "expired": 3}


def test_a_clock_that_is_set_forward_ends_what_has_ended_by_it() -> None:
    wall = Wall(NOW)
    step = step_of(tokens(wall), wall)
    request = bearer(exp=NOW + 100)
    assert status(step, request) == 200
    wall.offset += 1000
    assert status(step, request, 1.0) == 401


def test_what_is_known_on_one_route_is_not_known_on_another() -> None:
    wall = Wall(NOW)
    request = bearer(exp=NOW + 100)
    assert status(step_of(tokens(wall), wall), request) == 200
    elsewhere = TokenWay(Jwt(secret="x" * 40, audience=("shop",)), None, AuthTally(), wall, Fixed(of_secret("x" * 40)))
    assert status(step_of(elsewhere, wall), request) == 401


def test_tokens_are_remembered_up_to_a_number_and_up_to_a_size() -> None:
    remembered: token_way._Remembered[int] = token_way._Remembered()
    for number in range(token_way.MOST * 2):
        remembered.put(b"%d" % number, number)
    assert len(remembered) == token_way.MOST
    assert remembered.get(b"0") is None
    assert remembered.get(b"%d" % (token_way.MOST * 2 - 1)) is not None
    for number in range(3000):
        remembered.put(b"%08000d" % number, number)
        remembered.put(b"%08000d" % number, number)
    assert len(remembered) == token_way.MOST_BYTES // 8000
    remembered.clear()
    assert len(remembered) == remembered._size == 0


class AtOnce:
    """Looks at passwords when it is asked to, or, while it is `held`, when that is over."""

    def __init__(self) -> None:
        self.looked = 0
        self.held = False
        self.has_room = True
        self.has_memory = True
        self._later: list[Callable[[], None]] = []

    def begin(self, kept: PasswordHash, given: bytes, network: str, done: Callable[[bool | None], None]) -> bool:
        if not self.has_room:
            return False
        self.looked += 1
        self._later.append(lambda: done(matches(kept, given) if self.has_memory else None))
        if not self.held:
            self.go_on()
        return True

    def go_on(self) -> None:
        self.held = False
        while self._later:
            self._later.pop(0)()

    def call_soon(self, callback: Callable[..., object], *given: object) -> object:
        return callback(*given)


def basic(user: str, word: str) -> RequestHead:
    return head(b"Authorization: Basic " + b64encode(f"{user}:{word}".encode()))


def staff(wall: Wall, guesses: Guesses | None = None) -> tuple[BasicWay, AtOnce]:
    kept = str(hashed(b"open sesame", bytes(16), n=2**13, r=1, p=1))
    looks = AtOnce()
    settings = Basic(users={"alice": kept, "bob": kept})
    return BasicWay(settings, None, AuthTally(), wall, guesses or Guesses(), looks, b"secret"), looks


def test_a_password_is_looked_at_again_after_some_minutes() -> None:
    wall = Wall(NOW)
    way, looks = staff(wall)
    step = step_of(way, wall)
    request = basic("alice", "open sesame")
    assert [status(step, request, at) for at in (0.0, 1.0, REMEMBERED - 1)] == [200] * 3
    assert looks.looked == 1
    assert status(step, request, REMEMBERED) == 200
    assert looks.looked == 2


def test_each_password_is_looked_at_once_right_or_wrong() -> None:
    wall = Wall(NOW)
    way, looks = staff(wall)
    step = step_of(way, wall)
    assert [status(step, basic("alice", "open sesame")) for _ in range(9)] == [200] * 9
    assert looks.looked == 1
    assert [status(step, basic("alice", "an old one")) for _ in range(20)] == [401] * 20
    assert looks.looked == 2


def test_a_password_that_cannot_be_looked_at_is_not_taken_for_a_wrong_one() -> None:
    wall = Wall(NOW)
    way, looks = staff(wall)
    step = step_of(way, wall)
    request = basic("alice", "open sesame")
    looks.has_room = False
    (refusal,) = answers(step, request)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.extra) == (503, b"Retry-After: 1\r\n")
    looks.has_room, looks.has_memory = True, False
    assert status(step, request) == 503
    looks.has_memory = True
    assert status(step, request) == 200
    assert way.tally.results == {"unavailable": 2, "passed": 1}


def test_a_fault_after_a_password_was_looked_at_is_told_to_each_who_waits() -> None:
    wall = Wall(NOW)
    way, looks = staff(wall)

    class Faulty:
        tally = AuthTally()
        challenge = b""
        shown_in: tuple[bytes, ...] = ()
        cookies: tuple[bytes, ...] = ()
        epoch = object()

        def look(self, *_: object) -> Proof:
            raise RuntimeError("a fault of ours")

    step = AuthStep({"staff": way, "partner": Faulty()}, wall, preflight=False)
    looks.held = True
    told = [answers(step, basic("alice", "wrong")) for _ in range(3)]
    assert told == [[], [], []]
    looks.go_on()
    assert looks.looked == 1
    assert [[type(said) for said in one] for one in told] == [[RuntimeError]] * 3


def test_wrong_passwords_are_remembered_up_to_a_number() -> None:
    wall = Wall(NOW)
    way, _ = staff(wall)
    step = step_of(way, wall)
    for number in range(MOST + 50):
        assert status(step, basic("alice", f"{number}"), 0.0, f"2001:db8:{number:x}::1") == 401
    assert len(way._wrong) == MOST
    assert way._right == {}
    assert way._waiting == {}


def test_a_right_password_is_no_guess_and_a_wrong_one_is_one_whoever_it_is_for() -> None:
    wall, guesses = Wall(NOW), Guesses()
    way, _ = staff(wall, guesses)
    step = step_of(way, wall)
    for number in range(30):
        assert status(step, basic(("alice", "bob")[number % 2], "open sesame"), number * REMEMBERED) == 200
    at = 31 * REMEMBERED
    found = [status(step, basic("nobody" if n % 2 else "alice", f"{n}"), at) for n in range(11)]
    assert found == [401] * 10 + [429]
    assert status(step, basic("bob", "open sesame"), at) == 429
    assert status(step, basic("bob", "open sesame"), at, "192.0.2.2") == 200
    assert status(step, basic("alice", "11"), at + Guesses.PACE) == 401
    assert status(step, basic("alice", "12"), at + Guesses.PACE) == 429


def test_a_proof_that_is_not_to_be_remembered_is_not() -> None:
    wall = Wall(NOW)

    class Once:
        tally = AuthTally()
        challenge = b""
        shown_in: tuple[bytes, ...] = ()
        cookies: tuple[bytes, ...] = ()
        epoch = object()
        looked = 0

        def look(self, *_: object) -> Proof:
            self.looked += 1
            proof = tokens(wall).judge(token(claims(exp=NOW + 100), "HS256").encode(), NOW)
            assert isinstance(proof, Proof)
            return proof._replace(until=0.0)

    way = Once()
    step = step_of(way, wall)
    request = head(b"X: 1")
    assert [status(step, request) for _ in range(3)] == [200] * 3
    assert way.looked == 3
