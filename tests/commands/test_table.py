from hypothesis import given
from hypothesis import strategies as st

from balancer.commands.table import Column, Span, rendered, table

COLUMNS = (Column("server"), Column("state"), Column("n", right=True), Column("check"))


def lines(*rows: tuple[str, ...], width: int | None = None) -> list[str]:
    spans = [[Span(text) for text in row] for row in rows]
    return [rendered(line, width, False) for line in table(COLUMNS, spans, width)]


def test_numbers_stand_below_each_other_and_text_begins_below_its_heading() -> None:
    assert lines(("a", "up", "5", "ok"), ("longer", "down", "12345", "bad")) == [
        "server  state      n  check",
        "a       up         5  ok",
        "longer  down   12345  bad",
    ]


def test_what_is_too_wide_loses_first_the_gaps_then_the_beginning_of_the_name_then_the_last_column() -> None:
    row = ("127.0.0.1:3001", "up", "5", "ok")
    assert lines(row, width=28)[1] == "127.0.0.1:3001 up    5 ok"
    assert lines(row, width=22)[1] == "….1:3001 up    5 ok"
    assert lines(row, width=17)[1] == "….1:3001 up    5"


def test_a_table_without_rows_is_its_heading() -> None:
    assert lines() == ["server  state  n  check"]


@given(
    rows=st.lists(st.tuples(*[st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=30)] * 4)),
    width=st.integers(10, 120),
)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    for line in lines(*rows, width=width):
        assert len(line) <= width


@given(st.integers(0, 12))
def test_colours_are_not_counted_as_width(width: int) -> None:
    line = [Span("ab", "red"), Span("cd"), Span("ef", "dim")]
    plain = rendered(line, width, False)
    assert plain == "abcdef"[:width]
    coloured = rendered(line, width, True)
    for code in ("\x1b[31m", "\x1b[2m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain
