"""The table in docs/caching.md is what the tests are."""

from __future__ import annotations

from tests.caching.table import PAGE, page, rows


def test_the_page_has_the_rules_that_are_tested() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "docs/caching.md is behind the tests: run `python -m tests.caching.table`"


def test_each_rule_has_a_test_of_its_own() -> None:
    tests = [row.test for row in rows()]
    assert sorted({test for test in tests if tests.count(test) > 1}) == []


def test_each_rule_says_where_it_is_written() -> None:
    assert [row.test for row in rows() if not row.ref or not row.rule.endswith(".")] == []
