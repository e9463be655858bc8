import json

import pytest

from api.cache_models import LevelAnswer, PurgedAnswer
from balancer.commands.figures import share, size
from balancer.commands.outcome import ERROR, OK, REFUSED, USAGE
from balancer.telemetry.figures import Quantiles, SecondLevelFigures
from tests.commands.answers import cache_stats, metrics, pool, receipt, server, status
from tests.commands.stand_in import Reply, StandIn, balancer, problem, stand_in

PURGE = "POST /api/infrastructure/cache/purge"
STATS = "GET /api/infrastructure/cache/stats?top=10"
MEMORY = LevelAnswer(level="memory", ok=True, entries=2, seconds=0.001, reason=None)
REDIS = LevelAnswer(level="redis", ok=True, entries=None, seconds=0.002, reason="nobody counts them")
AWAY = LevelAnswer(level="redis", ok=False, entries=None, seconds=0.1, reason="no answer within 100 ms")


def item(*levels: LevelAnswer, kind: str = "url", value: str = "/posts/1", soft: bool = False) -> PurgedAnswer:
    ok = all(level.ok for level in levels)
    return PurgedAnswer.model_validate({"kind": kind, "value": value, "soft": soft, "ok": ok, "levels": levels})


def sent(api: StandIn) -> object:
    (asked,) = api.asked
    assert asked.headers["Content-Type"] == "application/json"
    return json.loads(asked.body)


def test_what_is_to_be_purged_is_sent_in_the_words_of_the_api() -> None:
    words = ("/a", "/b", "--prefix", "/p", "--pattern", "/x/*", "--tag", "t", "--tag", "u", "--host", "h", "--soft")
    with stand_in({PURGE: Reply(receipt(item(MEMORY)))}) as api:
        assert balancer("purge", *words, "--admin", api.url).code == OK
        assert sent(api) == {
            "urls": ["/a", "/b"],
            "prefixes": ["/p"],
            "patterns": ["/x/*"],
            "tags": ["t", "u"],
            "hosts": ["h"],
            "soft": True,
        }


def test_everything_has_to_be_said_in_a_word_of_its_own() -> None:
    with stand_in({PURGE: Reply(receipt(item(MEMORY, kind="everything", value="")))}) as api:
        ended = balancer("purge", "--all", "--admin", api.url)
        assert sent(api) == {"everything": True}
    assert ended == (OK, "everything: 2 answers gone in memory\n", "")
    for words in ((), ("--soft",)):
        with stand_in({}) as api:
            code, out, messages = balancer("purge", *words, "--admin", api.url)
            assert (code, out, api.asked) == (USAGE, "", [])
        assert "nothing to purge: expected a URL such as /posts/1" in messages


def test_each_item_is_a_line_with_what_every_level_says() -> None:
    items = item(MEMORY, REDIS), item(MEMORY, REDIS, kind="tag", value="news", soft=True)
    with stand_in({PURGE: Reply(receipt(*items))}) as api:
        ended = balancer("purge", "/posts/1", "--tag", "news", "--admin", api.url)
    assert ended.out.splitlines() == [
        "url /posts/1: 2 answers gone in memory, redis has taken it",
        "tag news: 2 answers stale in memory, redis has taken it",
    ]


def test_a_purge_that_a_level_did_not_take_ends_with_exit_code_1_and_is_shown_all_the_same() -> None:
    with stand_in({PURGE: Reply(receipt(item(MEMORY, AWAY)), 503)}) as api:
        code, out, messages = balancer("purge", "/posts/1", "--admin", api.url)
        as_json = balancer("purge", "/posts/1", "--json", "--admin", api.url)
    assert code == ERROR
    assert out == "url /posts/1: 2 answers gone in memory, redis has not taken it: no answer within 100 ms\n"
    assert "not everything is purged everywhere (redis: no answer within 100 ms)" in messages
    assert as_json.code == ERROR
    assert json.loads(as_json.out)["ok"] is False


