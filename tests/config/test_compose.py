"""YAML to nodes: YAML 1.2 scalars, places, and bounds that hold."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.compose import compose, typed
from config.nodes import Table, at, plain
from config.problems import ConfigError, Path, Problem


def data(text: str) -> object:
    tree, problems = compose(text, "f")
    assert not problems
    return plain(tree)


def refusal(text: str | bytes) -> str:
    try:
        _, problems = compose(text, "f")
    except ConfigError as error:
        return str(error)
    assert problems
    return "\n".join(map(str, problems))


def told(content: str | bytes) -> Sequence[Problem]:
    """The problems of content that has a tree, or of content that has none."""
    try:
        return compose(content, "f")[1]
    except ConfigError as error:
        return error.problems or [Problem("", 0, 0, "", "an error without problems")]


def test_words_and_times_of_yaml_1_1_stay_text() -> None:
    text = "on: [on, off, yes, no, 012, 1:30, 0x1f, 0o7, 1_000, .inf, .nan, 2026-01-31, 1e999, =]"
    assert data(text) == {
        "on": [
            "on",
            "off",
            "yes",
            "no",
            "012",
            "1:30",
            "0x1f",
            "0o7",
            "1_000",
            ".inf",
            ".nan",
            "2026-01-31",
            "1e999",
            "=",
        ]
    }


def test_numbers_truth_and_null_have_their_types_only_without_quotes() -> None:
    assert data("a: [1, -2, 1.5, 1e3, true, false, null, ~, '', '1', \"true\", !!str 1]") == {
        "a": [1, -2, 1.5, 1000.0, True, False, None, None, "", "1", "true", "1"]
    }


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_read_as_it_is_written(number: float) -> None:
    assert typed(repr(number)) == number


@given(st.text())
def test_any_plain_text_has_a_type(text: str) -> None:
    assert isinstance(typed(text), (str, int, float, bool, type(None)))


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [(("a",), 1, 4), (("b", "c"), 3, 6), (("b", "d"), 5, 3), (("b", "d", 1), 6, 5)],
)
def test_every_node_knows_where_it_was_written(path: Path, line: int, column: int) -> None:
    tree, _ = compose("a: 1\nb:\n  c: x\n  d:\n  - 1\n  - 2\n", "f")
    node = at(tree, path)
    assert node is not None
    assert (node.place.line, node.place.column) == (line, column)


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    assert (
        refusal("a: 1\nb:\n  weight: 1\n  weight: 2\n") == 'f:4:3: b.weight: "weight" is written twice, first in line 3'
    )


def test_merge_keys_give_way_to_what_is_written() -> None:
    assert data("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{x: 9}, *a]}") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 9, "y": 2},
    }


def test_a_quoted_merge_key_is_a_key() -> None:
    assert data('a: {"<<": 1}') == {"a": {"<<": 1}}


def test_a_merged_value_keeps_the_place_it_was_written_at() -> None:
    tree, _ = compose("a: &a\n  x: 1\nb:\n  <<: *a\n", "f")
    node = at(tree, ("b", "x"))
    assert node is not None
    assert node.place.line == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: !!python/object:os.system x", "must not have a tag, such as !!python/object:os.system"),
        ("a: !custom {b: 1}", "must not have a tag"),
        ("a: !!int '1'", "must not have a tag"),
        ("a: [", "is not YAML"),
        ("a: 1\n---\nb: 1", "must be one document"),
        ("- a", "must be keys and values"),
        ("text", "must be keys and values"),
        ("[a]: 1", "must have text as its keys"),
        ("&a b: 1", "must not have an anchor on a key"),
        ("a: *b", "there is no &b"),
        ("a: &a [*a]", "must not be inside of what it repeats"),
        ("a: {<<: 1}", "must be a mapping or a list of mappings"),
        ("a: {<<: {b: 1}, <<: {c: 1}}", '"<<" is written twice'),
        ("a:\n\tb: 1", "must be indented with spaces, not with a tab"),
        ("a: @b", "must be in quotes: YAML gives @ a meaning of its own"),
        ("a: b: c", 'has a ": " inside of a value'),
        ("a: {b: /x/{id}, c: 1}", "must have a value with braces in quotes"),
        ("a: \x07", "must not hold the character U+0007"),
        ("a: x\ufeff", "must not hold the character U+FEFF"),
        ("[" * 100, "must be nested at most 64 deep"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(text: str, reason: str) -> None:
    message = refusal(text)
    assert reason in message
    assert message.startswith("f:")


def test_a_file_that_is_not_utf_8_is_refused_at_its_byte() -> None:
    assert refusal(b"a: 1\nb: \xff") == "f:2:4: must be UTF-8 text"
    assert compose(b"\xef\xbb\xbfa: 1", "f")


def test_a_file_beyond_the_bound_is_refused_before_it_is_read() -> None:
    assert "at most 4 MiB" in refusal(b"#" * (4 * 2**20 + 1))


def test_a_small_file_cannot_stand_for_a_huge_tree() -> None:
    lines = ["k0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "at most 200000 values" in refusal("\n".join(lines))


def test_depth_counts_through_aliases() -> None:
    half = "[" * 40 + "]" * 40
    assert "nested at most 64 deep" in refusal(f"a: &a {half}\nb: {'[' * 30}*a{']' * 30}")


def test_nothing_written_is_an_empty_table() -> None:
    for text in ("", "# only a comment\n", "---\n", "null"):
        tree, problems = compose(text, "f")
        assert tree == Table(tree.place)
        assert not problems


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_text_gives_a_tree_or_problems_with_places(text: str) -> None:
    problems = told(text)
    assert all(problem.file == "f" and problem.line > 0 and problem.column > 0 for problem in problems)


@given(st.binary(max_size=60))
def test_any_bytes_give_a_tree_or_problems(content: bytes) -> None:
    assert all(problem.file == "f" and problem.line > 0 for problem in told(content))
