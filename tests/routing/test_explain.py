"""A route is explained by the very code that leads requests: what it says is what happens."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.fields import parse_line
from balancer.http1.head import RequestFields, RequestHead
from balancer.pool import Pool
from balancer.preview import RouteAnswer
from balancer.routing.explain import explain
from balancer.routing.table import Route, RouteTable
from balancer.tally import RouteTally
from config.schema import Match
from config.schema import Pool as PoolSettings
from config.schema import Route as RouteSettings

MATCHES = {
    "all": Match(),
    "api": Match(path="/api/**"),
    "beta": Match(path="/api/**", headers={"X-Beta": "yes"}),
    "posts": Match(path="/api/posts", methods=("POST",)),
    "shop": Match(host=("shop.example.com",)),
    "any-shop": Match(host=("*.example.com",), headers={"Cookie": "*"}),
}


def table(matches: dict[str, Match]) -> RouteTable:
    pool = Pool("p", Random(1), b"", lambda *_: None)
    pool.configure(PoolSettings(servers={}), (), 0.0)
    settings = RouteSettings(pool="p")
    return RouteTable({name: (Route(name, settings, pool, RouteTally()), match) for name, match in matches.items()})


def head(method: str = "GET", host: str = "", path: str = "/", **headers: str) -> RequestHead:
    fields = [parse_line(f"{name.replace('_', '-')}: {value}".encode()) for name, value in headers.items()]
    found = RequestHead(method.encode(), path.encode(), 1, RequestFields(b"", 1, fields, []))
    found.host = host.encode()
    return found


def explained(matches: dict[str, Match], asked: RequestHead) -> RouteAnswer:
    return explain(table(matches), matches, asked)


def reasons(answer: RouteAnswer) -> dict[str, str]:
    return {one.route: one.reason for one in answer.others}


def test_the_route_is_named_and_each_other_one_has_its_first_failing_condition() -> None:
    answer = explained(MATCHES, head("GET", "www.example.org", "/api/posts?page=2"))
    assert answer.route == "api"
    assert answer.reason == "the most specific of those that fit"
    assert reasons(answer) == {
        "all": "fits too, and is less specific",
        "beta": "its X-Beta is not the one asked for",
        "posts": "its method is GET, not POST",
        "shop": "its host is www.example.org, not shop.example.com",
        "any-shop": "its host is www.example.org, not *.example.com",
    }


def test_a_field_that_only_has_to_be_there_is_told_as_missing() -> None:
    answer = explained({"any-shop": MATCHES["any-shop"]}, head("GET", "a.example.com", "/"))
    assert answer.route is None
    assert answer.reason == "answered with 404: no route takes it"
    assert reasons(answer) == {"any-shop": "it has no Cookie"}


def test_a_path_with_two_readings_is_told_as_refused() -> None:
    matches = {"a": Match(path="/a/**"), "rest": Match(path="/b/**")}
    answer = explained(matches, head("GET", "", "/b/%2e%2e/a/x"))
    assert answer.route is None
    assert "refused with 400" in answer.reason


HEADS = st.builds(
    head,
    st.sampled_from(("GET", "POST")),
    st.sampled_from(("", "shop.example.com", "a.example.com", "example.org")),
    st.sampled_from(("/", "/api", "/api/posts", "/api/x/y", "/other")),
    X_Beta=st.sampled_from(("yes", "no")),
)


@given(st.sets(st.sampled_from(sorted(MATCHES)), min_size=1), HEADS)
def test_whatever_the_routes_the_answer_is_the_tables_and_no_route_that_fits_is_said_to_fail(
    names: set[str], asked: RequestHead
) -> None:
    matches = {name: MATCHES[name] for name in names}
    answer = explained(matches, asked)
    found = table(matches).match(asked)
    assert answer.route == (found.name if found is not None else None)
    told = reasons(answer)
    assert told.keys() == matches.keys() - {answer.route}
    for name, reason in told.items():
        alone = table({name: matches[name]}).match(asked)
        assert (alone is not None) == (reason == "fits too, and is less specific")


@pytest.mark.parametrize("path", ["/", "/api/posts", "/x"])
def test_the_only_route_is_the_only_one_that_fits(path: str) -> None:
    assert explained({"all": Match()}, head(path=path)) == RouteAnswer("all", "the only one that fits", ())
