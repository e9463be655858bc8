"""The key of sticky cookies."""

from hashlib import sha256
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from balancer.app import _secret
from balancer.secret import SIZE


def test_a_secret_of_the_environment_is_the_same_key_on_every_machine(tmp_path: Path) -> None:
    given = {"BALANCER_SECRET": "sixteen bytes it"}
    assert (
        _secret(tmp_path / "one", given) == _secret(tmp_path / "other", given) == sha256(b"sixteen bytes it").digest()
    )
    assert list(tmp_path.iterdir()) == []


def test_two_secrets_that_begin_alike_or_end_in_zeros_are_two_keys(tmp_path: Path) -> None:
    texts = ["s" * 40, "s" * 41, "s" * 40 + "\udcff"]
    assert len({_secret(tmp_path / "kept", {"BALANCER_SECRET": text}) for text in texts}) == 3


@pytest.mark.parametrize("text", ["a", "fifteen bytes!!"])
def test_a_secret_that_can_be_found_by_trying_is_not_used_and_this_is_said(tmp_path: Path, text: str) -> None:
    with capture_logs() as logged:
        key = _secret(tmp_path / "kept", {"BALANCER_SECRET": text})
    assert key == (tmp_path / "kept").read_bytes()
    assert len(key) == SIZE
    assert [entry["log_level"] for entry in logged] == ["warning"]
    assert logged[0]["bytes"] == len(text)
    assert text not in {str(value) for value in logged[0].values()}
