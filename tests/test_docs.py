"""The pages for people: tables that are shown as tables, links that lead somewhere, and every status explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tree import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")])
_RULE = re.compile(r"\|( *:?-+:? *\|)+ *")
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def prose(page: Path) -> list[str]:
    """The lines of a page, those of its examples empty."""
    lines, inside = [], False
    for line in page.read_text().splitlines():
        fence = line.lstrip().startswith("```")
        inside ^= fence
        lines.append("" if inside or fence else line)
    return lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_table_has_its_head_and_no_gap(page: Path) -> None:
    lines = prose(page)
    for number, line in enumerate(lines):
        if line.startswith("|") and (number == 0 or not lines[number - 1].startswith("|")):
            follows = lines[number + 1] if number + 1 < len(lines) else ""
            assert _RULE.fullmatch(follows), f"{page.name}:{number + 1} begins no table"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_to_a_file_that_is_there(page: Path) -> None:
    for line in prose(page):
        for target in _LINK.findall(line):
            assert (page.parent / target).exists(), target


def test_every_status_that_a_guard_answers_is_explained() -> None:
    source = "".join(
        file.read_text() for room in ("guards", "guarding") for file in (ROOT / "balancer" / room).glob("*.py")
    )
    answered = {int(status) for status in re.findall(r"Refusal\(\s*([45][0-9]{2})", source)}
    explained = {
        int(status)
        for status in re.findall(r"^\| ([45][0-9]{2}) ", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    }
    assert {403, 405, 411, 415, 503} <= answered
    assert answered <= explained
