"""The whole comparison, as small as it gets and with nothing that is not ours."""

import json
import os
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the comparison needs /proc", allow_module_level=True)

from bench.program import NotStarted, Recipe, running
from bench.proxy import main


@pytest.mark.slow
def test_the_floor_is_measured_with_nothing_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    size = ["--rounds", "1", "--seconds", "1"]
    assert main(["--own", "--only", "floor", "--cases", "small", *size, "--json", str(file)]) == 0
    assert "floor" in capsys.readouterr().out
    cases = json.loads(file.read_text())["cases"]
    assert cases["small"]["rows"]["floor"]["value"]["median"] > 0
    assert cases["small"]["errors"] == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "apache"], "expected some of balancer,nginx,haproxy,floor, not 'apache'"),
        (["--rounds", "0"], "expected a whole number from 1, not '0'"),
        (["--idle", "1000000"], "limit of open files"),
    ],
)
def test_a_wrong_argument_is_told_with_what_was_expected(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_program_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    recipe = Recipe("broken", (sys.executable, "-c", "raise SystemExit('no such option')"), 1, tmp_path)
    core = min(os.sched_getaffinity(0))
    with pytest.raises(NotStarted, match="ended at once; it said:\n  no such option"), running(recipe, core):
        pass
