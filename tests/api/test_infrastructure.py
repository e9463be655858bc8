from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from pytest_aiohttp import AiohttpClient

from api.app import make_app
from balancer.preview import Preview, RouteQuestion
from balancer.telemetry.report import CertificateReport
from tests.api.desk import BALANCER, Clock, Desk, Keys, services
from tests.control_room import room

STATUS = f"{BALANCER}/status"
INITIALIZE = f"{BALANCER}/initialize"
CHECK = f"{BALANCER}/health-check"
NEXT = f"{BALANCER}/next-server"
X = "http://127.0.0.1:2009"


# status


async def test_status_tells_every_pool_and_server_and_the_totals(desk: Desk) -> None:
    desk.room.fleet.inflight["web", "a"] = 3
    tally = desk.room.fleet.tallies["web", "a"]
    tally.requests = 12
    tally.codes.update({200: 8, 204: 1, 503: 2})
    tally.failures["connect"] = 1
    answer = await desk.ask("GET", STATUS, role="viewer")
    assert answer.status == 200
    assert answer.at("strategy") == "round-robin"
    assert answer.at("generation") == desk.room.fleet.snapshot.generation
    assert str(answer.at("at")).endswith("Z")
    server = ("pools", "web", "servers", "a")
    assert answer.at(*server, "responses") == {"2xx": 9, "5xx": 2}
    assert answer.at(*server, "failures") == {"connect": 1}
    assert (answer.at(*server, "errors"), answer.at(*server, "requests")) == (3, 12)
    assert (answer.at(*server, "in_flight"), answer.at(*server, "latency", "ewma")) == (3, 0.012)
    assert answer.at(*server, "checks", "last", "reason") == "answered 200"
    assert answer.at("totals") == {
        "pools": 1,
        "servers": 2,
        "up": 2,
        "in_flight": 3,
        "idle_connections": 0,
        "requests": 12,
        "errors": 3,
        "client_connections": 0,
    }


async def test_status_gives_the_reason_why_a_server_is_down_and_since_when(desk: Desk) -> None:
    desk.room.wards["b"].status = 503
    for _ in range(3):
        await desk.ask("POST", CHECK)
    answer = await desk.ask("GET", STATUS)
    server = ("pools", "web", "servers", "b")
    assert answer.at(*server, "state") == "down"
    assert answer.at(*server, "reason") == "answered 503, expected 200-399"
    assert str(answer.at(*server, "since")).endswith("Z")
    assert answer.at("pools", "web", "up") == 1


# initialize


async def test_initialize_takes_urls_and_objects_and_answers_with_the_status(desk: Desk) -> None:
    body = {"servers": [X, {"url": "http://127.0.0.1:2010/", "name": "spare", "weight": 2, "backup": True}]}
    answer = await desk.ask("POST", INITIALIZE, {**body, "strategy": "two-choices"})
    assert answer.status == 200
    servers = answer.at("pools", "web", "servers")
    assert isinstance(servers, dict)
    assert list(servers) == ["127.0.0.1:2009", "spare"]
    assert answer.at("pools", "web", "strategy") == "two-choices"
    assert answer.at("pools", "web", "servers", "spare", "weight", "set") == 2
    assert answer.at("pools", "web", "servers", "spare", "url") == "http://127.0.0.1:2010"
    assert set(desk.room.fleet.snapshot.config.pools["web"].servers) == {"127.0.0.1:2009", "spare"}


async def test_initialize_may_bring_health_settings_with_durations_as_seconds_or_text(desk: Desk) -> None:
    health = {"active": {"path": "/up", "interval": "10s", "timeout": 2.5, "expect": [200]}, "passive": None}
    answer = await desk.ask("POST", INITIALIZE, {"servers": [X], "health": health})
    assert answer.status == 200, answer.content
    found = desk.room.fleet.snapshot.config.pools["web"].health
    assert found.active is not None
    assert (found.active.path, found.active.interval, found.active.timeout) == ("/up", 10.0, 2.5)
    assert found.passive is None


