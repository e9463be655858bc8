"""The overlay's file: kept whole, private, and never in the way of a start."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess
import sys

import pytest

from config.overlay import Overlay, add_server, set_state, set_weight
from config.problems import ConfigError
from config.schema import Server
from config.state import StateError, from_text, load_overlay, save_overlay, to_text

OVERLAY = set_state(
    set_weight(add_server(Overlay(), "app", "c", Server(url="http://c:1", backup=True)), "app", "a", 3),
    "app",
    "a",
    "drained",
)


def test_an_overlay_is_kept_over_a_restart(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "var" / "overlay.yaml"
    save_overlay(path, Overlay())
    save_overlay(path, OVERLAY)
    assert load_overlay(path) == (OVERLAY, ())
    assert [entry.name for entry in path.parent.iterdir()] == ["overlay.yaml"]


def test_only_its_owner_may_read_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "overlay.yaml"
    path.write_text("")
    path.chmod(0o644)
    save_overlay(path, OVERLAY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_file_is_an_empty_overlay(tmp_path: pathlib.Path) -> None:
    assert load_overlay(tmp_path / "none.yaml") == (Overlay(), ())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "must be UTF-8"),
        (b"pools: [", "is not YAML"),
        (b"pools: 5", "pools: must be a mapping"),
        (b"pools: {app: {weights: {a: 0}}}", "pools.app.weights.a: must be at least 1, not 0"),
        (b"pools: {app: {added: {a: {url: 'ftp://a'}}}}", "pools.app.added.a.url: must be a server"),
        (b"pools: {app: {servers: {'a b': {url: 'http://a'}}}}", "must have a name"),
        (b"pools: {app: {strategy: best}}", "pools.app.strategy: must be a built-in strategy"),
        (b"pools: {app: {weights: {a: 1}, weights: {a: 2}}}", "is written twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside_and_told_of(
    tmp_path: pathlib.Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "overlay.yaml"
    path.write_bytes(content)
    overlay, problems = load_overlay(path)
    assert overlay == Overlay()
    assert reason in str(problems[0])
    assert "moved to overlay.yaml.bad" in str(problems[-1])
    assert (tmp_path / "overlay.yaml.bad").read_bytes() == content
    assert load_overlay(path) == (Overlay(), ())


def test_a_path_that_cannot_be_read_is_told_of(tmp_path: pathlib.Path) -> None:
    overlay, (problem,) = load_overlay(tmp_path)
    assert overlay == Overlay()
    assert "cannot be read: Is a directory" in str(problem)


def test_a_place_that_cannot_be_written_is_a_clear_error_and_leaves_the_old_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "var").write_text("a file where a folder should be")
    with pytest.raises(StateError, match=r"cannot keep the change in .*: (File exists|Not a directory)"):
        save_overlay(tmp_path / "var" / "overlay.yaml", OVERLAY)
    folder = tmp_path / "overlay.yaml"
    folder.mkdir()
    (folder / "inside").touch()
    with pytest.raises(StateError, match="Is a directory"):
        save_overlay(folder, OVERLAY)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["overlay.yaml", "var"]


@pytest.mark.slow
def test_a_disk_without_room_is_a_clear_error_and_leaves_the_old_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "overlay.yaml"
    save_overlay(path, OVERLAY)
    program = """
import pathlib, resource, sys
from config.overlay import Overlay
from config.state import StateError, save_overlay
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))  # no file may grow beyond ten bytes
try:
    save_overlay(pathlib.Path(sys.argv[1]), Overlay())
except StateError as error:
    print(error)
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", program, str(path)], env=environ, capture_output=True, check=True)
    assert ran.stdout.decode().strip() == (
        f"cannot keep the change in {path}: File too large; make room or another `admin.state`"
    )
    assert load_overlay(path) == (OVERLAY, ())
    assert [entry.name for entry in tmp_path.iterdir()] == ["overlay.yaml"]


def test_the_text_is_one_that_a_person_can_read() -> None:
    assert to_text(OVERLAY).splitlines()[1:] == [
        "pools:",
        "  app:",
        "    added:",
        "      c:",
        "        url: http://c:1",
        "        backup: true",
        "    weights:",
        "      a: 3",
        "    states:",
        "      a: drained",
    ]


def test_text_with_variables_stays_as_it_is() -> None:
    overlay = add_server(Overlay(), "app", "c", Server(url="unix:/run/${X}"))
    assert from_text(to_text(overlay), "f") == overlay
    with pytest.raises(ConfigError, match=r"f:1:12: pools\.a: must be a mapping"):
        from_text("pools: {a: 1}", "f")
