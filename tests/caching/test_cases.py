"""Each case against the running process."""

from __future__ import annotations

import pytest

from tests.caching.case import Case
from tests.caching.cases import CASES
from tests.caching.lab import Lab
from tests.caching.play import play


def _parameter(case: Case) -> object:
    return pytest.param(case, id=case.id, marks=[pytest.mark.slow] if case.slow else [])


@pytest.mark.parametrize("case", [_parameter(case) for case in CASES])
def test_a_rule_holds(case: Case, lab: Lab) -> None:
    wrong = play(case, lab)
    if wrong:
        pytest.fail(f"{case.id}: {case.rule} ({case.ref})\n  " + "\n  ".join(wrong), pytrace=False)


def test_no_two_cases_have_the_same_name() -> None:
    names = [case.id for case in CASES]
    assert sorted({name for name in names if names.count(name) > 1}) == []
