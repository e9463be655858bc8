"""What a client would rather have, whatever it writes into Accept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.accept import LONGEST, MOST, preferred

OFFERS = ((b"text", b"plain"), (b"text", b"html"), (b"application", b"problem+json"), (b"application", b"json"))
NAMES = [b"/".join(offer) for offer in OFFERS]
TEXT, HTML, PROBLEM, JSON = range(4)

BROWSERS = [
    b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    b"text/html, application/xhtml+xml, application/xml;q=0.9, image/apng,*/*;q=0.8,"
    b"application/signed-exchange;v=b3;q=0.7",
]


@pytest.mark.parametrize(
    ("accept", "sent"),
    [
        (None, TEXT),
        (b"", TEXT),
        (b"*/*", TEXT),
        *((browser, HTML) for browser in BROWSERS),
        (b"application/json, text/plain, */*", JSON),
        (b"application/json", JSON),
        (b"application/json; charset=utf-8", JSON),
        (b"application/problem+json, application/json", PROBLEM),
        (b"application/json, application/problem+json", JSON),
        (b"application/*", PROBLEM),
        (b"text/*", TEXT),
        (b"TEXT/HTML", HTML),
        (b"text/html;Q=0.2, text/plain;q=0.1", HTML),
        (b"text/html;level=1;q=0.3, text/plain;q=0.2", HTML),
        (b"text/*, text/plain;q=0", HTML),
        (b"*/*, text/*;q=0.1, application/json;q=0.9", PROBLEM),
        (b"*/*;q=0.1, text/plain;q=0", HTML),
        (b'image/x;note="text/html,", application/json', JSON),
        (b'image/x;note="\\", text/html;q=1', TEXT),  # the quote never ends
        (b"image/png", TEXT),
        (b"text/plain;q=0", TEXT),
        (b"*/*;q=0", TEXT),
        (b"text/html;q=2, application/json;q=0.1", JSON),
        (b"text/html;q=, application/json;q=0.1", JSON),
        (b"text/html;q=0.1234, application/json;q=0.1", JSON),
        (b"*/html, application/json;q=0.1", JSON),
        (b", ,,application/json,", JSON),
        (b"html", TEXT),
    ],
)
def test_the_wanted_form_is_sent(accept: bytes | None, sent: int) -> None:
    assert preferred(accept, OFFERS) == sent


@given(st.binary(max_size=3000))
def test_whatever_is_written_something_is_sent(accept: bytes) -> None:
    assert preferred(accept, OFFERS) in range(len(OFFERS))


@given(st.text(alphabet='texhmlplain/*;,q=01.5" \\', max_size=200))
def test_nearly_right_fields_do_no_harm(accept: str) -> None:
    assert preferred(accept.encode(), OFFERS) in range(len(OFFERS))


@given(
    weights=st.permutations([1.0, 0.7, 0.31, 0.002]),
    order=st.permutations(range(4)),
    others=st.lists(st.sampled_from([b"image/png", b"*/*;q=0.001", b"text/*;q=0.001", b"x/y;q=0"]), max_size=4),
    space=st.sampled_from([b"", b" ", b"\t"]),
)
def test_the_heaviest_of_those_named_is_sent(
    weights: list[float], order: list[int], others: list[bytes], space: bytes
) -> None:
    ranges = [b"%b%b;%bq=%b" % (NAMES[at], space, space, str(weights[at]).encode()) for at in order]
    assert preferred(b",".join([*others, *ranges]), OFFERS) == weights.index(1.0)


@given(refused=st.sets(st.sampled_from(range(4)), max_size=3), wild=st.sampled_from([b"*/*", b"*/*;q=0.5"]))
def test_what_is_refused_by_name_is_not_sent_while_anything_else_is_left(refused: set[int], wild: bytes) -> None:
    sent = preferred(b", ".join([wild, *(NAMES[at] + b";q=0" for at in refused)]), OFFERS)
    assert sent == min(set(range(4)) - refused)


@given(order=st.permutations(range(4)), count=st.integers(1, 4))
def test_of_equal_ones_the_first_named_is_sent(order: list[int], count: int) -> None:
    assert preferred(b", ".join(NAMES[at] for at in order[:count]), OFFERS) == order[0]


def test_what_stands_beyond_the_limits_is_not_read() -> None:
    assert preferred(b"x/y, " * (MOST - 1) + b"text/html", OFFERS) == HTML
    assert preferred(b"x/y, " * MOST + b"text/html", OFFERS) == TEXT
    assert preferred(b"x/%b, text/html" % (b"y" * LONGEST), OFFERS) == TEXT


def test_a_range_that_the_limit_cuts_in_two_is_not_read() -> None:
    filler = b"x/" + b"y" * (LONGEST - len(b"x/,text/html;q=0.1"))
    assert preferred(filler + b",text/html;q=0.123", OFFERS) == TEXT
    assert preferred(filler + b",text/html;q=0.1", OFFERS) == HTML
