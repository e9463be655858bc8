from datetime import UTC, datetime

import pytest

from api.auth import ADDRESSES, BURST, PACE, ROLES, Caller, KeyGuesses, Keyring, new_key, presented
from api.problems import Problem
from config.schema import Admin, AdminKey, Config
from tests.api.desk import known_key


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def config(*keys: AdminKey) -> Config:
    return Config(listeners={}, pools={}, routes={}, admin=Admin(keys=keys))


def ring(*keys: AdminKey, fallback: AdminKey | None = None, clock: Clock | None = None) -> Keyring:
    return Keyring(
        lambda: config(*keys),
        fallback,
        clock or Clock(),
        lambda: datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC),
    )


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def status_of(keyring: Keyring, text: str, address: str = "127.0.0.1") -> int:
    try:
        keyring.identify(bearer(text), address)
    except Problem as problem:
        return problem.status
    return 200


def test_a_new_key_opens_and_its_text_is_nowhere_in_what_is_kept() -> None:
    text, key = new_key("operator")
    assert ring(key).identify(bearer(text), "127.0.0.1") == Caller(key.id, "operator")
    secret = text.split("_", 2)[2]  # which may have more of them in it
    assert len(secret) == 43
    assert secret not in key.model_dump_json()
    assert new_key()[0] != new_key()[0]


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer abc"}, {"Authorization": "bearer  abc "}, {"X-API-Key": "abc"}]
)
def test_a_key_may_come_in_either_header(headers: dict[str, str]) -> None:
    caller = ring(fallback=known_key("abc")).identify(headers, "127.0.0.1")
    assert caller == Caller("known", "admin")


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YWJjOmRlZg==", "abc"])
def test_an_authorization_of_another_form_is_refused_with_the_form_that_is_right(value: str) -> None:
    with pytest.raises(Problem, match="Bearer, a space, and the key") as caught:
        presented({"Authorization": value})
    assert caught.value.status == 401
    assert "WWW-Authenticate" in caught.value.headers


def test_no_key_is_nobody_and_no_error() -> None:
    assert ring(fallback=known_key("abc")).identify({}, "127.0.0.1") is None


@pytest.mark.parametrize("text", ["abd", "ab", "abcd", "ABC", "ä", "\udcff"])
def test_a_key_that_differs_at_all_is_not_known(text: str) -> None:
    assert status_of(ring(fallback=known_key("abc")), text) == 401


def test_the_key_made_for_this_process_opens_until_its_end_whatever_keys_are_configured() -> None:
    text, key = new_key()
    assert status_of(ring(fallback=known_key("abc")), "abc") == 200
    assert status_of(ring(key, fallback=known_key("abc")), "abc") == 200
    assert status_of(ring(key, fallback=known_key("abc")), text) == 200
    assert status_of(ring(), "abc") == 401


@pytest.mark.parametrize(
    ("expires", "status"), [("2027-01-31", 200), ("2027-01-30", 401), ("2028-01-01", 200), (None, 200)]
)
def test_a_key_works_until_the_end_of_its_last_day(expires: str | None, status: int) -> None:
    text, key = new_key()
    assert status_of(ring(key.model_copy(update={"expires": expires})), text) == status


@pytest.mark.parametrize("mine", ROLES)
@pytest.mark.parametrize("asked", ROLES)
def test_a_role_may_what_the_roles_below_it_may(mine: str, asked: str) -> None:
    order = ["viewer", "operator", "admin"]
    caller = Caller("a", "admin" if mine == "admin" else "operator" if mine == "operator" else "viewer")
    role = next(role for role in ROLES if role == asked)
    assert caller.may(role) == (order.index(mine) >= order.index(asked))


def test_an_address_that_guesses_has_to_wait_even_with_a_short_right_key() -> None:
    clock = Clock()
    keyring = ring(fallback=known_key("right"), clock=clock)
    assert [status_of(keyring, f"wrong{n}") for n in range(BURST)] == [401] * BURST
    assert status_of(keyring, "another") == 429
    assert status_of(keyring, "right") == 429
    assert status_of(keyring, "right", "127.0.0.2") == 200
    with pytest.raises(Problem) as caught:
        keyring.identify(bearer("right"), "127.0.0.1")
    clock.now += float(caught.value.headers["Retry-After"])
    assert status_of(keyring, "right") == 200


def test_a_right_key_that_nobody_can_guess_never_waits_for_the_wrong_ones_of_others() -> None:
    text, key = new_key()
    keyring = ring(key)
    assert [status_of(keyring, f"wrong{n}" * 10) for n in range(BURST)] == [401] * BURST
    assert status_of(keyring, "another" * 10) == 429
    assert status_of(keyring, text) == 200
    assert status_of(keyring, text[:-1] + ("a" if text[-1] != "a" else "b")) == 429
    assert status_of(keyring, text) == 200


def test_guessing_goes_on_at_the_pace_and_no_faster() -> None:
    clock = Clock()
    keyring = ring(fallback=known_key("right"), clock=clock)
    tried = 0
    for second in range(600):
        clock.now = float(second)
        tried += status_of(keyring, f"wrong{second}") == 401
    assert BURST + 600 / PACE - 2 <= tried <= BURST + 600 / PACE + 1


def test_the_same_wrong_key_again_and_again_locks_nobody_out() -> None:
    keyring = ring(fallback=known_key("right"))
    assert {status_of(keyring, "old") for _ in range(1000)} == {401}
    assert status_of(keyring, "right") == 200


def test_a_host_can_not_guess_faster_by_its_many_addresses() -> None:
    keyring = ring(fallback=known_key("right"))
    for n in range(BURST):
        status_of(keyring, f"wrong{n}", f"2001:db8::{n + 1:x}")
    assert status_of(keyring, "right", "2001:db8::ffff") == 429
    assert status_of(keyring, "right", "2001:db8:0:1::1") == 200
    for n in range(BURST):
        status_of(keyring, f"wrong{n}", f"::ffff:192.0.2.{1 + n % 2}")
    assert status_of(keyring, "right", "192.0.2.1") == 200  # mapped addresses count each for itself


def test_the_table_of_addresses_is_bounded_and_forgets_the_quietest_first() -> None:
    guesses = KeyGuesses()
    for n in range(BURST):
        guesses.count("192.0.2.1", f"hash{n}", 0.0)
    for n in range(ADDRESSES - 1):
        guesses.count(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "hash", 0.0)
    assert len(guesses) == ADDRESSES
    assert guesses.wait("192.0.2.1", 0.0) > 0
    guesses.count("unix", "hash", 0.0)
    assert len(guesses) == ADDRESSES
    assert guesses.wait("192.0.2.1", 0.0) == 0.0
