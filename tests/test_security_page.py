"""Each attack in docs/security.md has a test that exists, and each attack on the running process is on the page."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.tree import ROOT

PAGE = ROOT / "docs" / "security.md"
HEADING = "| attack | what happens | test |"


def rows() -> list[tuple[str, list[str]]]:
    """Every attack, with the tests that its row names."""
    found: list[tuple[str, list[str]]] = []
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        inside = line == HEADING or (inside and line.startswith("|"))
        if inside and line != HEADING and not line.startswith("| ---"):
            attack, _, tests = line.strip("| ").split(" | ")
            found.append((attack, re.findall(r"`([^`]+)`", tests)))
    return found


@cache
def written_in(module: str) -> frozenset[str]:
    file = ROOT / "tests" / f"{module}.py"
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text()))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in nodes if isinstance(node, kinds) and node.name.startswith("test_"))


@pytest.mark.parametrize(("attack", "names"), rows(), ids=lambda value: value if isinstance(value, str) else "")
def test_each_attack_on_the_page_has_tests_that_there_are(attack: str, names: list[str]) -> None:
    assert names, f"{attack!r} has no test"
    for name in names:
        module, _, test = name.partition("::")
        if module.startswith("wire/cases/"):
            assert re.search(r"^(?:==|\|) ", (ROOT / "tests" / f"{module}.wire").read_text(), re.MULTILINE), name
        else:
            assert written_in(module), f"there is no tests/{module}.py with tests in it"
            assert not test or test in written_in(module), f"tests/{module}.py has no {test}"


def test_each_attack_on_the_running_process_is_on_the_page() -> None:
    modules = ("system/test_admin_attacks", "system/test_admin_insiders", "system/test_guard_attacks")
    named = {name for _, names in rows() for name in names if name.startswith(modules)}
    assert named == {f"{module}::{test}" for module in modules for test in written_in(module)}


def test_no_attack_is_on_the_page_twice_and_there_are_many() -> None:
    attacks = [attack for attack, _ in rows()]
    assert len(attacks) > 80
    assert sorted({attack for attack in attacks if attacks.count(attack) > 1}) == []
