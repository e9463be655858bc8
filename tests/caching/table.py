"""Writes the rules of the cache and their tests into docs/caching.md: `python -m tests.caching.table`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

from tests.caching.case import PROOFS
from tests.caching.cases import CASES
from tests.tree import ROOT

PAGE: Final = ROOT / "docs" / "caching.md"
BEGIN: Final = "<!-- The table: written by `python -m tests.caching.table` -->\n"
END: Final = "<!-- The end of the table -->\n"
OTHERS: Final = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
"""Modules whose tests may be functions of their own."""


class Row(NamedTuple):
    theme: str
    rule: str
    ref: str
    test: str


def rows() -> list[Row]:
    for name in OTHERS:
        import_module(f"tests.caching.{name}")
    cases = [Row(case.theme, case.rule, case.ref, f"`{case.id}`") for case in CASES]
    ranked = sorted(PROOFS, key=lambda proof: OTHERS.index(proof.id.partition("::")[0]))
    proofs = [Row(proof.theme, proof.rule, proof.ref, f"`{proof.id}`") for proof in ranked]
    return cases + proofs


def table() -> str:
    """One for each theme."""
    every = rows()
    themes = list(dict.fromkeys(row.theme for row in every))
    lines = [f"{len(every)} rules:", ""]
    for theme in themes:
        members = [row for row in every if row.theme == theme]
        lines += [f"### {theme}", "", "| rule | section | test |", "| --- | --- | --- |"]
        lines += [f"| {_cell(row.rule)} | {_cell(row.ref)} | {row.test} |" for row in members]
        lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its table as it should be."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} must have the lines {BEGIN.strip()!r} and {END.strip()!r}, for what is between")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page(text), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
