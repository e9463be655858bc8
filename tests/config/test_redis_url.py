"""What `redis.url` says, and what is said of one that can not be used."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from config.redis_url import BadUrl, RedisPlace, RedisUrl, is_secured

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", RedisUrl("server", (RedisPlace("h", 6379),))),
        ("REDIS://h:1/", RedisUrl("server", (RedisPlace("h", 1),))),
        ("rediss://h:6380/2", RedisUrl("server", (RedisPlace("h", 6380),), tls=True, database=2)),
        ("redis://[::1]:7000/0", RedisUrl("server", (RedisPlace("::1", 7000),))),
        ("unix:///run/redis.sock?db=3", RedisUrl("server", (RedisPlace("/run/redis.sock", 0),), database=3)),
        (
            "redis+sentinel://a,b:26380,[::1]/mymaster/1",
            RedisUrl(
                "sentinel",
                (RedisPlace("a", 26379), RedisPlace("b", 26380), RedisPlace("::1", 26379)),
                database=1,
                master="mymaster",
            ),
        ),
        ("rediss+sentinel://a/m.y-1", RedisUrl("sentinel", (RedisPlace("a", 26379),), tls=True, master="m.y-1")),
        ("redis+cluster://a:7000,b", RedisUrl("cluster", (RedisPlace("a", 7000), RedisPlace("b", 6379)))),
        ("rediss+cluster://a:7000/0", RedisUrl("cluster", (RedisPlace("a", 7000),), tls=True)),
    ],
)
def test_each_form_says_what_it_means(url: str, expected: RedisUrl) -> None:
    assert RedisUrl.of(url) == expected
    assert is_secured(url) == expected.tls


def test_credentials_of_servers_and_of_sentinels_are_told_apart() -> None:
    url = RedisUrl.of("redis+sentinel://me:p%40ss@a/m?sentinel_username=you&sentinel_password=other")
    assert (url.username, url.password) == ("me", "p@ss")
    assert (url.sentinel_username, url.sentinel_password) == ("you", "other")
    assert "p@ss" not in repr(url)
    assert "other" not in repr(url)


@given(
    user=st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8),
    password=st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8),
    host=st.sampled_from(["h", "10.0.0.1", "redis.example.com", "[fd00::1]"]),
    port=st.none() | st.integers(1, 65535),
    database=st.none() | st.integers(0, 99),
    tls=st.booleans(),
)
def test_one_server_is_where_and_who_redis_py_takes_it_for(
    user: str | None, password: str | None, host: str, port: int | None, database: int | None, tls: bool
) -> None:
    who = (quote(user, safe="") if user else "") + (f":{quote(password, safe='')}" if password else "")
    url = f"redis{'s' if tls else ''}://{f'{who}@' if who else ''}{host}"
    url += (f":{port}" if port else "") + (f"/{database}" if database is not None else "")
    found, judge = RedisUrl.of(url), parse_url(url)
    assert found.nodes == (RedisPlace(judge["host"], judge.get("port", 6379)),)
    assert (found.username, found.password) == (judge.get("username"), judge.get("password"))
    assert found.database == judge.get("db", 0)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("h:6379", "must be a URL such as redis://127.0.0.1:6379/0, rediss://"),
        ("http://h", "must be a URL such as"),
        ("redis-sentinel://h/m", "redis+sentinel://host:26379,host:26379/mymaster/0"),
        ("redis://", "must have a host"),
        ("redis://:6379/0", "must have a host"),
        ("redis://h:70000", "a port from 1 to 65535"),
        ("redis://h:0", "a port from 1 to 65535"),
        ("redis://h/zero", "the number of a database"),
        ("redis://a,b", "has several hosts"),
        ("redis+sentinel://a,b", "must name the master"),
        ("redis+sentinel://a,b/0/m", "the number of a database"),
        ("redis+cluster://a/1", "must have no database"),
        ("redis+cluster://" + ",".join(["a"] * 65), "at most 64 hosts"),
        ("unix://run/redis.sock", "an absolute path"),
        ("redis://[::1", "IPv6 address in brackets"),
        ("redis://::1:6379", "must have a host"),
        ("redis://h?socket_timeout=1", "a parameter that is not known here: known are db, username, password"),
        ("redis://h?sentinel_password=x", "a parameter that is not known here"),
        ("rediss://h?ssl_ca_certs=/ca.pem", "can not have ssl_ca_certs: write redis.tls.ca"),
        ("redis://h/0#x", "must have # written as %23"),
        ("redis://h\n/0", "must have # written as %23"),
    ],
)
def test_a_url_that_can_not_be_used_is_told_by_what_is_wrong(url: str, message: str) -> None:
    with pytest.raises(BadUrl) as caught:
        RedisUrl.of(url)
    assert message in str(caught.value)


PIECES = st.sampled_from([SECRET, "redis://", "redis+sentinel://", *"@:/?#[],&=h1"])


@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_no_message_repeats_any_of_the_url(url: str) -> None:
    said = repr(RedisUrl.of(f"redis://:{quote(url, safe='')}{SECRET}@h"))
    try:
        RedisUrl.of(url)
    except BadUrl as error:
        said += str(error)
    assert SECRET not in said
