"""The algebra of patches, and JSON read with places."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.json_tree import json_tree
from config.nodes import Items, Node, Scalar, Table, plain, tree_of
from config.patch import applied, difference, same
from config.problems import ConfigError, json_pointer, path_of, path_text

NAMES = st.text(alphabet='ab~/."é', min_size=1, max_size=3)
VALUES = st.one_of(st.booleans(), st.integers(-5, 5), st.text(max_size=3), st.lists(st.integers(0, 2), max_size=2))
DOCUMENTS = st.dictionaries(
    NAMES, st.recursive(VALUES, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8), max_size=4
)


def tree(value: object) -> Table:
    found = tree_of(value, "f")
    assert isinstance(found, Table)
    return found


def rfc7396(target: object, patch: object) -> object:
    """The pseudocode of RFC 7396 section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = rfc7396(result.get(name), value)
    return result


@given(before=DOCUMENTS, after=DOCUMENTS)
def test_the_difference_of_two_documents_leads_from_one_to_the_other(
    before: dict[str, object], after: dict[str, object]
) -> None:
    patch = difference(before, after)
    assert same(plain(applied(tree(before), tree(patch))), after)
    assert difference(after, after) == {}


@given(before=DOCUMENTS, patch=st.dictionaries(NAMES, st.one_of(st.none(), DOCUMENTS, VALUES), max_size=4))
def test_a_patch_is_applied_as_its_rfc_says(before: dict[str, object], patch: dict[str, object]) -> None:
    assert same(plain(applied(tree(before), tree(patch))), rfc7396(before, patch))


def test_a_patch_says_no_more_than_it_must() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert difference(before, {"a": {"b": 1, "c": [1, 3]}, "d": True}) == {"a": {"c": [1, 3]}, "d": True}
    assert difference(before, {"a": {"c": [1, 2]}, "d": 1}) == {"a": {"b": None}}


def test_null_is_a_value_where_the_schema_has_one_and_else_takes_a_key_out() -> None:
    before = tree({"defaults": {"limits": {"lag": "1s", "head": 1000}}, "shutdown": {"grace": "5s"}})
    patch = tree({"defaults": {"limits": {"lag": None, "head": None}}, "shutdown": {"grace": None}})
    assert plain(applied(before, patch)) == {"defaults": {"limits": {"lag": None}}, "shutdown": {}}


# Paths.

PATHS = st.lists(
    st.one_of(st.integers(0, 99), st.text(alphabet="ab._-:é[]", min_size=1, max_size=5)), min_size=1, max_size=4
).filter(lambda path: isinstance(path[0], str))


@given(path=PATHS)
def test_a_path_that_was_written_is_read_as_it_was(path: list[str | int]) -> None:
    assert path_of(path_text(tuple(path))) == tuple(path)


@pytest.mark.parametrize("text", ["a..b", ".a", "a[", 'a["x]', "a[x]", "a.", "a b]"])
def test_what_is_no_path_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be such as"):
        path_of(text)


def test_a_pointer_is_escaped() -> None:
    assert json_pointer(("a/b", "~", 0)) == "/a~1b/~0/0"


# JSON with places.

ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**17), 10**17), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=10,
)


@given(value=st.dictionaries(st.text(max_size=3), ANY, max_size=4), indent=st.sampled_from([None, 1, "\t"]))
def test_json_is_read_as_the_standard_library_reads_it(value: dict[str, object], indent: int | str | None) -> None:
    assert plain(json_tree(json.dumps(value, indent=indent).encode(), "b")) == value


@given(content=st.binary(max_size=30))
def test_what_the_standard_library_refuses_is_refused_with_a_problem(content: bytes) -> None:
    try:
        expected = json.loads(content.decode())
    except (ValueError, RecursionError):
        expected = None
    if not isinstance(expected, dict):
        with pytest.raises(ConfigError):
            json_tree(content, "b")


def test_each_value_knows_its_place() -> None:
    found = json_tree(b'{\n\t"a": [1,\n 2.5e1], "b": {"c": "\\ud83d\\ude00"}}', "b")

    def places(node: Node) -> dict[str, tuple[int, int]]:
        here = {node.place.path: (node.place.line, node.place.column)}
        inner = node.entries.values() if isinstance(node, Table) else node.items if isinstance(node, Items) else ()
        for one in inner:
            here |= places(one)
        return here

    assert places(found) == {"": (1, 1), "a": (2, 7), "a[0]": (2, 8), "a[1]": (3, 2), "b": (3, 15), "b.c": (3, 21)}
    inner = found.table("b").entries["c"]
    assert isinstance(inner, Scalar)
    assert inner.value == "\U0001f600"


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ('{"a": 1,\n "a": 2}', 2, 2, "is there twice, first in line 1"),
        ('{"a": 01}', 1, 8, "must have a comma or }"),
        ('{"a": NaN}', 1, 7, "must be a JSON value"),
        ('{"a": 1,}', 1, 9, "must have a name in double quotes"),
        ("[1]", 1, 1, "must be an object"),
        ('{"a": "\\ud800"}', 1, 15, "surrogate"),
        ('{"a": 1e999}', 1, 12, "finite"),
    ],
)
def test_a_mistake_is_told_at_its_place(text: str, line: int, column: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        json_tree(text.encode(), "b")
    assert (error.value.problems[0].line, error.value.problems[0].column) == (line, column)
