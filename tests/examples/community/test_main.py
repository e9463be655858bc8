"""The command line of one copy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tree import ROOT

pytestmark = pytest.mark.slow


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.community", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def test_a_taken_port_is_named(copy, tmp_path: Path):
    port = copy.url.rpartition(":")[2]
    ended = run("--port", port, "--name", "second", "--database", str(tmp_path / "x.db"))
    assert ended.returncode == 1
    assert f"second: cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "choose another with --port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_that_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("These are my notes. " * 100)
    ended = run("--port", "0", "--database", str(tmp_path / "notes.txt"))
    assert ended.returncode == 1
    assert "notes.txt: file is not a database" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("share", ["1.5", "-1", "often"])
def test_a_share_is_from_0_to_1(share: str):
    ended = run("--chaos", "slow", f"--chaos-rate={share}")
    assert ended.returncode == 2
    assert "--chaos-rate" in ended.stderr
