from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.commands.figures import age, count, latency, moment, rate, since


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "0.0ms"),
        (0.00084, "0.8ms"),
        (0.00994, "9.9ms"),
        (0.00996, "10ms"),
        (0.0126, "13ms"),
        (0.999, "999ms"),
        (0.9996, "1.0s"),
        (1.46, "1.5s"),
        (9.96, "10s"),
        (75.0, "75s"),
    ],
)
def test_latencies_have_two_digits_or_three(seconds: float | None, shown: str) -> None:
    assert latency(seconds) == shown


@pytest.mark.parametrize(
    ("per_second", "shown"), [(None, "-"), (0.0, "0.0"), (0.44, "0.4"), (99.96, "100"), (1234.5, "1234"), (1e6, "1.0M")]
)
def test_rates_lose_their_tenths_when_they_are_large(per_second: float | None, shown: str) -> None:
    assert rate(per_second) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (99_999, "99999"),
        (100_000, "100k"),
        (999_600, "1.0M"),
        (4_200_000, "4.2M"),
        (7e9, "7.0G"),
    ],
)
def test_counts_are_exact_up_to_five_digits(number: float | None, shown: str) -> None:
    assert count(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (-3, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"), (86400, "1d")],
)
def test_ages_are_whole_units_that_have_passed(seconds: float | None, shown: str) -> None:
    assert age(seconds) == shown


@given(st.floats(0, 1e15))
def test_no_figure_is_wider_than_six_characters(number: float) -> None:
    assert len(count(number)) <= 6
    assert len(rate(number)) <= 6
    assert len(latency(min(number, 3600))) <= 6


def test_a_time_that_cannot_be_read_is_none() -> None:
    assert moment(None) is None
    assert moment("yesterday") is None
    assert moment("2027-01-31T12:00:00") is None  # of which clock?
    assert moment("2027-01-31T12:00:00Z") == datetime(2027, 1, 31, 12, tzinfo=UTC)


def test_the_time_between_two_moments_is_none_when_one_is_missing() -> None:
    noon = moment("2027-01-31T12:00:00Z")
    assert since(noon, moment("2027-01-31T12:00:05+00:00")) == 5.0
    assert since(None, noon) is None
    assert since(noon, None) is None
