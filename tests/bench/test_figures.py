"""What is made of measured values, and how it is told."""

import pytest

from bench.figures import Case, Goal, Row, ratio, slope, spread
from bench.table import goal, plain, text


def case(*rows: Row, errors: int = 0) -> Case:
    return Case("small", "Small answers", "µs", rows, Goal("ratio", 2.2), errors)


def row(name: str, values: list[float], reference: list[float] | None) -> Row:
    return Row(name, spread(values), ratio(values, reference) if reference else None, {"requests/s": 41_234.5})


def test_a_ratio_is_taken_round_by_round_so_that_a_disturbed_round_does_not_shift_it() -> None:
    calm, disturbed = 10.0, 30.0
    nginx = [calm, disturbed, calm]
    assert ratio([2 * cost for cost in nginx], nginx).median == pytest.approx(2.0)


def test_rounds_that_do_not_belong_together_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_a_slope_is_the_growth_for_each_request() -> None:
    assert slope([(0, 1000), (100, 1200), (200, 1400)]) == pytest.approx(2.0)


@pytest.mark.parametrize(("cost", "verdict"), [(2.2, "reached"), (2.3, "MISSED")])
def test_a_goal_is_missed_only_above_its_bound(cost: float, verdict: str) -> None:
    measured = case(row("balancer", [cost * 10], [10.0]), row("nginx", [10.0], [10.0]))
    told = goal(measured)
    assert told is not None
    assert verdict in told
    assert told in text(measured)


def test_without_an_nginx_there_is_no_verdict_and_no_empty_column() -> None:
    measured = case(row("balancer", [20.0, 21.0], None))
    assert goal(measured) is None
    assert "nginx" not in text(measured)


def test_without_a_balancer_there_is_no_verdict() -> None:
    assert goal(case(row("nginx", [10.0], [10.0]))) is None


def test_figures_of_failed_requests_are_disowned() -> None:
    assert "worth nothing" in text(case(row("nginx", [10.0], [10.0]), errors=3))


def test_the_plain_form_has_a_row_by_each_name() -> None:
    rows = plain(case(row("balancer", [20.0], [10.0])))["rows"]
    assert isinstance(rows, dict)
    assert rows["balancer"]["ratio"]["median"] == 2.0
