from __future__ import annotations

from math import e

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.ewma import PeakEwma

latencies = st.floats(0.0, 100.0)


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[float, float, bool]]:
    """Samples as (time, latency, whether it was an error), in order of time."""
    times = sorted(draw(st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=20)))
    return [(time, draw(latencies), draw(st.booleans())) for time in times]


def told(story: list[tuple[float, float, bool]]) -> PeakEwma:
    average = PeakEwma(decay=10.0, start=0.030)
    for time, latency, error in story:
        (average.punish if error else average.observe)(latency, time)
    return average


def test_without_a_sample_it_is_the_first_guess_for_ever() -> None:
    average = PeakEwma(decay=10.0, start=0.030)
    assert not average.measured
    assert average.at(0.0) == average.at(1e9) == 0.030


def test_the_first_sample_replaces_the_guess() -> None:
    average = PeakEwma(decay=10.0, start=0.030)
    average.observe(0.001, 5.0)
    assert average.measured
    assert average.at(5.0) == 0.001


def test_a_peak_is_taken_over_at_once() -> None:
    average = told([(0.0, 0.010, False), (0.1, 2.0, False)])
    assert average.at(0.1) == 2.0


def test_after_decay_seconds_a_better_sample_has_done_away_with_all_but_a_third() -> None:
    average = told([(0.0, 1.0, False), (10.0, 0.1, False)])
    assert average.at(10.0) == pytest.approx(0.1 + 0.9 / e)


def test_many_good_samples_at_once_weigh_no_more_than_one() -> None:
    burst = told([(0.0, 1.0, False), *[(5.0, 0.1, False)] * 100])
    one = told([(0.0, 1.0, False), (5.0, 0.1, False)])
    assert burst.at(5.0) == one.at(5.0)


def test_silence_lets_it_fade() -> None:
    average = told([(0.0, 5.0, False)])
    assert average.at(10.0) == pytest.approx(5.0 / e)
    # That is when a server which took 5 s is tried next to others that take 50 ms: 10 s x ln(100).
    assert average.at(46.0) > 0.050 > average.at(46.1)


def test_what_was_just_asked_does_not_fade() -> None:
    average = told([(0.0, 5.0, False)])
    assert average.at(100.0, asked=100.0) == 5.0
    assert average.at(110.0, asked=100.0) == pytest.approx(5.0 / e)


def test_having_been_asked_before_the_last_sample_does_not_matter() -> None:
    average = told([(50.0, 5.0, False)])
    assert average.at(60.0, asked=10.0) == average.at(60.0)


def test_an_error_counts_by_the_time_since_the_last_sample() -> None:
    average = told([(0.0, 0.1, False), (10.0, 5.0, True)])
    assert average.at(10.0) == pytest.approx(5.0 - 4.9 / e)


def test_a_server_that_only_fails_is_as_slow_as_the_penalty() -> None:
    assert told([(0.0, 5.0, True)]).at(0.0) == 5.0
    assert told([(time / 10, 5.0, True) for time in range(1000)]).at(99.9) == 5.0


def test_errors_add_their_share_of_the_penalty() -> None:
    story = [(turn / 100, 5.0, True) if turn % 100 == 0 else (turn / 100, 0.050, False) for turn in range(1, 20_001)]
    values = []
    average = PeakEwma(decay=10.0, start=0.030)
    for time, latency, error in story:
        (average.punish if error else average.observe)(latency, time)
        if time > 100:
            values.append(average.at(time))
    # One in a hundred costs 5 s more: 50 ms, swinging by half a permille of the penalty around each error.
    assert sum(values) / len(values) == pytest.approx(0.100, rel=0.05)


def test_an_error_makes_no_slow_server_faster() -> None:
    assert told([(0.0, 8.0, False), (5.0, 5.0, True)]).at(5.0) == 8.0


@given(stories())
def test_whether_it_fails_is_what_the_last_sample_says(story: list[tuple[float, float, bool]]) -> None:
    assert told(story).failing == story[-1][2]


@given(stories())
def test_it_is_never_outside_of_what_was_observed(story: list[tuple[float, float, bool]]) -> None:
    average = told(story)
    seen = [latency for _, latency, _ in story]
    # Rounding may put it beside the extremes by a last digit.
    assert min(seen) * (1 - 1e-9) <= average.at(story[-1][0]) <= max(seen) * (1 + 1e-9)


@given(stories(), st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_reading_changes_nothing_and_never_rises_with_time(
    story: list[tuple[float, float, bool]], one: float, other: float
) -> None:
    average = told(story)
    early, late = sorted((one, other))
    before = average.at(early)
    assert average.at(late) <= before
    assert average.at(early) == before


@given(stories(), latencies, st.booleans())
def test_a_sample_from_the_past_does_not_turn_time_back(
    story: list[tuple[float, float, bool]], latency: float, error: bool
) -> None:
    average = told(story)
    last = story[-1][0]
    before = average.at(last)
    (average.punish if error else average.observe)(latency, last - 1.0)
    assert average.stamp == last
    assert average.at(last) in (before, latency)


def test_without_decay_only_the_last_sample_counts() -> None:
    average = PeakEwma(decay=0.0, start=0.030)
    average.observe(1.0, 0.0)
    average.observe(0.1, 1.0)
    assert average.at(1.0) == pytest.approx(0.1)


def test_it_shows_what_it_knows() -> None:
    average = PeakEwma(decay=10.0, start=0.030)
    assert repr(average) == "<PeakEwma 0.03 s at 0, a guess>"
    average.observe(0.5, 7.0)
    assert repr(average) == "<PeakEwma 0.5 s at 7>"
