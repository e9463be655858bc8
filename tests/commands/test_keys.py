import json
from hashlib import sha256
from pathlib import Path

import pytest

from balancer.commands.outcome import OK, USAGE
from config.load import load
from tests.commands.stand_in import balancer


def test_the_entry_that_is_printed_lets_the_key_in_and_nothing_of_it_out(tmp_path: Path) -> None:
    code, out, messages = balancer("key", "create", "--id", "deploy-1", "--role", "operator")
    assert code == OK
    key, entry = out.splitlines()
    assert key not in entry
    assert key not in messages
    file = tmp_path / "balancer.yaml"
    file.write_text(f"servers: [http://a:1]\nadmin:\n  keys:\n    {entry}\n")
    (loaded,) = load(file, {}).config.admin.keys
    assert loaded.hash == f"sha256:{sha256(key.encode()).hexdigest()}"
    assert (loaded.id, loaded.role) == ("deploy-1", "operator")


def test_every_key_is_another_and_may_only_read_unless_more_is_asked_for() -> None:
    first, second = (json.loads(balancer("key", "create", "--json").out) for _ in range(2))
    assert first["key"] != second["key"]
    assert first["entry"]["id"] != second["entry"]["id"]
    assert first["entry"]["role"] == "viewer"


def test_an_id_of_digits_stays_text_in_the_file(tmp_path: Path) -> None:
    entry = balancer("key", "create", "--id", "0123").out.splitlines()[1]
    file = tmp_path / "balancer.yaml"
    file.write_text(f"servers: [http://a:1]\nadmin:\n  keys:\n    {entry}\n")
    assert load(file, {}).config.admin.keys[0].id == "0123"


@pytest.mark.parametrize("id_", ["", "two words", "a" * 65, "a\nb"])
def test_an_id_that_the_schema_would_refuse_is_refused_here(id_: str) -> None:
    code, out, messages = balancer("key", "create", "--id", id_)
    assert (code, out) == (USAGE, "")
    assert "--id must be 1 to 64 letters" in messages
