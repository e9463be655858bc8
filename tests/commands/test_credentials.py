"""What is printed of passwords and keys is what the balancer then knows them by."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import pytest

from balancer.cli import main
from balancer.commands.console import Console
from balancer.commands.credentials import hash_password
from balancer.commands.outcome import Failure
from balancer.guards.passwords import hashed, matches
from config.load import parse
from config.passwords import PasswordHash


def printed(*words: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    assert main(words, Console({}, out, err)) == 0
    return out.getvalue(), err.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def hashed_of(source: io.StringIO, answers: Sequence[str] = ()) -> PasswordHash:
    out = io.StringIO()
    told = iter(answers)
    assert hash_password(Console({}, out, io.StringIO()), source, lambda prompt: next(told)) == 0
    return PasswordHash.of(out.getvalue().strip())


@pytest.mark.slow
def test_a_password_from_a_pipe_is_its_first_line() -> None:
    kept = hashed_of(io.StringIO("pass word\u00e9\nmore\n"))
    assert matches(kept, "pass word\u00e9".encode())
    assert not matches(kept, b"pass word")
    assert (kept.n, kept.r, kept.p) == (2**14, 8, 5)


@pytest.mark.slow
def test_a_password_is_asked_for_twice_on_a_terminal_and_salted_each_time() -> None:
    first, second = (hashed_of(Terminal(), ["secret", "secret"]) for _ in range(2))
    assert first.salt != second.salt
    assert first.key != second.key
    with pytest.raises(Failure, match="differ"):
        hashed_of(Terminal(), ["secret", "secrets"])


@pytest.mark.parametrize("given", ["", "\n", "x" * 2000, "a\x00b", "tab\t"])
def test_what_no_browser_could_send_is_no_password(given: str) -> None:
    with pytest.raises(Failure, match="a password must have"):
        hashed_of(io.StringIO(given))


def test_a_key_is_shown_once_and_its_entry_can_be_used() -> None:
    out, err = printed("api-key", "acme", "--expires", "2999-01-31", "--network", "192.0.2.0/24")
    key, entry = out.splitlines()
    assert key.startswith("acme_")
    assert len(key) == 48
    assert "shown only now" in err
    assert key not in err + entry
    text = f"servers: [http://a:1]\nauth: {{p: {{api_keys: {{keys: {{{entry}}}}}}}}}"
    (found,) = parse(text, "f", {}).config.auth.values()
    assert found.api_keys is not None
    assert str(found.api_keys.keys["acme"].networks[0]) == "192.0.2.0/24"
    document = json.loads(printed("api-key", "acme", "--json")[0])
    assert document["key"] != key
    assert list(document["entry"]) == ["hash"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a b"], "NAME must be"),
        (["a", "--expires", "tomorrow"], "must be a date"),
        (["a", "--expires", "2020-01-01"], "--expires must be today or a later day, not 2020-01-01"),
        (["a", "--network", "here"], "--network must be"),
    ],
)
def test_what_is_no_name_date_or_network_is_refused(words: list[str], reason: str) -> None:
    err = io.StringIO()
    assert main(["api-key", *words], Console({}, io.StringIO(), err)) == 2
    assert reason in err.getvalue()


def test_hashes_are_read_back_as_they_were_written() -> None:
    kept = hashed(b"x", bytes(16), n=2**13, p=1)
    assert PasswordHash.of(str(kept)) == kept