async def test_initialize_keeps_strategy_and_health_unless_told(desk: Desk) -> None:
    await desk.ask("POST", INITIALIZE, {"servers": [X], "strategy": "random", "health": {"start": "up"}})
    await desk.ask("POST", INITIALIZE, {"servers": [X]})
    pool = desk.room.fleet.snapshot.config.pools["web"]
    assert (pool.strategy, pool.health.start) == ("random", "up")


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({}, "/servers", "is required"),
        ({"servers": []}, "/servers", "at least 1 item"),
        ({"servers": "http://a"}, "/servers", "must be a list"),
        ({"servers": [X, "a:80"]}, "/servers/1/url", "with its scheme"),
        ({"servers": [X, 7]}, "/servers/1", "must be"),
        ({"servers": [X, {"url": X, "name": "b", "weight": 0}]}, "/servers/1/weight", "at least 1, not 0"),
        ({"servers": [X, X]}, "/servers/1", "is a second server named 127.0.0.1:2009"),
        ({"servers": [X, {"url": X, "name": "b"}]}, "/servers/1/url", "another address"),
        ({"servers": [X], "strategy": "fastest"}, "/strategy", "must be one of round-robin"),
        ({"servers": [X], "health": {"active": {"interval": "soon"}}}, "/health/active/interval", "duration"),
        ({"servers": [X], "health": {"active": {"rise": True}}}, "/health/active/rise", "whole number"),
        ({"servers": [X], "health": {"activ": None}}, "/health/activ", "is not a field that is known here"),
        ({"servers": [X], "health": {"active": {"body": "("}}}, "/health/active/body", "regular"),
    ],
)
async def test_initialize_validates_everything_before_anything_changes(
    desk: Desk, body: dict[str, object], pointer: str, says: str
) -> None:
    before = desk.room.fleet.snapshot
    answer = await desk.ask("POST", INITIALIZE, body)
    assert answer.status == 422, answer.content
    assert list(answer.faults) == [pointer]
    assert says in answer.faults[pointer]
    assert desk.room.fleet.snapshot is before
    assert not desk.room.state.exists()


async def test_initialize_of_a_pool_that_is_not_there_is_not_found(desk: Desk) -> None:
    answer = await desk.ask("POST", INITIALIZE, {"servers": [X], "pool": "nix"})
    assert (answer.status, answer.at("detail")) == (404, "there is no pool 'nix', but 'web'")


async def test_what_planes_refuse_is_told_at_the_field_that_asked_for_it(desk: Desk) -> None:
    with desk.room.fleet.refusing("pools.web.strategy: can not be built"):
        answer = await desk.ask("POST", INITIALIZE, {"servers": [X], "strategy": "hash"})
    assert answer.status == 422
    assert answer.faults == {"/strategy": "can not be built"}
    assert desk.room.control.overlay.is_empty


async def test_a_strategy_of_ones_own_is_taken_only_when_the_file_names_it(desk: Desk) -> None:
    before = desk.room.fleet.snapshot
    answer = await desk.ask("POST", INITIALIZE, {"servers": [X], "strategy": "my_package:Mine"})
    assert answer.status == 422
    assert answer.faults["/strategy"].endswith("or a strategy that the configuration file names")
    assert desk.room.fleet.snapshot is before  # no plane has been asked to look for it
    desk.room.file.write_text(desk.room.file.read_text().replace("web: {", "web: {strategy: 'my_package:Mine', ", 1))
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    assert (await desk.ask("POST", INITIALIZE, {"servers": [X], "strategy": "hash"})).status == 200
    assert (await desk.ask("POST", INITIALIZE, {"servers": [X], "strategy": "my_package:Mine"})).status == 200


async def test_a_socket_is_taken_only_when_the_file_names_it(desk: Desk) -> None:
    body = {"servers": [X, {"url": "unix:/run/some.sock", "name": "s"}]}
    answer = await desk.ask("POST", INITIALIZE, body)
    assert answer.status == 422
    assert answer.faults == {"/servers/1/url": "must be no socket, unless the configuration file names it"}
    answer = await desk.ask("POST", f"{BALANCER}/pools/web/servers", {"url": "unix:/run/some.sock"})
    assert answer.faults == {"/url": "must be no socket, unless the configuration file names it"}
    desk.room.file.write_text(desk.room.file.read_text().replace("servers: {", "servers: {s: unix:/run/some.sock, ", 1))
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    assert (await desk.ask("POST", INITIALIZE, body)).status == 200


# health-check


async def test_a_health_check_asks_every_server_now_and_answers_with_each_result(desk: Desk) -> None:
    desk.room.wards["b"].status = 503
    asked = [ward.asked for ward in desk.room.wards.values()]
    answer = await desk.ask("POST", CHECK, role="operator")
    assert answer.status == 200
    assert [ward.asked for ward in desk.room.wards.values()] == [count + 1 for count in asked]
    assert [answer.at("items", n, "ok") for n in (0, 1)] == [True, False]
    assert answer.at("items", 1, "status") == 503
    assert answer.at("items", 1, "reason") == "answered 503, expected 200-399"
    assert answer.at("items", 1, "verdict") == "up"
    assert isinstance(answer.at("items", 1, "seconds"), float)


