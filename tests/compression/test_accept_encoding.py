"""What a client takes, against a slow reading of RFC 9110 sections 12.4.2 and 12.5.3."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancer.compression.accept_encoding import choice, weights

OFFERED = (b"zstd", b"br", b"gzip")

names = st.sampled_from(["gzip", "br", "zstd", "x-gzip", "identity", "*", "deflate", "GZip", "Br", "IDENTITY"])
qualities = st.sampled_from(["", "1", "1.", "1.000", "0", "0.", "0.0", "0.000", "0.5", "0.50", "0.001", "0.999", "0.9"])
spaces = st.sampled_from(["", " ", "\t", "  "])


@st.composite
def members(draw: st.DrawFn) -> tuple[str, str, str]:
    """The text of a member, its name, and its quality value as written or empty."""
    name, quality = draw(names), draw(qualities)
    weight = f"{draw(spaces)};{draw(spaces)}{draw(st.sampled_from('qQ'))}={quality}" if quality else ""
    return f"{draw(spaces)}{name}{weight}{draw(spaces)}", name, quality


def oracle(listed: list[tuple[str, str]]) -> bytes | None:
    """Each coding by itself: the rules of the section as they stand there."""

    def quality(coding: str) -> Fraction | None:
        """None: nothing is said of it, and no `*` either."""
        aliases = {coding, "x-gzip"} if coding == "gzip" else {coding}
        said = [Fraction(q or 1) for name, q in listed if name.lower() in aliases]
        if not said and coding != "identity":
            said = [Fraction(q or 1) for name, q in listed if name == "*"]
        return min(said) if said else None

    plain = quality("identity") or Fraction(0)  # what nobody asked for comes last
    takes = [(quality(coding.decode()) or Fraction(0), coding) for coding in OFFERED]
    liked = [(q, coding) for q, coding in takes if q > 0 and q >= plain]
    if not liked:
        return None
    best = max(q for q, _ in liked)
    return next(coding for q, coding in liked if q == best)


@given(st.lists(members(), max_size=6))
def test_the_choice_is_that_of_the_rfc(listed: list[tuple[str, str, str]]) -> None:
    value = ",".join(text for text, _, _ in listed).encode()
    assert choice(value, OFFERED) == oracle([(name, quality) for _, name, quality in listed])


@given(st.binary(max_size=60))
@example(b"gzip;q=1;q=0")
def test_whatever_comes_is_read_and_gives_what_is_offered_or_nothing(value: bytes) -> None:
    assert choice(value, OFFERED) in {None, *OFFERED}


@pytest.mark.parametrize(
    ("value", "chosen"),
    [
        (None, None),
        (b"", None),
        (b"*", b"zstd"),
        (b"*;q=0", None),
        (b"*;q=0, gzip", b"gzip"),
        (b"zstd;q=0, *", b"br"),
        (b"identity;q=0", None),  # nothing else is acceptable: it is sent all the same
        (b"identity;q=0, br;q=0.1", b"br"),
        (b"identity, gzip;q=0.5", None),
        (b"identity;q=0.5, gzip", b"gzip"),
        (b"gzip, br, zstd", b"zstd"),
        (b"gzip;q=1.0, br;q=0.9", b"gzip"),
        (b"X-GZIP", b"gzip"),
        (b"gzip;q=2", None),
        (b"gzip;q=0.1234", None),
        (b"gzip;q=-1", None),
        (b"gzip;level=9", None),
        (b"gzip;q", None),
        (b"gzip q=1", None),
        (b'"gzip"', None),
        (b"gzip;q=1, gzip;q=0", None),
        (b",, ,gzip,", b"gzip"),
    ],
)
def test_an_example_is_read_as_the_rfc_has_it(value: bytes | None, chosen: bytes | None) -> None:
    assert choice(value, OFFERED) == chosen


def test_only_what_is_offered_is_chosen() -> None:
    assert choice(b"br, zstd, gzip;q=0.1", (b"gzip",)) == b"gzip"
    assert choice(b"*", ()) is None


def test_a_value_of_thousands_of_members_is_read_in_one_go() -> None:
    assert weights(b",".join(b"c%d;q=0.5" % i for i in range(5000)) + b",gzip")[b"gzip"] == 1.0
