import pytest
from prometheus_client.parser import text_string_to_metric_families

from balancer.redis_link import RedisState
from balancer.telemetry.redis_report import NodeReport, RedisReport
from tests.api.desk import BALANCER, SERVERS, Desk

HEALTH = "/api/monitoring/health"


async def test_liveness_needs_no_key_and_does_not_look_at_one(desk: Desk) -> None:
    for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Basic eDp5"}):
        answer = await desk.ask("GET", "/livez", role=None, headers=headers)
        assert (answer.status, answer.document) == (200, {"status": "alive"})


async def test_readiness_ends_when_a_shutdown_begins_while_liveness_goes_on(desk: Desk) -> None:
    assert (await desk.ask("GET", "/readyz", role=None)).document == {"status": "ready", "detail": None}
    desk.room.control.begin_shutdown()
    answer = await desk.ask("GET", "/readyz", role=None)
    assert (answer.status, answer.document) == (
        503,
        {"status": "not ready", "detail": "a shutdown has begun"},
    )
    assert (await desk.ask("GET", "/livez", role=None)).status == 200


async def test_health_is_only_a_word_without_a_key(desk: Desk) -> None:
    answer = await desk.ask("GET", HEALTH, role=None)
    assert (answer.status, answer.document) == (200, {"status": "ok", "checks": None, "since": None, "summary": None})


async def test_health_has_details_for_a_viewer_and_a_wrong_key_is_told_so(desk: Desk) -> None:
    answer = await desk.ask("GET", HEALTH, role="viewer")
    assert answer.at("checks", "pool web", "status") == "ok"
    redis = ("unknown", "not configured: redis.url is empty")
    assert (answer.at("checks", "redis", "status"), answer.at("checks", "redis", "reason")) == redis
    assert answer.at("summary") == "all is well"
    assert (await desk.ask("GET", HEALTH, role=None, headers={"X-API-Key": "x"})).status == 401


async def test_health_is_degraded_while_some_servers_are_down_and_down_when_none_is_left(desk: Desk) -> None:
    desk.room.wards["b"].status = 503
    for _ in range(3):
        await desk.ask("POST", f"{BALANCER}/health-check")
    answer = await desk.ask("GET", HEALTH)
    assert (answer.status, answer.at("status")) == (200, "degraded")
    assert answer.at("checks", "pool web", "reason") == "1 of 2 servers are up"
    desk.room.wards["a"].status = 503
    for _ in range(3):
        await desk.ask("POST", f"{BALANCER}/health-check")
    answer = await desk.ask("GET", HEALTH)
    assert (answer.status, answer.at("status")) == (503, "down")
    assert answer.at("checks", "pool web", "reason") == "no server has traffic: 0 of 2 servers are up"
    assert (await desk.ask("GET", HEALTH, role=None)).at("status") == "down"


async def test_health_says_since_when_what_is_wrong_and_how_often_that_changed(desk: Desk) -> None:
    await desk.ask("GET", HEALTH)
    desk.clock.now += 100
    desk.services.redis.state = RedisState(False, "refused")
    ill = await desk.ask("GET", HEALTH)
    assert ill.at("summary") == "redis is degraded for 0 s: refused"
    desk.clock.now += 600
    later = await desk.ask("GET", HEALTH)
    assert later.at("summary") == "redis is degraded for 10 min: refused"
    assert (later.at("checks", "redis", "changes"), later.at("checks", "pool web", "changes")) == (1, 0)
    desk.clock.now += 3700
    assert (await desk.ask("GET", HEALTH)).at("checks", "redis", "changes") == 0


async def test_health_is_degraded_and_no_worse_while_a_pool_fails_open(desk: Desk) -> None:
    desk.room.fleet.ejected |= {("web", "a"), ("web", "b")}
    desk.room.fleet.panic.add("web")
    answer = await desk.ask("GET", HEALTH)
    assert (answer.status, answer.at("checks", "pool web", "status")) == (200, "degraded")


async def test_health_is_degraded_by_a_refused_reload_a_late_loop_and_a_lost_redis(desk: Desk) -> None:
    desk.room.file.write_text("listen: [")
    await desk.ask("POST", "/api/config/reload")
    desk.services.lag.beat(0.0)
    desk.services.lag.beat(1.5)
    desk.services.redis.state = RedisState(False, "ConnectionError: refused")
    answer = await desk.ask("GET", HEALTH)
    assert (answer.status, answer.at("status")) == (200, "degraded")
    for name in ("configuration", "event loop", "redis"):
        assert answer.at("checks", name, "status") == "degraded"
        assert answer.at("checks", name, "reason")


