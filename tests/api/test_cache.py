"""What the API says of the cache, and what it takes out of it: over a real store."""

from time import monotonic

import pytest

from balancer.cache.entry import Entry
from balancer.cache.receipts import LevelReceipt
from balancer.tally import CacheTally
from balancer.telemetry.cache_report import SecondReport
from tests.api.desk import Desk

STATS = "/api/infrastructure/cache/stats"
PURGE = "/api/infrastructure/cache/purge"


def store(desk: Desk, *urls: str, tags: str = "", hits: int = 0) -> None:
    for url in urls:
        entry = Entry(url.encode(), (b"route", b"pool"), (), 200, b"HTTP/1.1 200 OK\r\n", ())
        entry.born, entry.fresh_until = monotonic() - 5, monotonic() + 60
        entry.tags = tuple(tags.encode().split())
        entry.hits = hits
        assert desk.room.fleet.store.put(entry, desk.room.fleet.store.moment)


def left(desk: Desk) -> set[str]:
    """What is in the store and may still be served as fresh."""
    memory = desk.room.fleet.store
    entries = [entry for url in memory.urls() for entry in memory.find(url) if memory.current(entry)]
    return {entry.key.decode() for entry in entries if entry.fresh_until > monotonic()}


ALL = ("http://a.com/posts/1", "http://a.com/posts/2", "https://a.com/posts/1", "https://b.com/about?x=1")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"urls": ["a.com/posts/1"]}, {ALL[1], ALL[3]}),
        ({"urls": ["https://a.com/posts/1", "/about?x=1"]}, {ALL[0], ALL[1]}),
        ({"prefixes": ["http://a.com/"]}, {ALL[2], ALL[3]}),
        ({"patterns": ["/posts/*"]}, {ALL[3]}),
        ({"hosts": ["b.com"]}, set(ALL[:3])),
        ({"tags": ["all"], "urls": ["/nothing"]}, set()),
        ({"everything": True}, set()),
        ({"patterns": ["/posts/*"], "soft": True}, {ALL[3]}),
    ],
)
async def test_what_is_purged_is_gone_and_the_rest_stays(desk: Desk, said: dict[str, object], kept: set[str]) -> None:
    store(desk, *ALL, tags="all")
    answer = await desk.ask("POST", PURGE, said, role="operator")
    assert answer.status == 200
    assert answer.at("ok") is True
    assert left(desk) == kept
    assert answer.at("levels") == [
        {"level": "memory", "ok": True, "entries": len(ALL) - len(kept), "seconds": 0.0, "reason": None}
    ]


async def test_each_item_has_a_receipt_of_its_own(desk: Desk) -> None:
    store(desk, *ALL)
    answer = await desk.ask("POST", PURGE, {"urls": ["/posts/1", "/nowhere"], "hosts": ["B.com"]})
    items = answer.json["items"]
    assert isinstance(items, list)
    assert [(item["kind"], item["value"], item["levels"][0]["entries"]) for item in items] == [  # type: ignore[index, call-overload]  # JSON
        ("url", "/posts/1", 2),
        ("url", "/nowhere", 0),
        ("host", "b.com", 1),
    ]


async def test_a_purge_that_a_level_did_not_take_is_no_success_and_in_force_on_the_others(desk: Desk) -> None:
    store(desk, *ALL)
    desk.room.fleet.below = (LevelReceipt("redis", False, None, 0.1, "no answer within 100 ms"),)
    answer = await desk.ask("POST", PURGE, {"everything": True})
    assert answer.status == 503
    assert answer.at("ok") is False
    assert answer.at("items", 0, "ok") is False
    assert answer.at("levels", 0, "entries") == 4
    assert answer.at("levels", 1) == {
        "level": "redis",
        "ok": False,
        "entries": None,
        "seconds": 0.1,
        "reason": "no answer within 100 ms",
    }
    assert left(desk) == set()


@pytest.mark.parametrize(
    ("said", "pointer", "reason"),
    [
        ({}, "", "must have something in urls, prefixes, patterns, tags, hosts, or `everything: true`"),
        ({"everything": False, "soft": True}, "", "must have something in urls"),
        (
            {"urls": ["/a", "nowhere"]},
            "/urls/1",
            "expected https://example.com/path, example.com/path for both schemes",
        ),
        ({"tags": ["a b"]}, "/tags/0", "without white space and commas"),
        ({"hosts": ["http://a"]}, "/hosts/0", "expected example.com"),
        ({"urls": "/a"}, "/urls", "must be a list"),
        ({"urls": [""]}, "/urls/0", "at least 1 character"),
        ({"everything": 1}, "/everything", "must be true or false"),
        ({"all": True}, "/all", "is not a field that is known here"),
        ({"patterns": [f"/{n}*" for n in range(60)], "prefixes": ["/a"] * 60}, "/patterns", "at most 100"),
        ({"urls": ["/a"] * 600, "tags": ["a"] * 600}, "", "must have at most 1000 things to purge, not 1200"),
    ],
)
async def test_what_cannot_be_purged_purges_nothing(
    desk: Desk, said: dict[str, object], pointer: str, reason: str
) -> None:
    store(desk, *ALL)
    answer = await desk.ask("POST", PURGE, said)
    assert answer.status == 422
    assert list(answer.faults) == [pointer]
    assert reason in answer.faults[pointer]
    assert left(desk) == set(ALL)


