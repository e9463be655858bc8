import io

from hypothesis import given
from hypothesis import strategies as st

from balancer.commands.console import Console, counted, printable
from tests.commands.stand_in import Terminal


def test_a_character_that_the_terminal_cannot_show_is_no_failure() -> None:
    shown = io.BytesIO()
    stream = io.TextIOWrapper(shown, encoding="ascii")
    Console({}, stream, io.StringIO()).out("…pool-ü")
    assert shown.getvalue() == b"?pool-?\n"


def test_a_terminal_that_nobody_told_its_size_has_the_usual_one() -> None:
    assert Console({}, Terminal(), io.StringIO()).size == (80, 24)


def test_what_is_no_terminal_has_no_width_to_keep_to() -> None:
    assert Console({}, io.StringIO(), io.StringIO()).size is None


@given(st.text())
def test_nothing_that_was_made_printable_moves_the_cursor(text: str) -> None:
    assert all(char.isprintable() for char in printable(text))
    assert len(printable(text)) == len(text)


def test_one_is_not_many() -> None:
    assert [counted(number, "server") for number in (0, 1, 2)] == ["0 servers", "1 server", "2 servers"]