async def test_a_verdict_that_a_health_check_brings_is_in_force_when_it_is_answered(desk: Desk) -> None:
    desk.room.wards["b"].status = 503
    for _ in range(3):
        answer = await desk.ask("POST", CHECK, {"pool": "web", "server": "b"})
    assert answer.at("items", 0, "verdict") == "down"
    assert desk.room.fleet.snapshot.down == {("web", "b")}


async def test_a_health_check_can_be_of_one_pool_or_one_server(desk: Desk) -> None:
    assert await _names(desk, {"pool": "web"}) == ["a", "b"]
    assert await _names(desk, {"pool": "web", "server": "b"}) == ["b"]
    assert await _names(desk, {}) == ["a", "b"]


async def _names(desk: Desk, body: dict[str, str]) -> list[object]:
    answer = await desk.ask("POST", CHECK, body)
    items = answer.json["items"]
    assert isinstance(items, list)
    return [answer.at("items", n, "server") for n in range(len(items))]


async def test_a_server_in_maintenance_is_not_asked_and_says_so(desk: Desk) -> None:
    await desk.ask("POST", f"{BALANCER}/pools/web/servers/a/maintenance")
    answer = await desk.ask("POST", CHECK)
    assert (answer.at("items", 0, "ok"), answer.at("items", 0, "reason")) == (None, "it is in maintenance")
    assert answer.at("items", 1, "ok") is True


@pytest.mark.parametrize(
    ("body", "status"),
    [({"pool": "nix"}, 404), ({"pool": "web", "server": "x"}, 404), ({"server": "a"}, 422), ({"all": True}, 422)],
)
async def test_a_health_check_of_what_is_not_there_is_refused(desk: Desk, body: dict[str, object], status: int) -> None:
    assert (await desk.ask("POST", CHECK, body)).status == status


# next-server


async def test_next_server_asks_every_strategy_and_shows_the_candidates(desk: Desk) -> None:
    await desk.ask("POST", f"{BALANCER}/pools/web/servers/b/drain")
    answer = await desk.ask("GET", NEXT, role="viewer")
    assert (answer.at("pool"), answer.at("strategy"), answer.at("server")) == ("web", "round-robin", "a")
    strategies = answer.json["strategies"]
    assert isinstance(strategies, list)
    assert len(strategies) == 6
    assert answer.at("strategies", 0, "candidates", 1, "state") == "drained"
    assert answer.at("strategies", 0, "candidates", 1, "weight") == 0.0


async def test_next_server_passes_on_who_would_ask_for_what(desk: Desk) -> None:
    query = "?pool=web&strategy=hash&client=2001:DB8::1&path=/a%3Fb=c&header=Cookie:%20lb=1"
    answer = await desk.ask("GET", NEXT + query)
    assert answer.status == 200, answer.content
    assert desk.room.fleet.asked == [Preview("web", "hash", "2001:db8::1", "/a?b=c", (("Cookie", "lb=1"),))]
    strategies = answer.json["strategies"]
    assert isinstance(strategies, list)
    assert len(strategies) == 1


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ("pool=nix", 404, None),
        ("pool=a/b", 422, "?pool"),
        ("strategy=fastest", 422, "?strategy"),
        ("strategy=os:system", 422, "?strategy"),
        ("client=me", 422, "?client"),
        ("path=a", 422, "?path"),
        ("path=/a%0d%0ab", 422, "?path"),
        ("header=Cookie", 422, "?header"),
        ("header=A:b%0d%0aC:d", 422, "?header"),
        ("colour=red", 422, "?colour"),
    ],
)
async def test_a_question_that_can_not_be_is_refused(desk: Desk, query: str, status: int, pointer: str | None) -> None:
    answer = await desk.ask("GET", f"{NEXT}?{query}")
    assert answer.status == status, answer.content
    assert pointer is None or list(answer.faults) == [pointer]
    assert desk.room.fleet.asked == []


async def test_a_parameter_given_twice_is_refused(desk: Desk) -> None:
    assert (await desk.ask("GET", f"{NEXT}?pool=web&pool=web")).status == 422


