import json
from pathlib import Path

import pytest

from balancer.commands.outcome import OK, USAGE
from config.load import load
from tests.commands.stand_in import balancer
from tests.tree import ROOT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "balancer.yaml"
    file.write_text("listen: 127.0.0.1:8080\nservers: [http://127.0.0.1:3001]\nstrategy: '${HOW:-random}'\n")
    return file


def test_what_is_shown_is_a_file_of_the_same_meaning(file: Path, tmp_path: Path) -> None:
    code, out, messages = balancer("config", "show", "-c", str(file))
    assert (code, messages) == (OK, "")
    shown = tmp_path / "shown.yaml"
    shown.write_text(out)
    assert load(shown, {}).config == load(file, {}).config


def test_the_environment_is_part_of_what_is_shown_and_secrets_are_not(file: Path) -> None:
    environ = {"HOW": "hash", "ADMIN_API_KEY": "s3cret-key", "REDIS_URL": "redis://user:s3cret@127.0.0.1/0"}
    _, out, _ = balancer("config", "show", "-c", str(file), "--json", environ=environ)
    found = json.loads(out)
    assert found["pools"]["default"]["strategy"] == "hash"
    assert found["admin"]["keys"][0]["hash"] == "sha256:***"
    assert "s3cret" not in out


def test_a_bad_configuration_is_not_shown_but_its_problems_are(file: Path) -> None:
    file.write_text("servers: [ftp://a]\n")
    code, out, messages = balancer("config", "show", "-c", str(file))
    assert (code, out) == (USAGE, "")
    assert f"{file}:1:11: " in messages


def test_the_schema_is_the_one_that_editors_are_given() -> None:
    code, out, _ = balancer("config", "schema")
    assert code == OK
    assert json.loads(out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "strategy" in json.loads(out)["properties"]


def test_the_example_is_the_shipped_reference_and_good(tmp_path: Path) -> None:
    code, out, _ = balancer("config", "example")
    assert code == OK
    assert out == (ROOT / "balancer.yaml").read_text()
    example = tmp_path / "balancer.yaml"
    example.write_text(out)
    assert balancer("check", str(example)).code == OK
