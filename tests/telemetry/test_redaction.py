import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.telemetry.redaction import MASK, Redaction, _spelt_out, masked

mask = Redaction(("query:token", "query:API_Key", "authorization")).path


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/a?token=abc", "/a?token=***"),
        ("/a?x=1&token=abc&y=2", "/a?x=1&token=***&y=2"),
        ("/a?x=1;token=abc;y=2", "/a?x=1;token=***;y=2"),
        ("/a?TOKEN=abc", "/a?TOKEN=***"),
        ("/a?api_key=abc", "/a?api_key=***"),
        ("/a?%74oken=abc", "/a?%74oken=***"),
        ("/a?t%6Fken%5B0%5D=abc", "/a?t%6Fken%5B0%5D=***"),
        ("/a?token[]=abc&token[1]=def", "/a?token[]=***&token[1]=***"),
        ("/a?token=abc=def?token=x", "/a?token=***"),
        ("/a?token=", "/a?token=***"),
        ("/a?token", "/a?token"),
        ("/a?tokens=3&mytoken=4", "/a?tokens=3&mytoken=4"),
        ("/token=abc?x=%20", "/token=abc?x=%20"),
        ("/a?", "/a?"),
        ("/a?authorization=1", "/a?authorization=1"),
    ],
)
def test_values_of_secret_parameters_are_masked_and_nothing_else(path, logged):
    assert mask(path) == logged


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """A secret name as some client might write it."""
    letters = [letter.upper() if draw(st.booleans()) else letter for letter in "token"]
    return "".join(f"%{ord(letter):02x}" if draw(st.booleans()) else letter for letter in letters)


@given(name=spellings(), before=st.text("ab=&?;%+", max_size=8), value=st.text(min_size=1).map(quote))
def test_no_spelling_of_a_secret_name_lets_its_value_through(name, before, value):
    logged = mask(f"/p?{before}&{name}=v{value}v")
    assert logged.endswith(f"{name}={MASK}")


@given(st.text("/?&=;%+abc\\"))
def test_what_has_no_secret_stays_as_it_is(path):
    assert mask(path) == path


def test_with_nothing_to_redact_everything_stays():
    assert Redaction(()).path("/a?token=%74") == "/a?token=%74"


def test_secrets_are_masked_by_name_however_deep_and_however_spelt():
    event = {"headers": {"Authorization": "Bearer x", "X-Api-Key": "k", "Accept": "*/*"}, "items": [{"password": 1}]}
    assert masked(event) == {
        "headers": {"Authorization": MASK, "X-Api-Key": MASK, "Accept": "*/*"},
        "items": [{"password": MASK}],
    }


def test_credentials_in_an_address_are_masked():
    assert masked("cannot reach redis://user:pa55@host:6379/0") == "cannot reach redis://***@host:6379/0"
    assert masked("cannot reach redis://user:pa@55@host:6379/0") == "cannot reach redis://***@host:6379/0"
    assert masked("mail to a@b.example") == "mail to a@b.example"


@given(st.text("?&;=%a", max_size=12))
def test_a_name_that_is_spelt_out_is_found_wherever_it_begins(query: str) -> None:
    plainly = any("%" in part.partition("=")[0] for part in re.split("[?&;]", query)[1:])
    assert (_spelt_out(query) is not None) == plainly


@pytest.mark.timeout(20)
def test_a_long_target_of_beginnings_is_searched_once() -> None:
    """From each of them to the end it would be a minute."""
    path = "/%41" + "?" * 200_000
    assert mask(path) == path
