"""Every hot function that is measured can be called again and again."""

import json
from pathlib import Path

import pytest

from bench.micro import main
from bench.micro_cases import CASES, case


@pytest.mark.parametrize("name", CASES)
def test_a_case_does_not_wear_out(name: str) -> None:
    call = CASES[name]()
    for _ in range(3):
        call()


def test_two_cases_may_not_have_the_same_name() -> None:
    with pytest.raises(ValueError, match="two cases called an empty call"):
        case("an empty call")(lambda: list)


@pytest.mark.slow
def test_an_earlier_runs_figures_can_be_compared_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"an empty call": 1e9}))
    assert main(["an empty*", "--before", str(file)]) == 0
    assert "-100%" in capsys.readouterr().out