async def test_with_several_pools_and_no_default_the_pool_has_to_be_named(
    tmp_path: Path, aiohttp_client: AiohttpClient
) -> None:
    keys, clock = Keys(), Clock()
    async with room(tmp_path) as found:
        urls = [ward.url for ward in found.wards.values()]
        pools = f"pools: {{one: {{servers: [{urls[0]}]}}, two: {{servers: [{urls[1]}]}}}}\n"
        found.file.write_text(f"listen: 127.0.0.1:0\n{pools}routes: {{all: {{pool: one}}}}\n{keys.lines}\n")
        await found.begin()
        parts = services(found, clock)
        desk = Desk(await aiohttp_client(make_app(parts)), found, keys, parts, clock)
        answer = await desk.ask("GET", NEXT)
        assert (answer.status, answer.faults) == (422, {"?pool": "must be one of one, two, as none is called default"})
        answer = await desk.ask("POST", INITIALIZE, {"servers": [X]})
        assert (answer.status, list(answer.faults)) == (422, ["/pool"])
        assert (await desk.ask("GET", f"{NEXT}?pool=two")).status == 200
        assert len(await _names(desk, {})) == 2


# stats


async def test_stats_has_everything_on_one_page(desk: Desk) -> None:
    answer = await desk.ask("GET", "/api/infrastructure/stats", role="viewer")
    assert answer.status == 200
    assert answer.at("ready") is True
    assert answer.at("load_balancer", "totals", "servers") == 2
    assert answer.at("redis", "reason") == "not configured: redis.url is empty"
    assert answer.at("configuration", "file") == str(desk.room.file)
    assert answer.at("configuration", "changed_by_api") is False
    await desk.ask("POST", f"{BALANCER}/pools/web/servers/a/drain")
    again = await desk.ask("GET", "/api/infrastructure/stats")
    assert again.at("configuration", "changed_by_api") is True
    assert again.at("admin", "requests") == {"200": 2}


# certificates


async def test_certificates_tell_until_when_they_are_valid(desk: Desk) -> None:
    now = desk.services.wall()
    desk.room.fleet.certificates.append(
        CertificateReport(
            listener="main",
            name="a.test",
            names=("a.test", "*.a.test"),
            issuer="CN=Somebody",
            not_before=now - timedelta(days=60),
            not_after=now + timedelta(days=29, hours=23),
            key_type="ECDSA P-256",
            loaded=now,
        )
    )
    answer = await desk.ask("GET", "/api/infrastructure/certificates", role="viewer")
    assert answer.status == 200
    (item,) = cast("list[dict[str, object]]", answer.at("items"))
    assert (item["listener"], item["names"], item["days_left"]) == ("main", ["a.test", "*.a.test"], 29)
    assert (item["issuer"], item["key_type"]) == ("CN=Somebody", "ECDSA P-256")
    assert str(item["not_after"]).endswith("Z")


# routes/explain

EXPLAIN = "/api/infrastructure/routes/explain"


async def test_a_route_is_explained_for_a_request_that_nobody_makes(desk: Desk) -> None:
    query = "?method=POST&url=http://shop.example.com/a%3Fb=c&headers=X-Beta:%20yes%0ACookie:%20a=b"
    answer = await desk.ask("GET", EXPLAIN + query, role="viewer")
    assert answer.status == 200, answer.content
    asked = RouteQuestion("POST", "shop.example.com", "/a?b=c", (("X-Beta", "yes"), ("Cookie", "a=b")))
    assert desk.room.fleet.explained == [asked]
    assert answer.at("route") in desk.room.control.snapshot.config.routes
    assert answer.at("reason") == "the only one that fits"


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("/x", "", "/x"),
        ("http://a.example", "a.example", "/"),
        ("http://a.example?b=c", "a.example", "/?b=c"),
        ("https://u:p@a.example:8443/x%23y", "a.example:8443", "/x"),
    ],
)
async def test_a_url_is_taken_apart_as_clients_do(desk: Desk, url: str, host: str, path: str) -> None:
    answer = await desk.ask("GET", f"{EXPLAIN}?url={url}")
    assert answer.status == 200, answer.content
    assert (desk.room.fleet.explained[0].host, desk.room.fleet.explained[0].path) == (host, path)


@pytest.mark.parametrize(
    "query", ["", "?url=example.com", "?url=/a%20b", "?url=/&headers=nothing", "?url=/&method=get"]
)
async def test_what_is_no_request_is_not_explained(desk: Desk, query: str) -> None:
    assert (await desk.ask("GET", EXPLAIN + query)).status == 422
