import pytest

from balancer.commands.document import Part

WHOLE = Part({"a": {"b": 1.5, "yes": True, "text": "x\x1b"}, "list": [{"n": 1}, "other"], "none": None})


def test_what_is_there_is_found_by_its_path() -> None:
    assert WHOLE.part("a").number("b") == 1.5
    assert WHOLE.part("a").flag("yes")
    assert WHOLE.part("a").text("text") == "x?"
    assert [item.count("n") for item in WHOLE.items("list")] == [1, 0]
    assert list(WHOLE.parts("a")) == ["b", "yes", "text"]


@pytest.mark.parametrize("value", [None, [], "text", 5, {"a": []}])
def test_what_is_of_another_kind_is_as_good_as_not_there(value: object) -> None:
    part = Part(value).part("a", "b")
    assert part.number("x") is None
    assert part.text("x") is None
    assert part.count("x") == 0
    assert not part.flag("x")
    assert part.items("x") == []
    assert part.parts("x") == {}


def test_a_truth_value_is_no_number_and_a_number_no_truth_value() -> None:
    assert WHOLE.part("a").number("yes") is None
    assert not WHOLE.part("a").flag("b")
