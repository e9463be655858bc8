from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from time import monotonic

import pytest
from redis.asyncio import Redis as Client

from balancer import second_level, shared_purges
from balancer.cache.entry import Entry, Selecting
from balancer.cache.purges import EVERYTHING, KINDS, Purge, of_group, parse
from balancer.http1.fields import learn
from balancer.http1.head import RequestHead, parse_request
from balancer.redis_gateway import Gateway
from balancer.second_level import Lane, SecondLevel, useful
from balancer.shared_purges import RECENT, Logged, Mark, decoded, encoded
from config.schema import Redis
from tests.fault_proxy import fault_proxy
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]  # a fixture

URL = b"https://example.com/posts/1?page=2"
LANE: Lane = (b"site", b"web", None)
PATIENT = 5.0


def request(*fields: bytes) -> RequestHead:
    return parse_request(b"\r\n".join((b"GET /posts/1?page=2 HTTP/1.1", b"Host: example.com", *fields)), 100, 8192)


def entry(
    body: bytes = b"body",
    *,
    key: bytes = URL,
    lane: Lane = LANE,
    vary: Selecting = (),
    tags: tuple[bytes, ...] = (b"post-1", b"posts"),
    groups: tuple[bytes, ...] = (b"articles",),
    fresh: float = 60.0,
) -> Entry:
    now = monotonic()
    made = Entry(key, lane, vary, 200, b"HTTP/1.1 200 OK\r\n", (learn(b"Content-Type: text/plain"),))
    made.body = body
    made.born = now
    made.fresh_until = now + fresh
    made.revalidate_until = made.fresh_until + 30
    made.error_until = made.fresh_until + 300
    made.tags = tags
    made.groups = groups
    return made


