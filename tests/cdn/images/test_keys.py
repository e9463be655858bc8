"""The keys that URLs of pictures are signed with."""

from pathlib import Path

from structlog.testing import capture_logs

from balancer.cdn.images.key_file import NAME, signing_keys
from balancer.secret import common_secret

COMMON = common_secret({"BALANCER_SECRET": "s" * 32})


def test_what_all_machines_know_makes_the_same_key_on_each_and_nothing_is_kept(tmp_path: Path) -> None:
    one, other = (signing_keys((), tmp_path / name, COMMON) for name in ("one", "other"))
    assert one == other
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_none_that_is_used_for_anything_else(tmp_path: Path) -> None:
    assert COMMON not in signing_keys((), tmp_path, COMMON)


def test_configured_secrets_go_before_what_all_machines_know(tmp_path: Path) -> None:
    assert signing_keys(["mine"], tmp_path, COMMON) == signing_keys(["mine"], tmp_path)


def test_a_machine_alone_makes_a_key_of_its_own_once_for_itself_alone(tmp_path: Path) -> None:
    first = signing_keys((), tmp_path / "one")
    assert signing_keys((), tmp_path / "one") == first != signing_keys((), tmp_path / "other")
    assert (tmp_path / "one" / NAME).stat().st_mode & 0o777 == 0o600


def test_a_key_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with capture_logs() as logged:
        assert len(signing_keys((), tmp_path / "file")[0]) == 32
    assert [(entry["log_level"], entry["reason"]) for entry in logged] == [("warning", "File exists")]
