"""Purging and looking at the cache of a running balancer, as people do it: the API and the command line."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast

import pytest

from tests.caching.client import Client
from tests.caching.lab import Lab, Site
from tests.caching.server import Place, says
from tests.commands.stand_in import Ended, balancer
from tests.redis_server import RedisServer
from tests.system.process import KEY

pytestmark = pytest.mark.slow


def asked(site: Site, path: str, body: object = None) -> dict[str, Any]:
    """What the admin API says."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{site.admin}{path}",
        json.dumps(body).encode() if body is not None else None,
        {"X-API-Key": KEY, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return cast("dict[str, Any]", json.load(response))


def command(site: Site, *words: str) -> Ended:
    return balancer(*words, "--admin", f"http://127.0.0.1:{site.admin}", environ={"ADMIN_API_KEY": KEY})


class Reader:
    """A client and its part of the server, which says of each page that it is fresh for an hour."""

    def __init__(self, lab: Lab, name: str, client: Client | None = None) -> None:
        self.place: Place = lab.place(name)
        self.place.always = says("Cache-Control: max-age=3600", f"Surrogate-Key: {name} all", body=b"page")
        self._client = client or lab.client()

    def reads(self, tail: str) -> bool:
        """Whether the answer was a hit."""
        self._client.send(f"/{self.place.name}{tail}")
        seen = self._client.answer()
        assert (seen.status, seen.body) == (200, b"page")
        assert seen.cache is not None
        return seen.cache.get("hit") is True

    def fill(self, *tails: str) -> None:
        for tail in tails:
            self.reads(tail)
        assert all(map(self.reads, tails))


def test_what_the_api_purged_is_fetched_anew_and_the_rest_is_not(lab: Lab) -> None:
    site, reader = lab.site(), Reader(lab, "purged-by-api")
    reader.fill("/posts/1", "/posts/2", "/about")
    receipt = asked(site, "/api/infrastructure/cache/purge", {"patterns": [f"/{reader.place.name}/posts/*"]})
    assert receipt["ok"] is True
    assert [(level["level"], level["entries"]) for level in receipt["levels"]] == [("memory", 2)]
    assert [reader.reads(tail) for tail in ("/posts/1", "/posts/2", "/about")] == [False, False, True]


def test_the_command_line_purges_by_tag_and_by_url(lab: Lab) -> None:
    site, reader = lab.site(), Reader(lab, "purged-by-command")
    reader.fill("/a", "/b")
    ended = command(site, "purge", f"/{reader.place.name}/a")
    assert ended == (0, f"url /{reader.place.name}/a: 1 answer gone in memory\n", "")
    assert [reader.reads(tail) for tail in ("/a", "/b")] == [False, True]
    assert command(site, "purge", "--tag", "purged-by-command").out == (
        "tag purged-by-command: 2 answers gone in memory\n"
    )
    assert [reader.reads(tail) for tail in ("/a", "/b")] == [False, False]


def test_what_is_read_most_is_on_top_of_what_the_cache_tells(lab: Lab) -> None:
    site, reader = lab.site(), Reader(lab, "read-most")
    reader.fill("/rare", "/much?token=secret")
    for _ in range(200):
        assert reader.reads("/much?token=secret")
    end = monotonic() + 10
    while (stats := asked(site, "/api/infrastructure/cache/stats?top=100"))["hit_ratio"]["five_minutes"] is None:
        assert monotonic() < end, "no hit ratio within ten seconds"
        sleep(0.1)
    top = stats["top_keys"][0]
    assert top["url"] == f"http://site.test/{reader.place.name}/much?token=***"
    assert top["hits"] >= 201
    assert {"tag": "read-most", "entries": 2} in stats["top_tags"]
    assert 0 < stats["hit_ratio"]["five_minutes"] <= 1
    page = command(site, "cache").out
    assert f"http://site.test/{reader.place.name}/much?token=***" in page
    assert "secret" not in page
    assert asked(site, "/api/monitoring/metrics")["cache"]["requests"]["hit"] >= 200
    assert "cache " in command(site, "status").out.splitlines()[1]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_a_purge_at_one_balancer_is_one_at_all_and_says_so_when_it_is_not(
    lab: Lab, tmp_path: Path, redis: RedisServer
) -> None:
    folders = [tmp_path / name for name in ("here", "there")]
    for folder in folders:
        folder.mkdir()
    here, there = (Site(folder, "plain", lab.server.port, {"redis": {"url": redis.url}}) for folder in folders)
    clients: list[Client] = []
    try:
        here.start()
        there.start()
        clients += [Client(site.port) for site in (here, there)]
        one, other = (Reader(lab, "shared", client) for client in clients)
        other.place = one.place
        one.fill("/a", "/b")
        other.fill("/a", "/b")
        receipt = asked(here, "/api/infrastructure/cache/purge", {"tags": ["shared"]})
        assert [(level["level"], level["ok"]) for level in receipt["levels"]] == [("memory", True), ("redis", True)]
        assert not one.reads("/a")
        end = monotonic() + 5
        asked_before = len(one.place.asked)
        while other.reads("/b") and len(one.place.asked) == asked_before:
            assert monotonic() < end, "the other balancer has not heard of it within five seconds"
            sleep(0.02)
        many = asked(here, "/api/infrastructure/cache/purge", {"urls": [f"/none/{number}" for number in range(1000)]})
        assert many["ok"] is True
        assert asked(here, "/api/infrastructure/cache/stats")["redis"]["state"] == "up"

        one.fill("/a")
        redis.kill()
        ended = command(here, "purge", "--tag", "shared", "--json")
        receipt = json.loads(ended.out)
        assert ended.code == 1
        assert receipt["ok"] is False
        assert [(level["level"], level["ok"]) for level in receipt["levels"]] == [("memory", True), ("redis", False)]
        assert "Redis did not take it" in ended.messages
        assert not one.reads("/a")
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked(here, "/api/infrastructure/cache/purge", {"tags": ["shared"]})
        with refused.value:
            assert refused.value.code == 503
        assert asked(here, "/api/infrastructure/cache/stats")["redis"]["owed"] >= 1
    finally:
        for client in clients:
            client.close()
        here.end()
        there.end()


def test_a_line_of_the_access_log_says_what_the_cache_did(lab: Lab, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    site = Site(tmp_path, "quiet", lab.server.port, {"logs": {"access": str(log)}})
    site.start()
    try:
        place = lab.place("logged")
        place.always = says("Cache-Control: max-age=3600", body=b"page")
        for path in (f"/on/{place.name}", f"/on/{place.name}", f"/{place.name}"):
            with urllib.request.urlopen(f"http://127.0.0.1:{site.port}{path}", timeout=10) as response:
                assert response.read() == b"page"
    finally:
        site.end()
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["route"], line["cache"]) for line in told] == [("on", "miss"), ("on", "hit"), ("all", "")]