def test_a_pattern_in_the_place_of_a_url_is_not_taken_for_one() -> None:
    with stand_in({}) as api:
        code, _, messages = balancer("purge", "/posts/*", "--admin", api.url)
        assert (code, api.asked) == (USAGE, [])
    assert "use --pattern" in messages


def test_refusals_of_the_api_are_told_as_for_other_commands() -> None:
    refused = problem(422, "1 field is not as expected", {"pointer": "/tags/0", "message": "expected a tag"})
    with stand_in({PURGE: refused}) as api:
        ended = balancer("purge", "--tag", "a b", "--admin", api.url)
    assert ended == (USAGE, "", "balancer: 1 field is not as expected\n  /tags/0: expected a tag\n")
    with stand_in({PURGE: problem(403, "this needs a key of role operator")}) as api:
        assert balancer("purge", "/a", "--admin", api.url, environ={"ADMIN_API_KEY": "k"}).code == REFUSED
    with stand_in({PURGE: problem(503, "the API is closing")}) as api:
        assert balancer("purge", "/a", "--admin", api.url).messages == "balancer: the API is closing\n"


def test_the_cache_is_told_on_a_page() -> None:
    second = SecondLevelFigures(
        state="open",
        up=False,
        reason="timeout",
        latency=Quantiles(p50=0.0004, p90=0.0012, p99=0.0012, max=0.05),
        commands={"ok": 9},
        results={"hit": 3, "miss": 4},
        gaps=0,
        owed=1,
    )
    with stand_in({STATS: Reply(cache_stats(redis=second))}) as api:
        ended = balancer("cache", "--admin", api.url)
        assert balancer("cache", "stats", "--admin", api.url).out == ended.out
    assert (ended.code, ended.messages) == (OK, "")
    assert [" ".join(line.split()) for line in ended.out.splitlines()] == [
        "cache 1843 answers 48 MiB of 64 MiB evicted 120",
        "hit ratio 94% now 93% in 5 min 99.9% in 1 h - since the start",
        "requests hit 91022 miss 6120 bypass 44",
        "fills 6120 1 under way 0 waiting 310 collapsed",
        "not stored private 44",
        "redis open timeout p50 0.4ms p99 1.2ms 1 purge to be told",
        "in redis miss 4 hit 3",
        "",
        "url hits ttl age size variants status",
        "https://h/ 9120 42s 18s 31 KiB 2 200",
        "https://h/posts 4711 stale 8m 700 B 1 200",
        "",
        "tag answers",
        "posts 310",
    ]


def test_without_a_cached_route_the_page_says_how_to_have_one() -> None:
    with stand_in({STATS: Reply(cache_stats(enabled=False))}) as api:
        assert balancer("cache", "--admin", api.url).out.startswith("no route is cached: `cache: true`")
        assert json.loads(balancer("cache", "--json", "--admin", api.url).out)["enabled"] is False
    with stand_in({STATS.replace("10", "3"): Reply(cache_stats())}) as api:
        assert balancer("cache", "--top", "3", "--admin", api.url).code == OK


def test_the_status_tells_the_hit_ratio_where_there_is_a_cache() -> None:
    told = {"GET /api/infrastructure/load-balancer/status": Reply(status(pool(server("a"))))}
    figures = metrics(a=1.5)
    with stand_in({**told, "GET /api/monitoring/metrics": Reply(figures)}) as api:
        assert "cache" not in balancer("status", "--admin", api.url).out
    figures["cache"] = cache_stats()
    with stand_in({**told, "GET /api/monitoring/metrics": Reply(figures)}) as api:
        assert "cache 93%" in balancer("status", "--admin", api.url).out.splitlines()[1]


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (31744, "31 KiB"), (2**30 * 1.5, "1.5 GiB")],
)
def test_sizes_are_short(number: float | None, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("of_one", "text"), [(None, "-"), (0.0, "0%"), (0.934, "93%"), (0.9991, "99.9%"), (1.0, "100%")]
)
def test_shares_are_short(of_one: float | None, text: str) -> None:
    assert share(of_one) == text