class Level(SecondLevel):
    """One balancer's second level, with what it was told by the others."""

    def __init__(
        self, url: str, deadline: float = PATIENT, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        settings = Redis(url=url, timeout=deadline)
        self.heard: list[Purge] = []
        self.dropped = 0
        super().__init__(Gateway(settings, rng=Random(1)), settings, self.heard.append, self._gap, sleep=sleep)

    def _gap(self) -> None:
        self.dropped += 1

    async def find(self, key: bytes = URL, *fields: bytes, lane: Lane = LANE) -> bytes | None:
        """The body of what is stored."""
        found = await self.get(key, lane, request(*fields))
        return None if found is None else found.body

    async def store(self, *entries: Entry, mark: Mark | None = None) -> None:
        """Put, and wait until it is done."""
        for one in entries:
            self.put(one, mark or self.mark())
        await self.written()

    async def obeyed(self) -> None:
        """Until Redis has done what was sent and is not waited for: it answers in the order that it was asked in."""
        await self.gateway.run("PING")

    async def written(self) -> None:
        async with asyncio.timeout(10):
            while self._queued or self._tasks:  # noqa: ASYNC110  # nothing in the product waits for it
                await asyncio.sleep(0.001)


@asynccontextmanager
async def level(
    url: str, deadline: float = PATIENT, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[Level]:
    """A level that listens and is in step."""
    made = Level(url, deadline, sleep)
    made.start()
    try:
        await until(lambda: made.listener.hears and made.purges.in_step)
        yield made
    finally:
        await made.close()
        await made.gateway.close()


@asynccontextmanager
async def two(server: RedisServer) -> AsyncIterator[tuple[Level, Level]]:
    async with level(server.url) as first, level(server.url) as second:
        yield first, second


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # what is waited for comes from another process
            await asyncio.sleep(0.002)


def client_of(server: RedisServer) -> Client:
    client: Client = Client.from_url(server.url)
    return client


async def is_record(client: Client, key: bytes) -> bool:
    """Whether a stored answer is under this key."""
    return await client.type(key) == b"string" and await client.strlen(key) > second_level.GENERATION * 2


async def record_key(client: Client) -> bytes:
    """The one key that a stored answer is under."""
    (key,) = [key async for key in client.scan_iter() if await is_record(client, key)]
    assert isinstance(key, bytes)
    return key


def purges() -> list[Purge]:
    """One of each kind and form that meets `entry()`."""
    given = [
        ("url", "https://example.com/posts/1?page=2"),
        ("url", "example.com/posts/1?page=2"),
        ("url", "/posts/1?page=2"),
        ("prefix", "https://example.com/posts/"),
        ("prefix", "/posts"),
        ("pattern", "/posts/*"),
        ("pattern", "example.com/*page=?"),
        ("tag", "posts"),
        ("group", "https://example.com articles"),
        ("host", "example.com"),
        ("host", "*.com"),
        ("everything", ""),
    ]
    return [parse(kind, value) for kind, value in given]


def softly(purge: Purge) -> Purge:
    return Purge(purge.kind, purge.value, True)


# Answers.


async def test_what_one_stores_another_finds_as_it_was(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        stored = entry(b"x" * 5000)
        stored.etag = b'W/"a"'
        stored.strict = True
        await one.store(stored)
        found = await other.get(URL, LANE, request())
        assert found is not None
        assert (found.key, found.lane, found.status, found.body) == (URL, LANE, 200, b"x" * 5000)
        assert (found.etag, found.strict, found.tags, found.groups) == (
            b'W/"a"',
            True,
            stored.tags,
            stored.groups,
        )
        assert found.fields == stored.fields
        assert found.fresh_until == pytest.approx(stored.fresh_until, abs=0.5)
        assert found.revalidate_until == pytest.approx(stored.revalidate_until, abs=0.5)


async def test_another_url_and_another_lane_find_nothing(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one:
        await one.store(entry())
        assert await one.find() == b"body"
        assert await one.find(b"http://example.com/posts/1?page=2") is None
        assert await one.find(lane=(b"site", b"web", b"")) is None
        assert await one.find(lane=(b"site", b"web")) is None


async def test_variants_are_told_apart_by_what_vary_names(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        for language in (b"de", b"en"):
            await one.store(entry(language, vary=((b"accept-language", language), (b"x-beta", None))))
        assert await other.find(URL, b"Accept-Language: de") == b"de"
        assert await other.find(URL, b"Accept-Language: EN") == b"en"
        assert await other.find(URL, b"Accept-Language: fr") is None
        assert await other.find(URL, b"Accept-Language: de", b"X-Beta: 1") is None
        await one.purge(parse("tag", "posts"))
        assert await other.find(URL, b"Accept-Language: de") is None


async def test_the_last_vary_counts(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one:
        await one.store(entry(b"old", vary=((b"accept-language", b"de"),)))
        await one.store(entry(b"plain"))
        assert await one.find(URL, b"Accept-Language: de") == b"plain"
        await one.store(entry(b"new", vary=((b"x-beta", None),)))
        assert await one.find() == b"new"


async def test_keys_begin_with_the_prefix_end_by_themselves_and_share_a_slot(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one, client_of(redis_server) as client:
        await one.store(entry(vary=((b"accept-language", b"de"),)))
        await one.lease(URL, LANE)
        keys = [key.decode() async for key in client.scan_iter()]
        assert all(key.startswith("balancer:") for key in keys)
        logs = {"balancer:{purges}recent", "balancer:{purges}wide"}
        assert logs <= set(keys)
        rest = [key for key in keys if key not in logs]
        for key in rest:
            assert 0 < await client.pttl(key) <= (60 + 300 + second_level.GRACE + second_level.SELECTOR + 1) * 1000
        of_url = [key for key in rest if "{tag-" not in key]
        assert len(of_url) == 4, "generation, selector, variant and lease"
        assert len({key[key.index("{") : key.index("}")] for key in of_url}) == 1


def test_an_answer_is_of_use_as_long_as_any_of_its_windows_and_some_time_to_be_revalidated() -> None:
    now = monotonic()
    made = entry(fresh=60)
    assert useful(made, now) == pytest.approx(360 + second_level.GRACE, abs=1)
    made.strict = True
    assert useful(made, now) == pytest.approx(360, abs=1), "there is nothing to revalidate it by"
    made.etag = b'"a"'
    made.error_until = made.revalidate_until = made.fresh_until = now
    assert useful(made, now) == pytest.approx(second_level.GRACE)
    made.etag = None
    assert useful(made, now) == 0
    made.fresh_until = now + 1e9
    assert useful(made, now) == second_level.LONGEST


async def test_what_is_of_no_use_or_too_large_is_not_stored(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one:
        useless = entry(fresh=-1000)
        useless.strict = True
        await one.store(useless)
        one.largest = 100
        await one.store(entry(b"x" * 101))
        assert await one.find() is None
        await one.store(entry(b"x" * 100))
        assert await one.find() == b"x" * 100
        assert one.counts["too-large"] == 1


async def test_what_waits_to_be_written_is_bounded_and_the_newest_is_left_out(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one:
        size = 1024 * 1024 - 1024
        fit = second_level.QUEUED // (1024 * 1024)
        await one.store(*(entry(Random(n).randbytes(size), key=b"https://h/%d" % n) for n in range(fit + 3)))
        assert one.counts["queue-full"] == 3
        assert one.counts["stored"] == fit
        assert await one.find(b"https://h/0") is not None
        assert await one.find(b"https://h/%d" % fit) is None


@pytest.mark.parametrize("data", [b"", b"V", b"V,,", b"nonsense", b"\x01" * 200, b"V" + b"a," * 5000])
async def test_a_record_that_does_not_parse_is_a_miss_and_is_deleted(redis_server: RedisServer, data: bytes) -> None:
    async with level(redis_server.url) as one, client_of(redis_server) as client:
        await one.store(entry())
        key = await record_key(client)
        await client.set(key, data)
        assert await one.find() is None
        await one.gateway.run("PING")
        assert data[:1] == b"V" or not await client.exists(key)
        await one.store(entry(b"new"))
        assert await one.find() == b"new"


async def test_a_record_cut_anywhere_is_a_miss(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one, client_of(redis_server) as client:
        await one.store(entry())
        key = await record_key(client)
        whole = await client.get(key)
        for length in range(0, len(whole) - len(b"body") + 1, 7):
            await client.set(key, whole[:length])
            assert await one.find() is None


async def test_keys_of_another_type_are_misses(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one, client_of(redis_server) as client:
        await one.store(entry())
        for key in [key async for key in client.scan_iter() if b"purges" not in key]:
            await client.delete(key)
            await client.rpush(key, "a")
        assert await one.find() is None
        await one.store(entry(b"new"))
        assert await one.find() is None
        assert one.up


# Purges.


@pytest.mark.parametrize("purge", purges(), ids=lambda purge: f"{purge.kind} {purge.value.decode()}")
async def test_what_one_purges_is_gone_for_all_and_what_is_stored_later_is_not(
    redis_server: RedisServer, purge: Purge
) -> None:
    async with two(redis_server) as (one, other):
        await one.store(entry())
        spared = entry(b"spared", key=b"https://spared.org/", tags=(b"else",), groups=())
        await one.store(spared)
        assert await other.find() == b"body"
        receipt = await one.purge(purge)
        assert receipt.ok
        assert receipt.level == "redis"
        assert await one.find() is None
        assert await other.find() is None
        assert await other.find(spared.key) == (None if purge == EVERYTHING else b"spared")
        await until(lambda: other.heard == [purge])
        assert one.heard == [], "its own purges are no news"
        await other.store(entry(b"new"))
        assert await one.find() == b"new"


@pytest.mark.parametrize("purge", purges(), ids=lambda purge: f"{purge.kind} {purge.value.decode()}")
async def test_what_one_purges_softly_is_stale_for_all_since_then(redis_server: RedisServer, purge: Purge) -> None:
    async with two(redis_server) as (one, other):
        await one.store(entry())
        at = monotonic()
        assert (await one.purge(softly(purge))).ok
        for side in (one, other, one):
            found = await side.get(URL, LANE, request())
            assert found is not None
            assert at - 1.5 < found.fresh_until <= monotonic(), "whole seconds"
            assert found.revalidate_until == pytest.approx(found.fresh_until + 30, abs=0.1)
        await until(lambda: other.heard == [softly(purge)])
        await other.store(entry(b"new"))
        found = await one.get(URL, LANE, request())
        assert found is not None
        assert found.fresh_until > monotonic()
        await one.store(entry())
        await one.purge(softly(purge))
        await one.purge(purge)
        assert await other.find() is None, "a hard one after a soft one is a hard one"


async def test_a_purge_that_met_nothing_says_so_where_it_can_know(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one:
        assert (await one.purge(parse("tag", "nothing"))).entries == 0
        assert (await one.purge(parse("url", "https://example.com/nothing"))).entries == 0
        unknown = await one.purge(parse("prefix", "/nothing"))
        assert unknown.entries is None
        assert unknown.reason is not None


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("purge", purges(), ids=lambda purge: f"{purge.kind} {purge.value.decode()}")
async def test_what_was_asked_for_before_a_purge_is_not_stored_after_it(
    redis_server: RedisServer, purge: Purge, soft: bool
) -> None:
    async with two(redis_server) as (one, other):
        for purging in (one, other):
            mark = one.mark()
            await purging.purge(softly(purge) if soft else purge)
            await one.store(entry(b"old"), mark=mark)
            assert await other.find() is None
        assert one.counts["overtaken"] == 2


async def test_what_was_asked_for_before_a_reload_is_not_stored_after_it(redis_server: RedisServer) -> None:
    """The one that is there then has not heard what came before it, and counts anew."""
    async with level(redis_server.url) as before:
        for number in range(3):
            await before.purge(Purge("tag", b"%d" % number))
        mark = before.mark()
    async with client_of(redis_server) as client:
        await client.flushall()  # as good as another server
    async with level(redis_server.url) as after:
        await after.purge(Purge("url", URL))
        await after.store(entry(b"old"), mark=mark)
        assert await after.find() is None
        assert after.counts["overtaken"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "purge", [purges()[i] for i in (0, 2, 5, 7, 8)], ids=lambda purge: f"{purge.kind} {purge.value!r}"
)
async def test_a_purge_at_any_moment_of_storing_is_in_force_after_it(redis_server: RedisServer, purge: Purge) -> None:
    async with fault_proxy(redis_server.port) as proxy, level(proxy.url) as slow, level(redis_server.url) as quick:
        for step in range(9):
            proxy.delay = 0.0
            await slow.purge(parse("everything"))
            mark = slow.mark()
            proxy.delay = 0.02
            slow.put(entry(b"old"), mark)
            await asyncio.sleep(0.01 * step)
            await quick.purge(purge)
            await slow.written()
            assert await quick.find() is None
            assert await slow.find() is None


async def test_what_is_under_way_is_not_taken_from_redis(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, level(proxy.url) as one:
        await one.store(entry())
        proxy.delay = 0.05
        purging = asyncio.create_task(one.purge(parse("tag", "posts")))
        await asyncio.sleep(0)
        assert await one.find() is None
        assert (await purging).ok


async def test_a_purge_goes_on_without_the_one_who_ordered_it(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        await one.store(entry())
        ordering = asyncio.create_task(one.purge(parse("tag", "posts")))
        await asyncio.sleep(0)
        ordering.cancel()
        await until(lambda: other.heard == [parse("tag", "posts")])
        assert await other.find() is None


async def test_two_that_purge_at_once_hear_all_and_see_no_gap(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        before = one.dropped, other.dropped
        ordered = {
            side: [Purge(kind, b"%b/%d" % (name, n)) for n in range(60) for kind in ("tag", "prefix")]
            for side, name in ((one, b"/one"), (other, b"/other"))
        }
        receipts = await asyncio.gather(*(side.purge(purge) for side in ordered for purge in ordered[side]))
        assert all(receipt.ok for receipt in receipts)
        await until(lambda: set(one.heard) == set(ordered[other]) and set(other.heard) == set(ordered[one]))
        await until(lambda: one.purges._looking is None and other.purges._looking is None)
        assert (one.dropped, other.dropped) == before
        assert one.purges.newest() == other.purges.newest()
        assert not one.purges.owed


async def test_a_purge_while_the_connections_are_away_is_heard_of_after(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, level(proxy.url) as one, level(redis_server.url) as other:
        await other.store(entry())
        dropped = one.dropped
        proxy.refuse = True
        proxy.cut()
        await until(lambda: not one.listener.hears)
        missed = [parse("tag", "posts"), parse("pattern", "/a/*", True)]
        for purge in missed:
            await other.purge(purge)
        assert one.heard == []
        proxy.refuse = False
        await until(lambda: one.heard == missed)
        assert one.dropped == dropped, "the log had it all"
        assert await one.find() is None


async def test_what_was_missed_is_known_by_the_time_redis_is_used_again(redis_server: RedisServer) -> None:
    """Also where the one connection is back before the other may be used: neither can look for it alone."""

    async def sleep(seconds: float) -> None:
        """The looks now and then do not come."""
        await (asyncio.Event().wait() if seconds == second_level.EVERY else asyncio.sleep(seconds))

    async with (
        fault_proxy(redis_server.port) as proxy,
        level(proxy.url, sleep=sleep) as one,
        level(redis_server.url) as other,
    ):
        await until(lambda: one.in_step)
        proxy.refuse = True
        proxy.cut()
        while one.up:
            await one.find()
        assert not one.in_step
        purge = parse("tag", "posts")
        await other.purge(purge)
        proxy.refuse = False
        await until(lambda: one.listener.hears)
        assert not one.up
        assert not one.in_step
        await until(lambda: one.in_step)
        assert one.heard == [purge]


async def test_a_message_that_was_lost_is_noticed_at_the_next_look(redis_server: RedisServer) -> None:
    woken = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        if seconds == second_level.EVERY:
            await woken.acquire()
        else:
            await asyncio.sleep(seconds)

    async with level(redis_server.url, sleep=sleep) as one, level(redis_server.url) as other:
        one.purges.heard = lambda message: None  # type: ignore[method-assign]
        one.listener._message = lambda message: None
        await other.purge(parse("tag", "posts"))
        await asyncio.sleep(0.02)
        assert one.heard == []
        woken.release()
        await until(lambda: one.heard == [parse("tag", "posts")])


async def test_a_message_that_was_lost_is_noticed_by_the_next_one(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        hear = one.listener._message
        one.listener._message = lambda message: None
        await other.purge(parse("tag", "a"))
        await until(lambda: other.purges._looking is None)
        await asyncio.sleep(0.02)
        one.listener._message = hear
        await other.purge(parse("tag", "b"))
        await until(lambda: len(one.heard) >= 2)
        assert set(one.heard) == {parse("tag", "a"), parse("tag", "b")}


@pytest.mark.slow
async def test_who_has_missed_more_than_the_log_holds_drops_everything(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, level(proxy.url) as one, level(redis_server.url) as other:
        dropped, mark = one.dropped, one.mark()
        proxy.refuse = True
        proxy.cut()
        await until(lambda: not one.listener.hears)
        for _ in range(12):
            await asyncio.gather(*(other.purge(Purge("tag", b"t%d" % n)) for n in range(100)))
        proxy.refuse = False
        await until(lambda: one.dropped == dropped + 1)
        assert one.purges.gaps == 1
        await one.store(entry(), mark=mark)
        assert await other.find() is None, "whether it was purged is not known any more"
        await one.store(entry(b"new"))
        assert await other.find() == b"new"


@pytest.mark.slow
async def test_many_purges_of_tags_do_not_cost_what_they_do_not_meet(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        await one.store(entry())
        for _ in range(12):
            await asyncio.gather(*(one.purge(Purge("tag", b"t%d" % n)) for n in range(100)))
        assert await other.find() == b"body"
        for n in range(shared_purges.WIDE):
            await one.purge(Purge("prefix", b"/other/%d" % n))
        assert await other.find() is None, "of what the log of wide ones has forgotten nobody knows what it met"


# What Redis loses.


@pytest.mark.parametrize("lost", ["tag-", "generation", "recent", "wide"])
async def test_what_was_evicted_never_revives_what_was_purged(redis_server: RedisServer, lost: str) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        await one.store(entry())
        key = await record_key(client)
        record = await client.get(key)
        for purge in (parse("tag", "posts"), parse("url", URL.decode()), parse("prefix", "/posts")):
            await one.purge(purge)
        for name in [name async for name in client.scan_iter() if lost.encode() in name]:
            await client.delete(name)
        await client.set(key, record)
        for side in (one, other):
            assert await side.find() is None
        async with level(redis_server.url) as newcomer:
            await client.set(key, record)
            assert await newcomer.find() is None
        await one.store(entry(b"new", tags=(b"posts", b"post-2")))
        await client.set(key, record)
        assert await other.find() is None


@pytest.mark.slow
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("purge", [parse("tag", "posts"), parse("url", URL.decode())], ids=["tag", "url"])
async def test_a_record_that_comes_back_long_after_its_purge_is_judged_by_its_generations(
    redis_server: RedisServer, purge: Purge, soft: bool
) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        await one.store(entry())
        key = await record_key(client)
        record = await client.get(key)
        await one.purge(softly(purge) if soft else purge)
        await one.store(entry(b"new"))  # there are generations again
        for _ in range(12):  # the log has forgotten it
            await asyncio.gather(*(one.purge(Purge("tag", b"t%d" % n)) for n in range(100)))
        await client.set(key, record)
        found = await other.get(URL, LANE, request())
        if soft:
            assert found is not None
            assert found.fresh_until <= monotonic()
        else:
            assert found is None


async def test_an_evicted_generation_is_a_miss(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one, client_of(redis_server) as client:
        for lost in (b"{tag-", b"generation"):
            await one.store(entry())
            assert await one.find() == b"body"
            await client.delete(*[key async for key in client.scan_iter() if lost in key])
            assert await one.find() is None


async def test_a_purge_that_a_failover_has_lost_is_told_again(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        await one.purge(Purge("tag", b"before"))
        await one.store(entry())
        replica = {key: await client.dump(key) for key in await client.keys()}
        assert (await one.purge(Purge("tag", b"posts"))).ok
        await until(lambda: other.purges.newest() == one.purges.newest())
        for key, had in replica.items():  # what one that had not got the purge makes of it as a master
            await client.restore(key, 0, had, replace=True)
        async with level(redis_server.url) as third:
            assert await third.find() == b"body", "else this shows nothing"
        one._step_soon()
        await one.written()
        assert one.dropped == 2, "the first time was its beginning"
        assert one.purges.owed == {}
        async with level(redis_server.url) as third:
            assert await third.find() is None


async def test_a_log_that_has_gone_far_ahead_is_no_reason_to_tell_all_again(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        await one.purge(Purge("tag", b"old"))
        await until(lambda: other.purges.newest() == one.purges.newest())
        await one.listener.close()
        for number in range(RECENT + 1):
            await other.purge(Purge("tag", b"%d" % number))
        assert await client.llen("balancer:{purges}recent") == RECENT
        one._step_soon()
        await one.written()
        assert one.purges.gaps == 1
        assert one.purges.owed == {}


async def test_an_evicted_log_is_a_gap_for_all_and_then_begun_anew(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        dropped = one.dropped, other.dropped
        await one.store(entry())
        await client.delete(one.purges.head)
        assert await one.find() is None
        await until(lambda: one.dropped == dropped[0] + 1)
        assert await other.find() is None or other.dropped == dropped[1] + 1
        await until(lambda: other.dropped == dropped[1] + 1)
        await one.store(entry(b"new"))
        assert await other.find() == b"new"
        await other.purge(parse("tag", "posts"))
        assert await one.find() is None
        assert (one.dropped, other.dropped) == (dropped[0] + 1, dropped[1] + 1)


async def test_a_log_of_which_a_part_was_evicted_is_begun_anew_for_all(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        dropped = one.dropped, other.dropped
        await client.delete("balancer:{purges}wide")
        async with level(redis_server.url) as newcomer:
            assert await one.find() is None
            await until(lambda: one.dropped == dropped[0] + 1)
            await one.store(entry(b"old"))
            assert await newcomer.find() == b"old", "they do not agree on where the log begins"
            await newcomer.store(entry(b"new"))
            assert await one.find() == b"new"


async def test_a_part_of_the_log_that_was_evicted_is_missed_at_the_next_look(redis_server: RedisServer) -> None:
    async with level(redis_server.url) as one, client_of(redis_server) as client:
        dropped = one.dropped
        await client.delete("balancer:{purges}wide")
        await one.purges.check()
        assert one.dropped == dropped + 1
        await one.purges.check()
        assert one.dropped == dropped + 1


async def test_a_purge_into_an_evicted_log_is_a_gap_for_those_who_hear_of_it(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        dropped = other.dropped
        await client.delete(one.purges.head)
        assert (await one.purge(parse("tag", "posts"))).ok
        await until(lambda: other.dropped == dropped + 1)
        assert other.heard == [parse("tag", "posts")]


async def test_a_flushed_redis_is_a_gap_and_serves_again(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        dropped = other.dropped
        await one.store(entry())
        mark = one.mark()
        await client.flushall()
        assert await other.find() is None
        await until(lambda: other.dropped == dropped + 1)
        await one.store(entry(b"old"), mark=mark)
        assert await other.find() is None, "what was purged since the mark was flushed with the rest"
        await one.store(entry(b"new"))
        assert await other.find() == b"new"


@pytest.mark.slow
async def test_a_redis_restarted_empty_is_a_gap_and_serves_again(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        await one.store(entry())
        dropped = one.dropped, other.dropped
        redis_server.kill()
        await until(lambda: not one.listener.hears and not other.listener.hears)
        assert await one.find() is None
        one.put(entry(), one.mark())
        redis_server.start()
        await until(lambda: one.listener.hears and other.listener.hears and one.up and other.up)
        await until(lambda: one.dropped == dropped[0] + 1 and other.dropped == dropped[1] + 1)
        await one.store(entry(b"new"))
        assert await other.find() == b"new"


@pytest.mark.slow
async def test_a_purge_while_redis_is_away_is_told_when_it_is_back(redis_server: RedisServer) -> None:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))

    async with fault_proxy(redis_server.port) as proxy:
        async with level(proxy.url, 0.2, sleep) as one, level(redis_server.url) as other:
            await other.store(entry())
            assert await one.find() == b"body"
            proxy.refuse = True
            proxy.cut()
            await until(lambda: not one.listener.hears)
            receipt = await one.purge(parse("tag", "posts"))
            assert not receipt.ok
            assert receipt.reason is not None
            assert "told again" in receipt.reason
            assert await other.find() == b"body", "it can not know yet"
            proxy.refuse = False
            await until(lambda: one.up)
            assert await one.find() is None, "whether Redis knows it by now or not"
            await until(lambda: other.heard == [parse("tag", "posts")])
            assert await other.find() is None
            await until(lambda: not one.purges.owed)


async def test_purges_that_can_not_be_told_are_bounded(redis_server: RedisServer) -> None:
    redis_server.kill()
    one = Level(redis_server.url, 0.2)
    for n in range(shared_purges.OWED + 5):
        one.purges.owe(Purge("url", b"https://h/%d" % n), 0.0)
    assert len(one.purges.owed) <= shared_purges.OWED
    assert EVERYTHING in one.purges.owed
    await one.close()
    await one.gateway.close()


# A Redis that is full or slow.


async def test_a_full_redis_stores_nothing_serves_what_it_has_and_takes_purges(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        await one.store(entry())
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", 1)
        await one.store(entry(b"new"))
        assert await other.find() == b"body"
        assert one.gateway.state.results["OOM"] >= 1
        written = one.gateway.state.results["OOM"]
        await one.store(entry(b"newer"))
        assert one.gateway.state.results["OOM"] == written, "it is left alone for a while"
        for purge in (parse("tag", "nothing", True), parse("tag", "posts"), parse("prefix", "/x")):
            assert (await one.purge(purge)).ok
        assert await other.find() is None
        lease = await one.lease(URL, LANE)
        assert lease is not None, "everybody goes alone"


@pytest.mark.slow
async def test_a_redis_that_evicts_serves_right_answers_or_none(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory-policy", "allkeys-lru")
        await client.config_set("maxmemory", used + 2 * 1024 * 1024)
        rng = Random(3)
        bodies = {b"https://h/%d" % n: rng.randbytes(20_000) for n in range(300)}
        for key, body in bodies.items():
            await one.store(entry(body, key=key, tags=(), groups=()))  # an evicted tag would take all others with it
        found = {key: await other.find(key) for key in bodies}
        assert all(body in (None, bodies[key]) for key, body in found.items())
        assert (await client.info("stats"))["evicted_keys"] > 0
        await client.config_set("maxmemory", 0)
        await one.purges.check()
        await one.store(entry(b"new"))
        assert await other.find() == b"new"


async def test_a_frozen_redis_is_a_miss_within_the_deadline(redis_server: RedisServer) -> None:
    async with level(redis_server.url, 0.1) as one:
        await one.store(entry())
        redis_server.pause()
        began = monotonic()
        assert await one.find() is None
        assert await one.lease(URL, LANE) is not None
        assert await one.await_other(URL, LANE, request()) is None
        assert monotonic() - began < 2.0
        redis_server.resume()


async def test_who_has_waited_for_one_deadline_waits_for_no_other(redis_server: RedisServer) -> None:
    async with level(redis_server.url, 0.2) as one:
        redis_server.pause()
        assert await one.find() is None
        asked = sum(one.gateway.state.results.values()) + one.gateway.waiting
        lease = await one.lease(URL, LANE)
        assert lease is not None
        assert not lease  # nobody has granted it
        assert sum(one.gateway.state.results.values()) + one.gateway.waiting == asked
        redis_server.resume()
    async with level(redis_server.url, 0.2) as one:
        await one.find()
        granted = await one.lease(URL, LANE)
        assert granted


async def test_a_redis_paused_for_writing_still_serves(redis_server: RedisServer) -> None:
    async with level(redis_server.url, 0.2) as one, client_of(redis_server) as client:
        await one.store(entry())
        await client.execute_command("CLIENT", "PAUSE", "400", "WRITE")
        assert await one.find() == b"body"
        one.put(entry(b"new"), one.mark())
        await one.written()
        assert one.counts["unavailable"] >= 1


async def test_garbage_in_the_place_of_answers_is_a_miss(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, level(proxy.url, 0.3) as one:
        await one.store(entry())
        for garbage in (b":1\r\n:2\r\n", b"*2\r\n*0\r\n:1\r\n$-1\r\n", b"+OK\r\n+OK\r\n", b"*2\r\n:1\r\n:2\r\n:3\r\n"):
            proxy.garble = garbage
            assert await one.find() is None
            await one.store(entry(b"new"))
            await one.lease(URL, LANE)
            proxy.garble = None
            await asyncio.sleep(0.02)


# Invalidation.


async def test_what_is_invalidated_is_gone_for_all_and_others_hear_of_it_if_there_was_anything(
    redis_server: RedisServer,
) -> None:
    async with two(redis_server) as (one, other):
        await one.store(entry())
        other.invalidate(b"https://example.com/form")
        other.invalidate(URL)
        await other.written()
        assert await one.find() is None
        await until(lambda: one.heard == [Purge("url", URL)])


# Leases.


async def test_one_fetches_and_the_other_waits_for_what_it_stores(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        lease = await one.lease(URL, LANE)
        assert lease is not None
        assert await other.lease(URL, LANE) is None
        assert await other.lease(URL, (b"another", b"lane", None)) is not None
        waiting = asyncio.create_task(other.await_other(URL, LANE, request()))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        one.put(entry(), one.mark())
        one.release(lease)
        found = await waiting
        assert found is not None
        assert found.body == b"body"
        await one.written()
        assert await other.lease(URL, LANE) is not None


@pytest.mark.slow
async def test_a_lease_ends_only_after_what_was_put_is_there(redis_server: RedisServer) -> None:
    async with fault_proxy(redis_server.port) as proxy, level(proxy.url) as slow, level(redis_server.url) as other:
        lease = await slow.lease(URL, LANE)
        proxy.delay = 0.05
        slow.put(entry(), slow.mark())
        slow.release(lease)
        found = await other.await_other(URL, LANE, request())
        assert found is not None, "it was told that there was nothing to wait for"


async def test_who_waits_goes_alone_as_soon_as_nothing_will_come(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        lease = await one.lease(URL, LANE)
        waiting = asyncio.create_task(other.await_other(URL, LANE, request()))
        await asyncio.sleep(0.03)
        one.release(lease)
        began = monotonic()
        assert await waiting is None
        assert monotonic() - began < second_level.PATIENCE / 2


async def test_patience_ends(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other):
        await one.lease(URL, LANE)
        began = monotonic()
        assert await other.await_other(URL, LANE, request(), 0.1) is None
        assert monotonic() - began < 1.0
        assert other.counts["patience"] == 1


async def test_a_lease_of_one_that_has_died_ends_by_itself(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        lease = await one.lease(URL, LANE)
        assert lease is not None
        assert 0 < await client.pttl(lease.key) <= second_level.LEASE * 1000
        await client.pexpire(lease.key, 1)
        await asyncio.sleep(0.01)
        next_one = await other.lease(URL, LANE)
        assert next_one is not None
        one.release(lease)
        await one.obeyed()
        assert await client.exists(lease.key), "it is another's by now"
        other.release(next_one)
        await other.obeyed()
        assert not await client.exists(lease.key)


async def test_with_redis_away_everybody_has_the_right_to_fetch(redis_server: RedisServer) -> None:
    redis_server.kill()
    one = Level(redis_server.url, 0.2)
    lease = await one.lease(URL, LANE)
    assert lease is not None
    one.release(lease)
    assert await one.await_other(URL, LANE, request()) is None
    await one.close()
    await one.gateway.close()


# The log.


@pytest.mark.parametrize("kind", KINDS)
def test_a_purge_reads_as_it_was_written(kind: str) -> None:
    for value in (b"", b"a b  c", b"https://h/\xff x", b" "):
        for soft in (False, True):
            logged = Logged(b"12345678", Purge(kind, value, soft), 1234.0)  # type: ignore[arg-type]
            assert decoded(encoded(logged)) == logged


def test_where_a_log_begins_is_no_purge() -> None:
    assert decoded(encoded(Logged(b"12345678", None, 0.0))) == Logged(b"12345678", None, 0.0)


@pytest.mark.parametrize(
    "item", [b"12345678", b"12345678x", b"12345678hmoon 1 a", b"12345678htag x a", b"12345678stag"]
)
def test_a_purge_that_can_not_be_read_stands_for_everything(item: bytes) -> None:
    assert decoded(item) == Logged(b"12345678", EVERYTHING, 0.0)


async def test_nonsense_on_the_channel_changes_nothing_but_a_look(redis_server: RedisServer) -> None:
    async with two(redis_server) as (one, other), client_of(redis_server) as client:
        dropped = one.dropped
        await client.publish(one.purges.channel.decode(), b"hello")
        await client.publish(one.purges.channel.decode(), b"")
        await other.purge(parse("tag", "posts"))
        await until(lambda: one.heard == [parse("tag", "posts")])
        assert one.dropped == dropped


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_nothing_is_served_that_was_purged_after_it_was_asked_for(
    redis_server: RedisServer, seed: int
) -> None:
    rng = Random(seed)
    keys = [b"https://example.com/posts/%d" % n for n in range(4)]
    tags = [b"a", b"b", b"c"]
    latest: dict[bytes, int] = {}  # by body: when it was asked for
    purged: list[tuple[int, Purge]] = []
    made: dict[bytes, Entry] = {}
    served = 0
    async with two(redis_server) as levels, client_of(redis_server) as client:
        records: dict[bytes, bytes] = {}
        for moment in range(300):
            side = rng.choice(levels)
            does = rng.random()
            if does < 0.35:
                key = rng.choice(keys)
                body = b"%d" % moment
                chosen = tuple(rng.sample(tags, rng.randrange(3)))
                made[body] = entry(body, key=key, tags=chosen, groups=rng.choice([(), (b"g",)]))
                latest[body] = moment
                mark = side.mark()
                if rng.random() < 0.3:
                    purge = _purge(rng, keys, tags)
                    await rng.choice(levels).purge(purge)
                    purged.append((moment + 1, purge))
                await side.store(made[body], mark=mark)
            elif does < 0.5:
                purge = _purge(rng, keys, tags)
                await side.purge(purge)
                purged.append((moment, purge))
            elif does < 0.58:
                names = [name async for name in client.scan_iter()]
                if names:
                    await client.delete(*rng.sample(names, min(len(names), 2)))
            elif does < 0.6:
                await client.flushall()
            elif does < 0.68:  # a replica that was promoted has forgotten that a record was deleted
                for name in [name async for name in client.scan_iter()]:
                    if await is_record(client, name):
                        records[name] = await client.get(name)
                for name, record in records.items():
                    await client.set(name, record)
            else:
                found = await side.get(rng.choice(keys), LANE, request())
                if found is not None:
                    served += 1
                    asked = latest[found.body]
                    for when, purge in purged:
                        if when > asked and purge.meets(made[found.body]):
                            assert purge.soft
                            assert found.fresh_until <= monotonic() or when < asked, (purge, moment)
    assert served >= 5, "it has hardly tried"


def _purge(rng: Random, keys: list[bytes], tags: list[bytes]) -> Purge:
    key = rng.choice(keys)
    soft = rng.random() < 0.3
    chosen = [
        Purge("url", key, soft),
        Purge("url", key.partition(b"://")[2], soft),
        Purge("tag", rng.choice(tags), soft),
        Purge("prefix", b"/posts/%d" % rng.randrange(4), soft),
        Purge("pattern", b"/posts/%d*" % rng.randrange(4), soft),
        of_group(key, b"g", soft),
        Purge("everything", b"", soft),
    ]
    return rng.choices(chosen, [3, 3, 6, 2, 2, 2, 1])[0]
