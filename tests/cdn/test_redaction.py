"""What of a provider's words is shown: no secret of ours, however it repeats it."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.redaction import RUN, Redaction
from config.masking import MASK

SECRET = "cfToken+PLANTED/abcdefghij0123456789"
redacted = Redaction([SECRET])


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        SECRET[:-3],
        SECRET[3:],
        SECRET.upper(),
        f"Bearer {SECRET}",
        f"token {SECRET[: RUN + 1]}... is invalid",
        b64encode(SECRET.encode()).decode(),
        b64encode(f"id:{SECRET}".encode()).decode(),
        urlsafe_b64encode(f"a{SECRET}zz".encode()).decode(),
        SECRET.replace("/", "\\/"),
        SECRET.replace("+", "%2B").replace("/", "%2F"),
    ],
)
def test_a_secret_is_found_in_all_its_clothes(said: str) -> None:
    shown = redacted(f"before {said} after")
    assert MASK in shown
    assert shown.startswith("before ")
    assert not any(SECRET[start : start + RUN] in shown for start in range(len(SECRET) - RUN + 1))


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=64), st.data())
def test_no_long_part_of_a_secret_is_ever_shown(secret: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(secret) - RUN))
    part = secret[start : start + data.draw(st.integers(RUN, len(secret)))]
    assert part.lower() not in Redaction([secret])(f"({part})").lower()


@given(st.text())
def test_what_has_nothing_to_do_with_a_secret_is_told_as_it_is(text: str) -> None:
    shown = Redaction(["0123456789abcdefghij"])(text, 10_000)
    if text.isprintable() and "01234" not in text:
        assert shown == text
