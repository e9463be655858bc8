from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from balancer.health.hysteresis import Hysteresis, Verdict

counts = st.integers(1, 5)
results = st.lists(st.booleans(), max_size=40)


def history(rise: int, fall: int, verdict: Verdict, results: list[bool]) -> list[Verdict]:
    """The verdict after each result, the long way round: from the runs of equal results so far."""
    verdicts: list[Verdict] = []
    for end in range(1, len(results) + 1):
        latest, run = [(ok, len(list(group))) for ok, group in groupby(results[:end])][-1]
        if verdict == "checking" or run >= (rise if latest else fall):
            verdict = "up" if latest else "down"
        verdicts.append(verdict)
    return verdicts


@given(rise=counts, fall=counts, start=st.sampled_from(("checking", "up", "down")), results=results)
def test_the_verdict_follows_from_the_latest_run_of_equal_results(
    rise: int, fall: int, start: Verdict, results: list[bool]
) -> None:
    hysteresis = Hysteresis(rise, fall, start)
    seen: list[Verdict] = []
    for ok in results:
        hysteresis.observe(ok)
        seen.append(hysteresis.verdict)
    assert seen == history(rise, fall, start, results)


@given(rise=counts, fall=counts, start=st.sampled_from(("checking", "up", "down")), results=results)
def test_observe_is_true_exactly_when_the_verdict_has_changed(
    rise: int, fall: int, start: Verdict, results: list[bool]
) -> None:
    hysteresis = Hysteresis(rise, fall, start)
    for ok in results:
        before = hysteresis.verdict
        assert hysteresis.observe(ok) == (hysteresis.verdict != before)


@given(rise=counts, fall=counts, ok=st.booleans())
def test_the_first_result_ends_checking_whatever_rise_and_fall_are(rise: int, fall: int, ok: bool) -> None:
    hysteresis = Hysteresis(rise, fall)
    assert hysteresis.verdict == "checking"
    assert hysteresis.observe(ok)
    assert hysteresis.verdict == ("up" if ok else "down")


def test_a_success_between_failures_starts_their_count_anew() -> None:
    hysteresis = Hysteresis(rise=2, fall=3, verdict="up")
    for ok in (False, False, True, False, False):
        assert not hysteresis.observe(ok)
    assert hysteresis.observe(False)
    assert hysteresis.verdict == "down"
