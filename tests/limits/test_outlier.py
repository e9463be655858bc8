import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.limits.outlier import Outlier
from config.schema import PassiveChecks

START = 1000.0
ROUNDING = 1e-6  # of the sums that make up the ends of buckets

answers = st.lists(st.tuples(st.booleans(), st.floats(0, 4)), max_size=60)
passive = st.builds(
    PassiveChecks,
    failures=st.integers(1, 6),
    share=st.sampled_from((0.0, 0.3, 0.5, 1.0)),
    window=st.sampled_from((1.0, 5.0, 10.0)),
)


def fail(outlier: Outlier, now: float, times: int = 5) -> bool:
    ejected = [outlier.observe(False, now) for _ in range(times)]
    return any(ejected)


@given(settings=passive, answers=answers)
def test_it_ejects_on_recent_failures_and_on_nothing_older(
    settings: PassiveChecks, answers: list[tuple[bool, float]]
) -> None:
    outlier = Outlier(settings)
    now = START
    seen: list[tuple[bool, float]] = []
    for ok, pause in answers:
        now += pause
        seen.append((ok, now))
        ejected = outlier.observe(ok, now)
        # The oldest bucket goes as a whole, so the oldest tenth of the window may count or not.
        window = [(was_ok, at) for was_ok, at in seen if at > now - settings.window - ROUNDING]
        surely = [(was_ok, at) for was_ok, at in window if at > now - settings.window * 0.9 + ROUNDING]
        failed, surely_failed = (sum(not was_ok for was_ok, _ in part) for part in (window, surely))
        last = [was_ok for was_ok, _ in seen[-settings.failures :]]
        in_a_row = len(last) == settings.failures and not any(last)
        if ejected:
            assert not ok
            assert failed >= settings.failures
            most = failed / (failed + sum(was_ok for was_ok, _ in surely))
            assert in_a_row or most >= settings.share
            return
        if not ok:
            fewest = surely_failed / (surely_failed + sum(was_ok for was_ok, _ in window))
            assert surely_failed < settings.failures or (fewest < settings.share and not in_a_row)


def test_the_failure_that_completes_the_count_ejects() -> None:
    outlier = Outlier(PassiveChecks(failures=3))
    assert [outlier.observe(False, START) for _ in range(3)] == [False, False, True]
    assert outlier.ejected_until == START + 10.0


def test_failures_that_are_a_small_share_do_not_eject() -> None:
    outlier = Outlier(PassiveChecks(failures=5, share=0.5))
    for _ in range(25):
        for ok in (False, True, True):
            assert not outlier.observe(ok, START)


def test_failures_in_a_row_eject_whatever_was_before() -> None:
    outlier = Outlier(PassiveChecks(failures=5, share=0.5))
    for _ in range(1000):
        outlier.observe(True, START)
    assert [outlier.observe(False, START) for _ in range(5)] == [False] * 4 + [True]


def test_a_success_in_between_breaks_the_row() -> None:
    outlier = Outlier(PassiveChecks(failures=3, share=0.9))
    for _ in range(20):
        outlier.observe(True, START)
    for ok in (False, False, True, False, False, True):
        assert not outlier.observe(ok, START)


def test_a_pardon_ends_an_ejection_and_forgets_its_reasons() -> None:
    outlier = Outlier(PassiveChecks(failures=3))
    assert fail(outlier, START, times=3)
    outlier.pardon(START + 1.0)
    assert outlier.ejected_until is None
    assert not fail(outlier, START + 1.0, times=2)


def test_failures_before_the_window_do_not_count() -> None:
    outlier = Outlier(PassiveChecks(failures=5, window=10.0))
    fail(outlier, START, times=4)
    assert not outlier.observe(False, START + 10.0)


def test_successes_before_the_window_do_not_count_either() -> None:
    outlier = Outlier(PassiveChecks(failures=5, window=10.0))
    for _ in range(1000):
        outlier.observe(True, START)
    assert fail(outlier, START + 10.0)


def test_answers_during_an_ejection_neither_prolong_it_nor_count_after_it() -> None:
    outlier = Outlier(PassiveChecks(failures=5, eject=10.0))
    fail(outlier, START)
    assert not fail(outlier, START + 9.0, times=50)
    assert outlier.ejected_until == START + 10.0
    assert outlier.back(START + 10.0)
    assert not fail(outlier, START + 10.0, times=4)


def test_a_server_is_back_once_and_not_early() -> None:
    outlier = Outlier(PassiveChecks())
    assert not outlier.back(START)
    fail(outlier, START)
    assert not outlier.back(START + 9.999)
    assert outlier.back(START + 10.0)
    assert outlier.ejected_until is None
    assert not outlier.back(START + 10.0)


def ejections(outlier: Outlier, quiet: float, count: int) -> list[float]:
    """How long each ejection takes when the server fails again `quiet` seconds after each return."""
    now = START
    lengths = []
    for _ in range(count):
        assert fail(outlier, now)
        assert outlier.ejected_until is not None
        lengths.append(outlier.ejected_until - now)
        now = outlier.ejected_until
        assert outlier.back(now)
        now += quiet
    return lengths


def test_each_ejection_is_longer_by_the_first_one_up_to_the_longest() -> None:
    outlier = Outlier(PassiveChecks(eject=10.0, eject_max=35.0))
    assert ejections(outlier, quiet=1.0, count=6) == [10, 20, 30, 35, 35, 35]


def test_quiet_time_shortens_the_next_ejection() -> None:
    outlier = Outlier(PassiveChecks(eject=10.0, window=10.0))
    ejections(outlier, quiet=1.0, count=4)
    assert outlier.ejected_until is None
    now = START + 100.0 + 3 * 1.0  # the end of the fourth ejection
    fail(outlier, now + 2 * 20.0)
    assert outlier.ejected_until == now + 40.0 + 30.0  # four, less two, and one more


def test_after_a_long_quiet_time_ejections_start_from_the_first() -> None:
    outlier = Outlier(PassiveChecks(eject=10.0, window=10.0, eject_max=300.0))
    # Thirty steps make the longest ejection, and each takes twenty seconds to forget.
    assert ejections(outlier, quiet=1.0, count=100)[-1] == 300.0
    ended = START + sum(10.0 * step for step in range(1, 30)) + 71 * 300.0 + 99 * 1.0
    assert fail(outlier, ended + 30 * 20.0)
    assert outlier.ejected_until == ended + 30 * 20.0 + 10.0


@pytest.mark.parametrize("name", ["window", "eject", "eject_max"])
def test_the_smallest_durations_eject_all_the_same(name: str) -> None:
    outlier = Outlier(PassiveChecks.model_validate({name: 1e-9}))
    now = START
    for _ in range(20):
        assert fail(outlier, now)
        now += 300.0
        assert outlier.back(now)


@given(step=st.floats(0, 30), ok=st.lists(st.booleans(), min_size=1, max_size=3))
def test_it_keeps_no_more_however_many_answers_come(step: float, ok: list[bool]) -> None:
    outlier = Outlier(PassiveChecks(failures=10**6))
    for turn in range(200):
        for one in ok:
            outlier.observe(one, START + turn * step)
        assert len(pickle.dumps(outlier)) < 1000
