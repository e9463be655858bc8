import json
from hashlib import sha256
from pathlib import Path

import pytest

from balancer.commands.outcome import OK, REFUSED, UNREACHABLE, USAGE
from config.load import load
from tests.commands.stand_in import Reply, balancer, problem, stand_in

KEY = "balancer_00000000_" + "k" * 43
ENTRY = {
    "id": "deploy",
    "role": "operator",
    "source": "api",
    "expires": "2027-01-31",
    "expired": False,
    "networks": ["10.0.0.0/8"],
    "created": "2026-01-01T00:00:00Z",
    "created_by": "admin",
    "last_used": {"at": "2026-11-30T19:00:00.123456Z", "address": "10.1.2.3"},
}
MADE = Reply({"key": KEY, "entry": ENTRY}, 201)
NOBODY = "http://127.0.0.1:1"
"""Port 1 answers to nobody."""


def offline(*words: str) -> tuple[int, str, str]:
    return balancer("key", "create", "--offline", *words)


# For the file.


def test_the_entry_that_is_printed_lets_the_key_in_and_nothing_of_it_out(tmp_path: Path) -> None:
    code, out, messages = offline(
        *("--id", "deploy-1", "--role", "operator", "--expires", "2027-01-31"),
        *("--network", "10.0.0.0/8", "--network", "192.0.2.7"),
    )
    assert code == OK
    key, entry = out.splitlines()
    assert key not in entry
    assert key not in messages
    file = tmp_path / "balancer.yaml"
    file.write_text(f"servers: [http://a:1]\nadmin:\n  keys:\n    {entry}\n")
    (loaded,) = load(file, {}).config.admin.keys
    assert loaded.hash == f"sha256:{sha256(key.encode()).hexdigest()}"
    assert (loaded.id, loaded.role, loaded.expires) == ("deploy-1", "operator", "2027-01-31")
    assert list(map(str, loaded.networks)) == ["10.0.0.0/8", "192.0.2.7/32"]


def test_every_key_is_another_and_may_only_read_unless_more_is_asked_for() -> None:
    first, second = (json.loads(offline("--json")[1]) for _ in range(2))
    assert first["key"] != second["key"]
    assert first["entry"]["id"] != second["entry"]["id"]
    assert first["entry"]["role"] == "viewer"
    assert first["in_force"] is False


def test_an_id_of_digits_stays_text_in_the_file(tmp_path: Path) -> None:
    entry = offline("--id", "0123")[1].splitlines()[1]
    file = tmp_path / "balancer.yaml"
    file.write_text(f"servers: [http://a:1]\nadmin:\n  keys:\n    {entry}\n")
    assert load(file, {}).config.admin.keys[0].id == "0123"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--id", ""), "--id must be 1 to 64 letters"),
        (("--id", "two words"), "--id must be 1 to 64 letters"),
        (("--id", "a" * 65), "--id must be 1 to 64 letters"),
        (("--id", KEY), "--id must be a name for the key, and not a key\n"),
        (("--id", "a\nb"), "--id must be 1 to 64 letters"),
        (("--expires", "soon"), "--expires must be a date such as 2027-01-31, not 'soon'"),
        (("--network", "10.0.0.1/8"), "--network must have no bits set after the prefix"),
        (("--network", "home"), "--network must be a network such as 10.0.0.0/8"),
    ],
)
@pytest.mark.parametrize("where", [("--offline",), ("--admin", NOBODY)])
def test_what_no_balancer_would_take_is_refused_before_one_is_asked(
    words: tuple[str, ...], told: str, where: tuple[str, ...]
) -> None:
    code, out, messages = balancer("key", "create", *where, *words)
    assert (code, out) == (USAGE, "")
    assert told in messages


# In the running balancer.


def test_a_key_is_made_in_the_running_balancer_and_this_is_said() -> None:
    with stand_in({"POST /api/keys": MADE}) as api:
        code, out, messages = balancer(
            *("key", "create", "--id", "deploy", "--role", "operator", "--expires", "2027-01-31"),
            *("--network", "10.0.0.0/8", "--admin", api.url),
        )
    assert (code, out) == (OK, f"{KEY}\n")
    assert f"The key deploy with the role operator is in force at {api.url}." in messages
    assert "`balancer key revoke deploy`" in messages
    assert json.loads(api.asked[0].body) == {
        "id": "deploy",
        "role": "operator",
        "expires": "2027-01-31",
        "networks": ["10.0.0.0/8"],
    }


def test_json_says_that_it_is_in_force() -> None:
    with stand_in({"POST /api/keys": MADE}) as api:
        code, out, _ = balancer("key", "create", "--json", "--admin", api.url)
    assert code == OK
    assert json.loads(out) == {"key": KEY, "in_force": True, "entry": ENTRY}


def test_where_no_balancer_runs_the_key_is_for_the_file_and_this_is_said(tmp_path: Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text("admin: {listen: 127.0.0.1:1}\n")
    code, out, messages = balancer("key", "create", "-c", str(file))
    assert code == OK
    assert len(out.splitlines()) == 2
    assert messages.startswith("The key opens nothing yet: no balancer answers at http://127.0.0.1:1 ")


@pytest.mark.parametrize("variable", [None, "BALANCER_ADMIN"])
def test_a_balancer_that_was_named_and_does_not_answer_is_a_failure(variable: str | None) -> None:
    words = ("--admin", NOBODY) if variable is None else ()
    environ = {variable: NOBODY} if variable is not None else {}
    code, out, messages = balancer("key", "create", *words, environ=environ)
    assert (code, out) == (UNREACHABLE, "")
    assert "no balancer answers at" in messages


def test_a_refusal_makes_no_key_and_says_what_else_there_is() -> None:
    refusal = problem(403, "this needs the role admin; the key a has the role viewer, which may only read")
    with stand_in({"POST /api/keys": refusal}) as api:
        code, out, messages = balancer("key", "create", "--admin", api.url)
    assert (code, out) == (REFUSED, "")
    assert messages == (
        "balancer: no key was made: this needs the role admin; the key a has the role viewer, which may only read\n"
        "To make a key for balancer.yaml without asking the balancer, add --offline\n"
    )


def test_keys_are_listed_in_columns() -> None:
    over = {**ENTRY, "id": "old", "expired": True, "expires": "2020-01-01", "networks": [], "last_used": None}
    with stand_in({"GET /api/keys": Reply({"items": [ENTRY, over], "next": None})}) as api:
        code, out, _ = balancer("key", "list", "--admin", api.url)
    assert code == OK
    assert out.startswith("KEY  ")
    assert "10.0.0.0/8  2026-11-30 19:00:00 UTC from 10.1.2.3" in out
    assert "2020-01-01, over" in out


def test_a_key_is_revoked_by_its_id() -> None:
    with stand_in({"DELETE /api/keys/deploy": Reply(b"", 204, "")}) as api:
        ended = balancer("key", "revoke", "deploy", "--admin", api.url)
    assert ended == (OK, "", f"The key deploy opens nothing any more, at {api.url}.\n")


def test_the_last_key_goes_only_when_one_says_so() -> None:
    replies = {
        "DELETE /api/keys/a": problem(409, "a is the last key of role admin"),
        "DELETE /api/keys/a?last=true": Reply(b"", 204, ""),
    }
    with stand_in(replies) as api:
        assert balancer("key", "revoke", "a", "--admin", api.url).code == REFUSED
        assert balancer("key", "revoke", "a", "--last", "--admin", api.url).code == OK
