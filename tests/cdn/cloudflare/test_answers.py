"""What answers mean, however odd they are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from balancer.cdn.answer import Answer, by_status
from balancer.cdn.cloudflare.answers import Purged, inside, judge, judge_graph
from balancer.cdn.cloudflare.datasets import Found
from balancer.cdn.errors import (
    AuthError,
    CdnError,
    Invalid,
    MissingRight,
    NotFound,
    ProtocolError,
    RateLimited,
    Unavailable,
)
from balancer.cdn.redaction import Redaction

SECRET = "t0ken/of+mine"


def answer(status: int, body: object, operation: str = "purge", **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer("cloudflare", operation, status, headers, raw, Redaction([SECRET]))


def refused(*codes: int, message: str = "No", chain: tuple[int, ...] = ()) -> dict[str, object]:
    behind = [{"code": code, "message": "Behind"} for code in chain]
    errors = [{"code": code, "message": message} | ({"error_chain": behind} if behind else {}) for code in codes]
    return {"success": False, "errors": errors, "messages": [], "result": None}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, refused(1134), RateLimited),
        (400, refused(1134), RateLimited),
        (403, refused(1134), RateLimited),
        (429, refused(), RateLimited),
        (200, refused(1092), Invalid),
        (400, refused(1092), Invalid),
        (200, refused(4711), ProtocolError),
        (200, refused(), ProtocolError),
        (200, {"success": False}, ProtocolError),
        (200, {"success": False, "errors": None}, ProtocolError),
        (200, [], ProtocolError),
        (200, b"", ProtocolError),
        (400, refused(6003, chain=(6103,)), AuthError),
        (400, refused(6003, chain=(6111,)), AuthError),
        (400, refused(7003), NotFound),
        (404, refused(7003), NotFound),
        (401, refused(10000), AuthError),
        (403, refused(10000), MissingRight),
        (403, refused(9109), AuthError),
        (500, refused(10013), Unavailable),
        (503, refused(1134, message="busy"), RateLimited),
    ],
)
def test_an_envelope_says_whose_fault_it_is(status: int, body: object, kind: type[CdnError]) -> None:
    assert type(judge(answer(status, body))) is kind


@pytest.mark.parametrize(("status", "body"), [(400, b"<html>"), (502, b"<html>"), (429, b""), (404, b"[]")])
def test_what_is_no_envelope_leaves_it_to_the_status(status: int, body: bytes) -> None:
    assert judge(answer(status, body)) is None
    assert by_status(answer(status, body)) is not None


def test_success_alone_is_not_enough() -> None:
    assert judge(answer(200, {"success": True, "result": {"id": "a"}})) is None
    assert judge(answer(500, {"success": True, "result": {"id": "a"}})) is not None
    with pytest.raises(ProtocolError, match=r"result\.id is not as expected: Field required"):
        inside(answer(200, {"success": True, "result": {}}), TypeAdapter(Purged))


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (200, "zones [x] are not authorized", MissingRight),
        (403, "does not have access to the path", MissingRight),
        (429, "rate limiter budget depleted, try again after 5 minutes", RateLimited),
        (200, "rate limiter budget depleted, try again after 5 minutes", RateLimited),
        (200, "cannot request data older than 2678400s", Invalid),
        (400, "query time range is too large", Invalid),
        (503, "busy", Unavailable),
        (401, "no", AuthError),
    ],
)
def test_a_query_that_failed_says_whose_fault_it_is(status: int, message: str, kind: type[CdnError]) -> None:
    error = judge_graph(answer(status, {"data": None, "errors": [{"message": message}]}, "stats"))
    assert type(error) is kind
    if kind is RateLimited:
        assert error.retry_after_s == 300.0


jsons: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from([SECRET, "", "a\r\nb", "é"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["success", "errors", "result", "code", "message", "error_chain", "data", "viewer", "zones", "id"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
statuses = st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 503])


@given(statuses, jsons | st.binary(max_size=60), st.sampled_from([judge, judge_graph]))
def test_no_answer_is_too_odd_and_no_error_shows_a_secret(status: int, body: object, judged: Any) -> None:
    came = answer(status, body, "stats")
    error = judged(came) or by_status(came)
    if error is None:
        try:
            came.into(TypeAdapter(Found))
        except ProtocolError as unread:
            error = unread
    if error is not None:
        assert isinstance(error, CdnError)
        assert SECRET not in str(error)
        assert str(error).isprintable()
        assert len(str(error)) < 1500
