"""The local provider: what the service may ask of it, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from balancer.cdn.errors import Invalid, Unavailable, Unsupported
from balancer.cdn.local.counts import MOST, Counts
from balancer.cdn.local.figures import Front, front_of
from balancer.cdn.local.make import make_local
from balancer.cdn.local.provider import LocalProvider
from balancer.cdn.local.room import Limits
from balancer.cdn.local.store import Store
from balancer.cdn.provider import CdnProvider
from balancer.cdn.types import Capability, ImageOptions, OptimizedImage, PurgeKind, PurgeState, PurgeTarget
from balancer.tally import RouteTally
from config.cdn import Cdn
from tests.cdn.local.samples import picture, request, store_in

AT = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def provider(tmp_path: Path, clock: Clock) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(store_in(tmp_path), Counts(), "https://cdn.example.com/cdn/", now=clock)
    await provider.start()
    yield provider
    await provider.close()


def test_it_is_a_provider(tmp_path: Path) -> None:
    provider: CdnProvider = make_local(Cdn())
    assert provider.name == "local"
    assert Capability.UPLOAD | Capability.LIST | Capability.STATS in provider.capabilities
    assert Capability.PURGE_STATUS not in provider.capabilities
    assert provider.limits() == {}


async def test_a_stored_file_tells_where_clients_find_it(provider: LocalProvider) -> None:
    stored = await provider.upload(request(picture("PNG"), "cat.png", "image", tags=("cats",)))
    assert stored.url == f"https://cdn.example.com/cdn/{stored.path}"
    assert stored.content_type == "image/png"
    assert stored.etag == f'"{(stored.sha256_hex or "")[:32]}"'
    assert (stored.created, stored.tags, stored.provider) == (True, ("cats",), "local")
    assert not (await provider.upload(request(picture("PNG"), "cat.png", "image"))).created


def test_without_a_host_a_url_is_a_path() -> None:
    assert make_local(Cdn()).public_url("image/x.png") == "/cdn/image/x.png"
    assert make_local(Cdn(url="https://c.example")).public_url("x") == "https://c.example/cdn/x"


async def test_pages_go_on_where_the_last_one_ended(provider: LocalProvider) -> None:
    for name in "edcba":
        await provider.upload(request(name.encode(), f"{name}.txt", overwrite=True))
    names, after, turns = [], None, 0
    while turns == 0 or after is not None:
        page = await provider.files("document/", after, 2)
        names += [file.path for file in page.files]
        after, turns = page.next, turns + 1
    assert names == [f"document/{name}.txt" for name in "abcde"]
    assert turns == 3
    assert (await provider.files("image/", None, 10)).files == ()
    for limit in (0, 1001):
        with pytest.raises(Invalid):
            await provider.files("", None, limit)


async def test_every_purge_is_done_as_soon_as_it_is_asked_for(provider: LocalProvider) -> None:
    targets = [
        PurgeTarget(PurgeKind.URL, "/cdn/image/x.png"),
        PurgeTarget(PurgeKind.PATTERN, "/a/*/b"),
        PurgeTarget(PurgeKind.TAG, "cats"),
        PurgeTarget(PurgeKind.ALL, ""),
    ]
    plan = provider.plan_purge(targets, soft=False, widen=False)
    (batch,) = plan.batches
    assert batch.targets == tuple(targets)
    assert batch.items == ("/cdn/image/x.png", "/a/*/b", "tag:cats", "*")
    assert plan.rejected == ()
    assert (await provider.purge(batch, "key")).state is PurgeState.COMPLETED
    assert provider.plan_purge([], soft=False, widen=False).batches == ()


async def test_pictures_are_made_by_who_can(tmp_path: Path) -> None:
    def pictures(source: str, options: ImageOptions) -> OptimizedImage:
        return OptimizedImage(f"/img/x/{source}", options, "local")

    without = LocalProvider(store_in(tmp_path), Counts(), "/cdn/")
    with pytest.raises(Unsupported, match=r"cdn\.images"):
        without.image_url("local/x.png", ImageOptions(width=320))
    other = LocalProvider(store_in(tmp_path), Counts(), "/cdn/", pictures=pictures)
    assert other.image_url("local/x.png", ImageOptions(width=320)).url == "/img/x/local/x.png"


# Status.


async def test_all_is_well(provider: LocalProvider) -> None:
    await provider.upload(request())
    status = await provider.status()
    assert status.ok
    assert status.problems == ()
    assert (status.details["files"], status.details["bytes"]) == (1, 5)
    assert status.checked_at == AT


async def test_what_is_wrong_is_told_and_not_raised(tmp_path: Path) -> None:
    limits = Limits(1000, 10, 1 << 60)
    provider = LocalProvider(Store(tmp_path / "cdn", limits), Counts(), "/cdn/")
    await provider.start()
    (provider.store.folder.files / "full.txt").write_text("x" * 10)
    await provider.close()
    provider = LocalProvider(Store(tmp_path / "cdn", limits), Counts(), "/cdn/")
    await provider.start()
    await provider.store.catalogue.filled()
    provider.store.folder.incoming.rmdir()
    status = await provider.status()
    assert not status.ok
    assert [problem.code for problem in status.problems] == ["directory", "disk", "quota"]
    assert str(tmp_path / "cdn") in status.problems[0].message
    await provider.close()


async def test_a_directory_that_can_not_be_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "cdn").write_text("a file")
    with pytest.raises(Unavailable, match="cdn"):
        await LocalProvider(store_in(tmp_path), Counts(), "/cdn/").start()


# Figures.


async def test_with_nothing_in_front_the_folder_counts_its_own_requests(provider: LocalProvider, clock: Clock) -> None:
    provider.counts.answered(200, 1000, "a")
    provider.counts.answered(404, 0, None)
    clock.now = AT
    stats = await provider.stats(AT - HOUR, AT, 3600)
    assert (stats.requests, stats.bytes_out, stats.bytes_origin, stats.status_4xx) == (2, 1000, 1000, 1)
    assert stats.hits is None
    assert set(stats.missing) == {"hits", "hit_ratio"}
    assert not stats.sampled


async def test_requests_that_the_cache_answered_are_counted_in_front(tmp_path: Path, clock: Clock) -> None:
    provider = LocalProvider(store_in(tmp_path), Counts(), "/cdn/", now=clock)
    front = Front(100, 50, 1, 0, 70_000)  # before this provider was there
    provider.ledger.front = lambda: front
    await provider.start()
    provider.counts.answered(200, 1000, None)
    front = Front(110, 59, 2, 1, 79_000)
    first = await provider.stats(AT - HOUR, AT, 60)
    assert (first.requests, first.hits, first.status_4xx, first.status_5xx) == (10, 9, 1, 1)
    assert first.hit_ratio == 0.9
    assert first.bytes_origin == 1000
    assert first.bytes_out == 9000
    assert first.missing == {}
    assert first.interval_s == 3600
    clock.now = AT + HOUR
    front = Front(4, 1, 0, 0, 400)  # counted from the beginning
    await provider.ledger.write()
    clock.now = AT + 2 * HOUR
    both = await provider.stats(AT, AT + HOUR, 3600)
    assert (both.requests, both.hits, both.bytes_out) == (14, 10, 9400)
    assert both.from_ == datetime(2026, 11, 24, 22, tzinfo=UTC)
    assert both.to == datetime(2026, 11, 25, 0, tzinfo=UTC)
    assert [(point.at.hour, point.requests, point.hits) for point in both.series] == [(22, 10, 9), (23, 4, 1)]
    whole = await provider.stats(AT - 24 * HOUR, AT + 24 * HOUR, 24 * 3600)
    assert sum(point.requests or 0 for point in whole.series) == 14
    await provider.close()


async def test_a_route_that_goes_and_comes_again_is_not_counted_twice(tmp_path: Path, clock: Clock) -> None:
    provider = LocalProvider(store_in(tmp_path), Counts(), "/cdn/", now=clock)
    front: Front | None = Front(0, 0, 0, 0, 0)
    provider.ledger.front = lambda: front
    await provider.start()
    front = Front(10, 5, 0, 0, 10)
    await provider.ledger.write()
    front = None
    provider.counts.answered(200, 1, None)
    await provider.ledger.write()
    front = Front(12, 6, 0, 0, 12)
    stats = await provider.stats(AT - HOUR, AT, 3600)
    assert stats.requests == 10 + 1 + 2
    await provider.close()


async def test_counts_outlive_the_provider_and_are_written_once(tmp_path: Path, clock: Clock) -> None:
    first = LocalProvider(store_in(tmp_path), Counts(), "/cdn/", now=clock)
    await first.start()
    stored = await first.upload(request())
    for _ in range(3):
        first.counts.answered(200, 5, stored.path)
    await first.close()
    second = LocalProvider(store_in(tmp_path), Counts(), "/cdn/", now=clock)
    await second.start()
    assert (await second.stats(AT - HOUR, AT, 3600)).requests == 3
    assert (await second.stats(AT - HOUR, AT, 3600)).requests == 3
    assert [file.hits for file in (await second.files("", None, 10)).files] == [3]
    await second.close()


async def test_counts_are_kept_until_they_can_be_written(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path)
    store.directory.mkdir()
    (store.directory / "index.sqlite3").mkdir()
    provider = LocalProvider(store, Counts(), "/cdn/", now=clock)
    await provider.start()
    provider.counts.answered(200, 7, "a")
    with pytest.raises(Unavailable, match="figures"):
        await provider.stats(AT - HOUR, AT, 3600)
    (store.directory / "index.sqlite3").rmdir()
    assert (await provider.stats(AT - HOUR, AT, 3600)).bytes_out == 7
    await provider.close()


async def test_many_files_are_written_down_before_they_fill_the_memory(provider: LocalProvider) -> None:
    for number in range(MOST):
        provider.counts.answered(200, 1, str(number))
    for _ in range(200):
        if not provider.counts.full.is_set():
            break
        await asyncio.sleep(0.01)
    assert provider.counts.take()[1] == {}


async def test_a_period_has_to_be_one(provider: LocalProvider) -> None:
    with pytest.raises(Invalid):
        await provider.stats(AT, AT - 2 * HOUR, 3600)
    with pytest.raises(Invalid):
        await provider.stats(AT - timedelta(days=10_000), AT, 3600)


def test_what_a_route_counted_is_what_clients_were_answered() -> None:
    tally = RouteTally()
    tally.codes.update({200: 7, 304: 1, 404: 2, 503: 1})
    tally.cache.update({"hit": 5, "stale": 1, "miss": 4, "bypass": 1})
    tally.bytes_out = 99
    assert front_of(tally) == Front(11, 6, 2, 1, 99)