async def test_a_viewer_may_look_and_not_purge(desk: Desk) -> None:
    store(desk, *ALL)
    assert (await desk.ask("POST", PURGE, {"everything": True}, role="viewer")).status == 403
    assert (await desk.ask("GET", STATS, role="viewer")).status == 200
    assert left(desk) == set(ALL)


async def test_stats_tell_what_is_there_and_what_is_asked_for_most(desk: Desk) -> None:
    store(desk, *ALL, tags="all posts")
    store(desk, "http://a.com/x?token=secret&page=2", hits=7, tags="all")
    desk.room.fleet.cache_tally = CacheTally()
    desk.room.fleet.cache_tally.refused["private"] = 2
    answer = await desk.ask("GET", STATS + "?top=1")
    assert answer.status == 200
    assert (answer.at("enabled"), answer.at("entries"), answer.at("limit")) == (True, 5, 1 << 20)
    assert answer.at("not_stored") == {"private": 2}
    assert answer.at("top_tags") == [{"tag": "all", "entries": 5}]
    (top,) = answer.json["top_keys"]  # type: ignore[misc, union-attr]  # JSON
    assert isinstance(top, dict)
    assert (top["url"], top["hits"], top["variants"]) == ("http://a.com/x?token=***&page=2", 7, 1)
    assert answer.at("hit_ratio", "hour") is None


async def test_without_a_cached_route_stats_are_empty_and_say_so(desk: Desk) -> None:
    answer = await desk.ask("GET", STATS)
    assert (answer.at("enabled"), answer.at("entries"), answer.at("top_keys")) == (False, 0, [])
    assert answer.at("limit") == 64 * 1024 * 1024
    metrics = await desk.ask("GET", "/api/monitoring/metrics")
    assert metrics.at("cache") is None


async def test_the_figures_of_the_cache_are_on_the_pages_with_everything(desk: Desk) -> None:
    desk.room.fleet.cache_tally = CacheTally()
    store(desk, *ALL)
    for path in ("/api/monitoring/metrics", "/api/infrastructure/stats"):
        assert (await desk.ask("GET", path)).at("cache", "entries") == 4
    assert (await desk.ask("GET", STATS + "?top=0")).status == 422
    assert (await desk.ask("GET", STATS + "?top=101")).status == 422


async def test_health_tells_of_a_level_in_redis_that_is_away(desk: Desk) -> None:
    desk.room.fleet.cache_tally = CacheTally()
    health = "/api/monitoring/health"
    assert "cache in redis" not in (await desk.ask("GET", health)).json["checks"]  # type: ignore[operator]  # JSON
    desk.room.fleet.second = SecondReport("open", False, "timeout")
    ill = await desk.ask("GET", health)
    assert ill.at("checks", "cache in redis", "status") == "degraded"
    assert ill.at("checks", "cache in redis", "reason") == "timeout"
    desk.room.fleet.second = SecondReport("up", True)
    assert (await desk.ask("GET", health)).at("checks", "cache in redis", "status") == "ok"
    figures = (await desk.ask("GET", STATS)).json["redis"]
    assert isinstance(figures, dict)
    assert (figures["state"], figures["owed"]) == ("up", 0)


async def test_a_dry_run_tells_what_a_purge_would_meet_and_purges_nothing(desk: Desk) -> None:
    store(desk, *ALL, tags="all")
    said = {"urls": ["/posts/1"], "hosts": ["b.com"], "dry_run": True}
    answer = await desk.ask("POST", PURGE, said, role="operator")
    assert answer.status == 200
    assert left(desk) == set(ALL)
    assert (answer.at("would", "entries"), answer.at("levels", 0, "entries")) == (3, 3)
    assert {answer.at("items", number, "levels", 0, "entries") for number in (0, 1)} == {1, 2}
    assert set(answer.json["would"]["urls"]) == {ALL[0], ALL[2], ALL[3]}  # type: ignore[index, call-overload]  # JSON
    assert desk.room.fleet.store.figures().purged == 0


async def test_the_hits_of_the_last_hour_are_told_in_steps(desk: Desk) -> None:
    answer = await desk.ask("GET", STATS, role="viewer")
    assert isinstance(answer.json["history"], list)
