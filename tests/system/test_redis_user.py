"""The user that docs/redis.md gives Redis is enough for everything, and the tests that it names are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisCluster, RedisSentinels, RedisServer
from tests.system.process import HUP, until
from tests.system.test_cache_redis import ask, eventually_hit
from tests.system.test_cache_redis import two as two_balancers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "redis.md").read_text()


def user() -> list[str]:
    """The words of the documented command."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith("ACL SETUSER balancer ")]
    return line.replace(">PASSWORD", ">pw").split()


Made = RedisServer | RedisCluster | RedisSentinels


@pytest.fixture(params=["server", "cluster", "sentinels"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    place = tmp_path / "redis"
    place.mkdir()
    if request.param == "server":
        server = RedisServer(place)
        server.start()
        try:
            server.do(*user())
            yield server
        finally:
            server.kill()
    elif request.param == "cluster":
        with RedisCluster(place) as cluster:
            for node in cluster.nodes:
                node.do(*user())
            yield cluster
    else:
        with RedisSentinels(place) as sentinels:
            for node in sentinels.servers:
                node.do(*user())
            yield sentinels


class As:
    """The same, asked by that user."""

    def __init__(self, made: Made) -> None:
        self.url = made.url.replace("://", "://balancer:pw@")


async def test_the_documented_user_may_do_all_that_is_asked(tmp_path: Path, made: Made) -> None:
    folder = tmp_path / "balancers"
    folder.mkdir()
    async with two_balancers(folder, As(made)) as (_, one, other, session):  # type: ignore[arg-type]  # it has a url
        for method, path in (("PURGE", "/purged"), ("POST", "/posted")):
            assert (await ask(session, one, path))[2] == f"{path} 1"
            await eventually_hit(session, other, path)
            await ask(session, one, path, method)
        for tag in ("all", "none"):
            order = {"tags": [tag], "soft": tag == "all"}
            status, receipt = await one.call("POST", "/api/infrastructure/cache/purge", order)
            assert status == 200, receipt
            assert [level["ok"] for item in receipt["items"] for level in item["levels"]] == [True, True]
        limit = {"rate": "1000/s", "burst": 100, "key": "client", "shared": "exact"}
        routes = {"all": {"pool": "app", "rate_limit": "all"}}
        one.write({**one.settings, "rate_limits": {"all": limit}, "routes": routes})
        one.signal(HUP)

        async def counts_together() -> bool:
            await ask(session, one, "/limited")
            return 'balancer_ratelimit_shared{policy="all"} 1' in (await one.call("GET", "/metrics"))[1]

        await until(counts_together, one)
        for number in range(5):
            assert (await ask(session, one, f"/limited/{number}"))[0] == 200
        _, text = await one.call("GET", "/metrics")
        refused = re.findall(r'balancer_redis_commands_total\{result="(NOPERM|ERR|NOAUTH)"\} (\d+)', text)
        assert refused == []
        _, figures = await one.call("GET", "/api/monitoring/metrics")
        assert figures["databases"]["redis"]["ok"] is True
        assert b"redis_refuses" not in one.output + other.output


def test_every_test_that_the_page_names_is_there() -> None:
    files = (ROOT / "tests").rglob("test_*.py")
    known = {name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    named = re.findall(r"`(?:test_\w+::)?(test_\w+)`", PAGE)
    assert len(named) > 20
    assert [name for name in named if name not in known] == []
