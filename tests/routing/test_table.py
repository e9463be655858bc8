"""Which route a request takes, and what routes answer by themselves."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.head import parse_request
from balancer.http1.paths import is_doubtful, match_path, other_readings
from balancer.pool import Pool
from balancer.routing import RouteTable, TwoWays, build_table
from balancer.routing.answers import FixedAnswer, captures_of, rewriter
from balancer.server import Server
from balancer.tally import RouteTally
from config.schema import Config, Rewrite, Route
from config.schema import Pool as PoolSettings

SECRET = b"a secret of thirty-two bytes...."


def table(**routes: dict[str, Any]) -> RouteTable:
    config = Config.model_validate({"listeners": {}, "pools": {}, "routes": {}})
    settings = PoolSettings(servers={})
    pool = Pool("app", Random(1), SECRET, lambda *_: None)
    pool.configure(settings, list[Server](), 0.0)
    described = {name: Route.model_validate({"pool": "app", "match": match}) for name, match in routes.items()}
    tallies: dict[str, RouteTally] = {}
    return build_table(config.model_copy(update={"routes": described}), {"app": pool}, tallies, Random(1), SECRET)


def table_of(**routes: dict[str, Any]) -> RouteTable:
    """The table of routes as a file has them."""
    pool = Pool("app", Random(1), SECRET, lambda *_: None)
    pool.configure(PoolSettings(servers={}), list[Server](), 0.0)
    config = Config.model_validate({"listeners": {}, "pools": {}, "routes": {}})
    described = {}
    for name, written in routes.items():
        match = {"path": written["match"]} if "match" in written else {}
        described[name] = Route.model_validate({"pool": "app", **written, "match": match})
    return build_table(config.model_copy(update={"routes": described}), {"app": pool}, {}, Random(1), SECRET)


def taken(routes: RouteTable, target: str, host: str = "a", method: str = "GET", fields: str = "") -> str | None:
    head = parse_request(f"{method} {target} HTTP/1.1\r\nHost: {host}{fields}".encode(), 100, 8000)
    route = routes.match(head)
    return route.name if route is not None else None


SITE = table(
    exact={"path": "/api/users"},
    one={"path": "/api/users/{id}"},
    posts={"path": "/api/users/{id}/posts"},
    below={"path": "/api/**"},
    write={"path": "/api/**", "methods": ["POST", "PUT"]},
    beta={"path": "/api/**", "headers": {"X-Beta": "yes"}},
    rest={"path": "/**"},
)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/api/users", "exact"),
        ("/api/users?x=/api", "exact"),
        ("/api/users/", "below"),
        ("/api/users/7", "one"),
        ("/api/users/7/posts", "posts"),
        ("/api/users/7/photos", "below"),
        ("/api", "below"),
        ("/api/", "below"),
        ("/apis", "rest"),
        ("/", "rest"),
        ("/%61pi/users", "exact"),
        ("/api//users", "exact"),
    ],
)
def test_the_most_specific_path_wins(target: str, name: str) -> None:
    assert taken(SITE, target) == name


@pytest.mark.parametrize(
    "target",
    [
        "/apis/../api/x",
        "/apis/%2e%2E/api/x",
        "/apis/.%2e/api/x",
        "/apis/..%2fapi%2fx",
        "/apis%2F..%2Fapi",
        "/apis/..%5capi",
        "/apis\\..\\api",
        "/apis/..;x=1/api/x",
        "/apis/..%3b/api/x",
        "/api/users;v=1",
        "/api;x/users",
        "/apis//../api/x",
        "/api%2Fusers",
        "//api/users",
        "//s/api/users",
        "/\\s/api/users",
        "/api/users/../../other",
        "/api/x/%2e%2e%2f%2e%2e%2fother",
        "/./api/users/7/posts%2f..",
    ],
)
def test_a_path_that_leads_to_two_routes_is_refused(target: str) -> None:
    with pytest.raises(TwoWays):
        taken(SITE, target)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/apis/../other", "rest"),
        ("/apis/a%2Fb", "rest"),
        ("/a;b=c/d", "rest"),
        ("/api/x/../y", "below"),
        ("/api/x/a%2fb", "below"),
        ("/api/users/7%3Ba", "one"),
        ("/api/users/caf%C3%A9", "one"),
        ("/apis?next=/../api/%2e%2e/", "rest"),
    ],
)
def test_a_path_whose_readings_agree_is_taken(target: str, name: str) -> None:
    assert taken(SITE, target) == name


@given(st.text("/.%2eEfFcC5\\;a", max_size=30).map(lambda text: "/" + text))
def test_readings_have_no_dot_segments_but_the_literal_ones_and_end(target: str) -> None:
    path = match_path(target.encode())
    for reading in other_readings(target.encode(), path):
        assert reading.startswith(b"/")
        assert b"//" not in reading
        assert len(reading) <= len(target) + 1


@given(st.text("/.%2eEfFcC5\\;a?", max_size=30).map(lambda text: "/" + text))
def test_a_target_that_is_not_doubtful_has_no_other_readings(text: str) -> None:
    target = text.encode()
    assert is_doubtful(target) or not other_readings(target, match_path(target))


def test_with_one_route_every_path_is_taken_as_it_is() -> None:
    assert taken(table(all={}), "/a/../%2e%2e/b//c\\d;e") == "all"


def test_a_path_that_climbs_is_not_rewritten() -> None:
    settings = Route.model_validate({"pool": "app", "rewrite": {"add_prefix": "/v2"}})
    pool = Pool("app", Random(1), SECRET, lambda *_: None)
    pool.configure(PoolSettings(servers={}), list[Server](), 0.0)
    config = Config.model_validate({"listeners": {}, "pools": {}, "routes": {}}).model_copy(
        update={"routes": {"all": settings}}
    )
    routes = build_table(config, {"app": pool}, {}, Random(1), SECRET)
    assert taken(routes, "/a//b;c") == "all"
    for target in ("/../x", "/a/%2e%2e/%2e%2e/x", "/a/..%2f..%2fx", "/a\\..\\..\\x", "/..;/x"):
        with pytest.raises(TwoWays):
            taken(routes, target)


def test_more_conditions_win_and_failed_ones_fall_back() -> None:
    assert taken(SITE, "/api/x", method="POST") == "write"
    assert taken(SITE, "/api/x", method="DELETE") == "below"
    assert taken(SITE, "/api/x", fields="\r\nX-Beta: yes") == "beta"
    assert taken(SITE, "/api/x", fields="\r\nX-Beta: no") == "below"
    only_post = table(write={"path": "/a/b", "methods": ["POST"]}, all={"path": "/a/**"})
    assert taken(only_post, "/a/b") == "all"


def test_hosts_go_before_paths_and_exact_ones_before_wildcards() -> None:
    hosts = table(
        exact={"host": ["www.example.com"]},
        wild={"host": ["*.example.com"]},
        deep={"host": ["*.eu.example.com"]},
        any={"path": "/very/specific"},
    )
    assert taken(hosts, "/very/specific", "www.example.com") == "exact"
    assert taken(hosts, "/", "WWW.Example.com:8080") == "exact"
    assert taken(hosts, "/", "www.example.com.") == "exact"
    assert taken(hosts, "/", "a.b.example.com") == "wild"
    assert taken(hosts, "/", "a.eu.example.com") == "deep"
    assert taken(hosts, "/", "example.com") is None
    assert taken(hosts, "/", "evilexample.com") is None
    assert taken(hosts, "/very/specific", "other") == "any"
    assert taken(hosts, "/", "[::1]:80") is None


def test_a_header_may_be_asked_for_without_its_value() -> None:
    routes = table(keyed={"headers": {"X-Key": "*"}})
    assert taken(routes, "/", fields="\r\nx-key: whatever") == "keyed"
    assert taken(routes, "/") is None


@given(st.lists(st.sampled_from(["a", "b", "{x}", "{y}"]), max_size=4), st.lists(st.sampled_from("abc"), max_size=4))
def test_the_table_takes_what_the_captures_of_the_pattern_match(pattern: list[str], path: list[str]) -> None:
    written = "/" + "/".join(pattern)
    routes = table(it={"path": written})
    target = "/" + "/".join(path)
    # Names repeated in one pattern are refused by the loader; here each gets its own.
    names = iter("pqrstu")
    unique = "/" + "/".join(f"{{{next(names)}}}" if part.startswith("{") else part for part in pattern)
    assert (taken(routes, target) == "it") == bool(captures_of(unique).fullmatch(target.encode()))


def test_needless_encoding_is_undone_and_other_encoding_kept() -> None:
    assert match_path(b"/%7euser/%2f%20?%41") == b"/~user/%2F%20"
    assert match_path(b"*") == b"/"


@pytest.mark.parametrize(
    ("rewrite", "pattern", "target", "result"),
    [
        ({"strip_prefix": "/api"}, "/api/**", b"/api/x?y=1", b"/x?y=1"),
        ({"strip_prefix": "/api"}, "/api/**", b"/api", b"/"),
        ({"strip_prefix": "/api"}, "/**", b"/apis", b"/apis"),
        ({"add_prefix": "/v2"}, "/**", b"/x", b"/v2/x"),
        ({"strip_prefix": "/a", "add_prefix": "/b"}, "/a/**", b"/a/x", b"/b/x"),
        ({"path": "/p/{id}/{rest}"}, "/u/{id}/**", b"/u/7/a/b?c", b"/p/7/a/b?c"),
        ({"path": "/v2/{id}"}, "/users/{id}", b"/%75sers/5", b"/v2/5"),
        ({"strip_prefix": "/api"}, "/api/**", b"//%61pi/x", b"/x"),
    ],
)
def test_targets_are_rewritten(rewrite: dict[str, str], pattern: str, target: bytes, result: bytes) -> None:
    assert rewriter(Rewrite.model_validate(rewrite), pattern)(target) == result


def caching(top: dict[str, Any], **routes: object) -> dict[str, str | None]:
    """The rule of each route, by what that says of the cache."""
    config = Config.model_validate({"listeners": {}, "pools": {}, "routes": {}, "cache": top})
    pools = {name: Pool(name, Random(1), SECRET, lambda *_: None) for name in ("app", "next")}
    for pool in pools.values():
        pool.configure(PoolSettings(servers={}), list[Server](), 0.0)
    described: dict[str, Route] = {}
    for name, said in routes.items():
        action: dict[str, Any] = {"split": {"app": 0.5, "next": 0.5}} if name.startswith("split") else {"pool": "app"}
        if name.startswith("fixed"):
            action = {"respond": {"status": 410}}
        described[name] = Route.model_validate({**action, "match": {"path": f"/{name}"}, "cache": said})
    built = build_table(config.model_copy(update={"routes": described}), pools, {}, Random(1), SECRET)
    found: dict[str, str | None] = {}
    for name in routes:
        route = built.match(parse_request(f"GET /{name} HTTP/1.1\r\nHost: a".encode(), 100, 8000))
        assert route is not None
        (rule,) = {one.cache for one in (route.lanes or {"": route}).values()}
        found[name] = rule.name if rule is not None else None
    return found


def test_a_route_is_cached_by_its_rule_by_the_rfc_or_not_at_all() -> None:
    rules = {"rules": {"pages": {"ttl": 60}, "default": {"ttl": 1}}}
    off = caching(rules, a=None, b=False, c=True, d="pages", split="pages", fixed=None)
    assert off == {"a": None, "b": None, "c": "default", "d": "pages", "split": "pages", "fixed": None}
    on = caching({"enabled": True, **rules}, a=None, b=False, split=None, fixed=None)
    assert on == {"a": "default", "b": None, "split": "default", "fixed": None}


def test_routes_with_the_same_rule_share_it_and_one_named_default_is_another_than_that_of_the_rfc() -> None:
    config = Config.model_validate(
        {"listeners": {}, "pools": {}, "routes": {}, "cache": {"rules": {"default": {"ttl": 1}}}}
    )
    pool = Pool("app", Random(1), SECRET, lambda *_: None)
    pool.configure(PoolSettings(servers={}), list[Server](), 0.0)
    said = {"/a": True, "/b": True, "/c": "default"}
    described = {
        path: Route.model_validate({"pool": "app", "match": {"path": path}, "cache": cache})
        for path, cache in said.items()
    }
    built = build_table(config.model_copy(update={"routes": described}), {"app": pool}, {}, Random(1), SECRET)
    rules = []
    for path in said:
        route = built.match(parse_request(f"GET {path} HTTP/1.1\r\nHost: h".encode(), 100, 8000))
        assert route is not None
        assert route.cache is not None
        rules.append(route.cache)
    assert rules[0] is rules[1]
    assert [rule.ttl for rule in rules] == [None, None, 1.0]
    assert built.caches


def location(to: str, pattern: str, target: str) -> bytes:
    route = Route.model_validate({"match": {"path": pattern}, "redirect": {"to": to}})
    head = parse_request(f"GET {target} HTTP/1.1\r\nHost: here".encode(), 100, 8000)
    return FixedAnswer.of(route).fields(head)


def test_redirects_may_use_captures_host_path_and_query() -> None:
    assert location("https://docs/{page}", "/d/{page}", "/d/intro") == b"Location: https://docs/intro\r\n"
    assert location("https://{host}{path}?{query}", "/**", "/a?b=c") == b"Location: https://here/a?b=c\r\n"


def test_a_redirect_to_a_path_never_leaves_the_site() -> None:
    assert location("/{rest}", "/old/**", "/old//evil.example") == b"Location: /evil.example\r\n"
    assert location("{path}", "/**", "//evil.example/x") == b"Location: /evil.example/x\r\n"
    assert location("/{query}", "/**", "/x?\\evil.example") == b"Location: /%5Cevil.example\r\n"


GUARDED = {"access": {"allow": ["10.0.0.0/8"]}}


@pytest.mark.parametrize("target", ["/Admin/x", "/ADMIN/x", "/%41dmin/x", "/admin/../Admin/x", "/public/..%2fAdmin/x"])
def test_another_case_of_the_path_does_not_lead_past_a_route_that_is_closed(target: str) -> None:
    """Some servers take /Admin for /admin."""
    routes = table_of(closed={"match": "/admin/**", **GUARDED}, public={"match": "/Public/**"}, rest={})
    with pytest.raises(TwoWays):
        taken(routes, target)


def test_capitals_matter_nowhere_else() -> None:
    routes = table_of(
        closed={"match": "/admin/**", **GUARDED},
        within={"match": "/admin/public/**"},
        public={"match": "/Public/**"},
        rest={},
    )
    told = [taken(routes, target) for target in ("/admin/x", "/Public/a", "/public/a", "/X", "/admin/public/A")]
    assert told == ["closed", "public", "rest", "rest", "within"]
    assert taken(table_of(closed={"match": "/Admin/**", **GUARDED}, rest={}), "/Admin/x") == "closed"
    with pytest.raises(TwoWays):
        taken(table_of(closed={"match": "/Admin/**", **GUARDED}, rest={}), "/admin/x")


def test_routes_that_differ_in_capitals_alone_are_meant_so() -> None:
    routes = table_of(small={"match": "/a", **GUARDED}, large={"match": "/A"}, rest={})
    assert [taken(routes, target) for target in ("/a", "/A")] == ["small", "large"]