async def test_a_drained_server_is_the_operators_wish_and_no_bad_health(desk: Desk) -> None:
    await desk.ask("POST", f"{SERVERS}/a/drain")
    assert (await desk.ask("GET", HEALTH)).at("status") == "ok"


async def test_metrics_tell_figures_and_databases_with_reasons_for_what_is_not_known(desk: Desk) -> None:
    desk.room.fleet.tallies["web", "a"].codes[200] = 5
    answer = await desk.ask("GET", "/api/monitoring/metrics", role="viewer")
    assert answer.status == 200
    assert answer.at("pools", "web", "servers", "a", "requests", "total") == 5
    assert answer.at("requests", "per_second") is None
    assert answer.at("requests", "reason")
    assert answer.at("databases", "redis", "ok") is None
    assert answer.at("databases", "redis", "reason") == "not configured: redis.url is empty"
    assert isinstance(answer.at("process", "cpu_seconds"), float)


async def test_rates_are_known_from_the_second_sample_on(desk: Desk) -> None:
    fleet, recent = desk.room.fleet, desk.services.recent
    recent.sample(0.0, await fleet.report())
    fleet.tallies["web", "a"].codes[200] = 5
    recent.sample(1.0, await fleet.report())
    answer = await desk.ask("GET", "/api/monitoring/metrics")
    assert answer.at("pools", "web", "servers", "a", "requests", "per_second") == 5.0


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
async def test_prometheus_gets_the_format_it_asks_for(desk: Desk, accept: str, content_type: str) -> None:
    answer = await desk.ask("GET", "/metrics", role=None, headers={"Accept": accept})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(content_type)


async def test_prometheus_sees_reloads_checks_and_requests_to_the_api(desk: Desk) -> None:
    await desk.ask("POST", "/api/config/reload")
    desk.services.redis.state = RedisState(True, None, 0.001)
    page = (await desk.ask("GET", "/metrics", role=None)).content.decode()
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert found["balancer_config_reloads_total", ("result", "success")] == 1
    assert found["balancer_admin_requests_total", ("code", "200")] == 1
    assert found["balancer_redis_up",] == 1
    checks = ("pool", "web"), ("result", "passed"), ("server", "a")
    assert found["balancer_server_health_checks_total", *checks] >= 1
    assert found["balancer_config_last_reload_success_timestamp_seconds",] > 1.7e9


async def test_what_redis_is_to_those_who_use_it_is_told_by_node(desk: Desk) -> None:
    desk.services.redis.state = RedisState(True, None, 0.001)
    metrics, health = "/api/monitoring/metrics", "/api/monitoring/health"
    assert (await desk.ask("GET", metrics)).at("databases", "redis", "use") is None
    assert (await desk.ask("GET", health)).at("checks", "redis", "status") == "ok"
    nodes = (NodeReport("h:1", "up", None), NodeReport("h:2", "open", "no answer"))
    desk.room.fleet.redis = RedisReport("partial", "no answer", 3, nodes, {"ok": 7}, opened=1, redirected=2)
    for path in ((metrics, "databases"), ("/api/infrastructure/stats",)):
        answer = await desk.ask("GET", path[0])
        assert answer.at(*path[1:], "redis", "use", "state") == "partial"
        away = {"name": "h:2", "state": "open", "reason": "no answer"}
        assert answer.at(*path[1:], "redis", "use", "nodes", 1) == away
        assert answer.at(*path[1:], "redis", "use", "redirections") == 2
    told = await desk.ask("GET", health)
    assert told.at("checks", "redis", "status") == "degraded"
    assert told.at("checks", "redis", "reason") == "partial: no answer"


async def test_metrics_need_a_key_when_the_configuration_says_so(desk: Desk) -> None:
    desk.room.write(f"{desk.keys.lines}\nmetrics: {{open: false}}")
    await desk.ask("POST", "/api/config/reload")
    assert (await desk.ask("GET", "/metrics", role=None)).status == 401
    assert (await desk.ask("GET", "/metrics", role="viewer")).status == 200
