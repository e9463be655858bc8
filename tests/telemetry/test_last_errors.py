from balancer.telemetry.last_errors import KEPT, LONGEST, LastErrors
from tests.telemetry.test_access_log import decided


def test_the_latest_error_comes_first_and_old_ones_are_forgotten():
    errors = LastErrors()
    for n in range(KEPT + 10):
        errors.observe(decided(status=502, outcome="upstream-reset", request_id=b"%d" % n))
    kept = [error["request_id"] for error in errors]
    assert kept == [str(n) for n in range(KEPT + 9, 9, -1)]


def test_an_error_is_kept_without_its_query():
    errors = LastErrors()
    errors.observe(decided(target=b"/a?token=s3cret", status=504))
    (error,) = errors
    assert error["path"] == "/a"
    assert "s3cret" not in str(error)


def test_what_is_kept_of_an_error_has_a_bound():
    errors = LastErrors()
    errors.observe(decided(target=b"/" + b"\xff" * 10_000, host=b"h" * 10_000, request_id=b"r" * 10_000))
    (error,) = errors
    assert len(error["path"]) <= 4 * LONGEST
    assert len(error["host"]) == len(error["request_id"]) == LONGEST


def test_an_error_keeps_what_was_tried():
    errors = LastErrors()
    reasons = [("a", "connect")]
    errors.observe(decided(reasons=reasons, attempts=2, server=None))
    reasons.clear()
    (error,) = errors
    assert (error["reasons"], error["attempts"], error["server"]) == ([("a", "connect")], 2, "")
