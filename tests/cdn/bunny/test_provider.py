"""Bunny over real sockets, against a stand-in that counts, refuses, and breaks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from balancer.cdn.bunny.provider import Bunny
from balancer.cdn.bunny.storage import MOST_FOLDERS
from balancer.cdn.errors import (
    AuthError,
    CdnError,
    ConfigError,
    Invalid,
    NotFound,
    ProtocolError,
    RateLimited,
    TooLarge,
    Unavailable,
    Unsupported,
)
from balancer.cdn.registry import make_provider
from balancer.cdn.spool import Source
from balancer.cdn.throttle import AWAY
from balancer.cdn.types import Capability, ImageOptions, PurgeKind, PurgeState, PurgeTarget, UploadRequest
from config.cdn import Cdn
from tests.cdn.fakes.bunny import HOST, KEY, PASSWORD, PULL_ZONE, ZONE, FakeBunny, Fault, running
from tests.cdn.golden import same_as
from tests.cdn.slow import Slow

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
OWN = {"pull_zone_id": PULL_ZONE, "storage_zone": ZONE, "storage_password": PASSWORD}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def settings(base: str, folder: Path, own: dict[str, Any] | None = None, **more: Any) -> Cdn:
    return Cdn.model_validate(
        {
            "provider": "bunny",
            "url": f"https://{HOST}",
            "api_key": KEY,
            "bunny": OWN if own is None else own,
            "local": {"directory": str(folder)},
            "endpoints": {"api": base, "storage": f"{base}/storage"},
            "timeout": 5,
            **more,
        }
    )


@asynccontextmanager
async def bunny(
    fake: FakeBunny,
    folder: Path,
    own: dict[str, Any] | None = None,
    clock: Callable[[], float] = monotonic,
    **more: Any,
) -> AsyncIterator[Bunny]:
    async with running(fake) as server:
        provider = Bunny(settings(f"http://127.0.0.1:{server.port}", folder, own, **more), clock, today=lambda: NOW)
        await provider.start()
        try:
            yield provider
        finally:
            await provider.close()


def target(kind: PurgeKind, value: str = "") -> PurgeTarget:
    return PurgeTarget(kind, value)


async def purge(provider: Bunny, *targets: PurgeTarget) -> None:
    for batch in provider.plan_purge(targets, soft=False, widen=False).batches:
        assert (await provider.purge(batch, "key")).state is PurgeState.SUBMITTED


# Purges.


async def test_each_kind_of_purge_removes_what_it_means_and_leaves_the_rest(tmp_path: Path) -> None:
    kept = {
        "https://other.b-cdn.net/a.png": "",
        f"https://{HOST}/b/": "~home~",
        f"https://{HOST}/b/c": "~news~homepage~",
    }
    gone = {f"https://{HOST}/a.png": "", f"https://{HOST}/a.png?v=1": ""}
    fake = FakeBunny(cached=kept | gone)
    async with bunny(fake, tmp_path) as provider:
        await purge(provider, target(PurgeKind.URL, "/a.png"))
        assert fake.cached == kept
        await purge(provider, target(PurgeKind.URL, "/b/"))
        assert f"https://{HOST}/b/c" in fake.cached
        fake.cached = dict(kept)
        await purge(provider, target(PurgeKind.TAG, "home"))
        assert f"https://{HOST}/b/" not in fake.cached
        assert f"https://{HOST}/b/c" in fake.cached
        await purge(provider, target(PurgeKind.PREFIX, "/b/"))
        assert set(fake.cached) == {"https://other.b-cdn.net/a.png"}
        await purge(provider, target(PurgeKind.ALL))
        assert fake.cached == {}


async def test_the_limits_that_are_told_are_those_that_bunny_holds(tmp_path: Path) -> None:
    clock = Clock()
    fake = FakeBunny(clock=clock)
    async with bunny(fake, tmp_path) as provider:
        limits = provider.limits()
        for kind, value, limit in ((PurgeKind.TAG, "a", "prefix"), (PurgeKind.URL, "/a", "exact")):
            batch = provider.plan_purge([target(kind, value)], soft=False, widen=False).batches[0]
            assert batch.limit == limit
            for _ in range(int(limits[limit].capacity)):
                await provider.purge(batch, "key")
            with pytest.raises(RateLimited) as refused:
                await provider.purge(batch, "key")
            assert refused.value.retry_after_s is not None
            clock.now += 1 / limits[limit].refill_per_s
            await provider.purge(batch, "key")


@pytest.mark.parametrize(("kind", "value", "seconds"), [(PurgeKind.TAG, "a", 4.0), (PurgeKind.URL, "/a", 2.0)])
async def test_a_429_that_says_nothing_of_the_time_is_one_of_some_seconds(
    kind: PurgeKind, value: str, seconds: float, tmp_path: Path
) -> None:
    fake = FakeBunny()
    fake.faults.extend(["429 silent", "429"])
    async with bunny(fake, tmp_path) as provider:
        batch = provider.plan_purge([target(kind, value)], soft=False, widen=False).batches[0]
        for expected in (seconds, 7.0):
            with pytest.raises(RateLimited) as refused:
                await provider.purge(batch, "key")
            assert refused.value.retry_after_s == expected
            assert refused.value.retryable


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        ("401", AuthError, "cdn.api_key"),
        ("500 page", Unavailable, "500"),
        ("reset", Unavailable, "could not be asked"),
        ("truncated", Unavailable, "could not be asked"),
        ("silence", Unavailable, "no answer within 0.2 s"),
    ],
)
async def test_a_purge_that_fails_says_why_and_never_the_key(
    fault: Fault, error: type[CdnError], told: str, tmp_path: Path
) -> None:
    fake = FakeBunny()
    fake.faults.append(fault)
    async with bunny(fake, tmp_path, timeout=0.2) as provider:
        with pytest.raises(error, match=told) as failed:
            await purge(provider, target(PurgeKind.TAG, "a"))
        assert KEY not in str(failed.value)
        await purge(provider, target(PurgeKind.TAG, "a"))  # and the next one gets through


async def test_another_pull_zone_than_the_accounts_is_named(tmp_path: Path) -> None:
    async with bunny(FakeBunny(), tmp_path, own={"pull_zone_id": 1}) as provider:
        with pytest.raises(NotFound, match=r"PullZone: .*cdn\.bunny\.pull_zone_id") as failed:
            await purge(provider, target(PurgeKind.TAG, "a"))
        assert failed.value.provider_code == "pullZone.not_found"


# Files.


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


@pytest.mark.parametrize("form", ["bytes", "path", "pieces"])
async def test_a_file_is_stored_under_the_name_of_its_content(form: str, tmp_path: Path) -> None:
    fake = FakeBunny()
    (tmp_path / "upload").write_bytes(PNG)
    sources: dict[str, Source] = {"bytes": PNG, "path": tmp_path / "upload", "pieces": pieces(PNG)}
    digest = sha256(PNG).hexdigest()
    async with bunny(fake, tmp_path) as provider:
        stored = await provider.upload(UploadRequest(sources[form], "Cat pic.PNG", "image"))
        path = f"image/2026/11/{digest[:2]}/{digest[:16]}-Cat-pic.png"
        assert (stored.path, stored.url) == (path, f"https://{HOST}/{path}")
        assert (stored.size_bytes, stored.content_type, stored.sha256_hex) == (len(PNG), "image/png", digest)
        assert fake.files == {path: PNG}
        assert fake.asked[-1].fields["checksum"] == digest.upper()
        assert "transfer-encoding" not in fake.asked[-1].fields
        assert await provider.delete(path)
        assert not await provider.delete(path)


async def test_what_the_storage_gets_is_what_it_was(tmp_path: Path) -> None:
    fake = FakeBunny()
    async with bunny(fake, tmp_path) as provider:
        await provider.upload(UploadRequest(b"hello", "a b.txt", "document", overwrite=True))
        await provider.upload(UploadRequest(b"", "empty.bin", "other"))
        await provider.delete("document/a-b.txt")
        await provider.files("document/", None, 10)
    same_as("bunny/storage.txt", "\n".join(asked.text for asked in fake.asked))


@pytest.mark.parametrize("path", ["", "/", "image/", "../secret", "image//a", "/image/a", "image/.a", "image/a?x"])
async def test_a_path_that_might_be_a_folder_or_lead_elsewhere_is_not_deleted(path: str, tmp_path: Path) -> None:
    fake = FakeBunny(files={"image/a": b"", "secret": b""})
    async with bunny(fake, tmp_path) as provider:
        with pytest.raises(Invalid, match="expected the path of a file"):
            await provider.delete(path)
    assert fake.asked == []


@pytest.mark.parametrize(
    ("request_", "error", "reason"),
    [
        (UploadRequest(PNG, "a.png", "image", tags=("a",)), Unsupported, "keeps no tags"),
        (UploadRequest(PNG, "a.png", "image", sha256_hex="0" * 64), Invalid, "and it has"),
        (UploadRequest(PNG, "a.png", "image", size_bytes=5), Invalid, "as announced"),
        (UploadRequest(PNG, "a.mp4", "video"), Invalid, "expected a video"),
        (UploadRequest(bytes(2000), "a.bin", "other"), TooLarge, "more than 1000 bytes"),
    ],
)
async def test_what_is_not_as_it_should_be_is_not_sent(
    request_: UploadRequest, error: type[CdnError], reason: str, tmp_path: Path
) -> None:
    fake = FakeBunny()
    async with bunny(fake, tmp_path, max_upload=1000) as provider:
        with pytest.raises(error, match=reason):
            await provider.upload(request_)
    assert fake.asked == []


async def test_a_wrong_password_and_a_wrong_region_are_both_told_of(tmp_path: Path) -> None:
    async with bunny(FakeBunny(), tmp_path, own=OWN | {"storage_password": "another"}) as provider:
        with pytest.raises(AuthError, match=r"storage_password is not .* or cdn\.bunny\.storage_host is not"):
            await provider.upload(UploadRequest(PNG, "a.png", "image"))


@pytest.mark.parametrize("fault", ["busy", "429"])
async def test_a_storage_that_takes_no_more_calls_may_be_asked_again(fault: Fault, tmp_path: Path) -> None:
    clock, fake = Clock(), FakeBunny()
    fake.faults.append(fault)
    async with bunny(fake, tmp_path, clock=clock) as provider:
        with pytest.raises(RateLimited, match="takes no more calls") as refused:
            await provider.files("", None, 10)
        clock.now += refused.value.retry_after_s or AWAY
        assert (await provider.files("", None, 10)).files == ()


def many() -> list[str]:
    folders = ["a/b", "a/b-c", "a/b.d", "a", "z", "image/2026/10/aa", "image/2026/11/ab"]
    return sorted(f"{folder}/{name}" for folder in folders for name in ("1.png", "2.png", "b.png"))


async def listed(provider: Bunny, prefix: str, limit: int) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = await provider.files(prefix, after, limit)
        assert len(page.files) <= limit
        found += [file.path for file in page.files]
        if page.next is None:
            return found
        assert after is None or page.next > after
        after = page.next


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
@pytest.mark.parametrize("prefix", ["", "a/", "a/b", "a/b/", "image/2026/1", "nothing/"])
async def test_lists_are_in_order_whole_and_of_pages(prefix: str, limit: int, tmp_path: Path) -> None:
    fake = FakeBunny(files=dict.fromkeys(many(), b"x"))
    async with bunny(fake, tmp_path) as provider:
        assert await listed(provider, prefix, limit) == [name for name in many() if name.startswith(prefix)]


@pytest.mark.slow
async def test_a_page_ends_before_too_many_folders_are_looked_into(tmp_path: Path) -> None:
    names = [f"image/{number:04}/a.png" for number in range(3 * MOST_FOLDERS)]
    fake = FakeBunny(files=dict.fromkeys(names, b"x"))
    async with bunny(fake, tmp_path) as provider:
        page = await provider.files("", None, 1000)
        assert len(fake.asked) == MOST_FOLDERS
        assert page.next is not None
        assert await listed(provider, "", 1000) == names


async def test_a_listed_file_is_described(tmp_path: Path) -> None:
    fake = FakeBunny(files={"image/a.png": PNG})
    async with bunny(fake, tmp_path) as provider:
        (file,) = (await provider.files("image/", None, 5)).files
    assert file.stored_at == datetime(2026, 11, 23, 10, 20, 30, 120_000, tzinfo=UTC)
    assert (file.sha256_hex, file.size_bytes) == (sha256(PNG).hexdigest(), len(PNG))
    assert (file.content_type, file.url) == ("image/png", f"https://{HOST}/image/a.png")


@pytest.mark.parametrize("prefix", ["/a", "../a", "a//b", "a?b", "a b"])
async def test_a_prefix_that_is_none_of_paths_is_refused(prefix: str, tmp_path: Path) -> None:
    async with bunny(FakeBunny(), tmp_path) as provider:
        with pytest.raises(Invalid, match="expected the beginning of paths"):
            await provider.files(prefix, None, 5)


# Status and figures.


async def codes(
    fake: FakeBunny, folder: Path, own: dict[str, Any] | None = None, **more: Any
) -> tuple[bool, list[str]]:
    async with bunny(fake, folder, own, **more) as provider:
        status = await provider.status()
    assert KEY not in repr(status)
    assert PASSWORD not in repr(status)
    return status.ok, [problem.code for problem in status.problems]


async def test_a_good_account_is_told_as_such(tmp_path: Path) -> None:
    async with bunny(FakeBunny(), tmp_path) as provider:
        status = await provider.status()
        assert (status.ok, status.problems, status.account) == (True, (), "shop")
        assert status.details == {"storage_zone": ZONE, "pull_zone": PULL_ZONE, "optimizer": True}
        assert status.capabilities == ~(Capability.SOFT_PURGE | Capability.PURGE_STATUS)


@pytest.mark.parametrize(
    ("zone", "ok", "expected"),
    [
        ({"Enabled": False}, False, ["zone_disabled"]),
        ({"Suspended": True}, False, ["zone_suspended"]),
        ({"Hostnames": [{"Value": "other.b-cdn.net"}]}, False, ["unknown_host"]),
        ({"Hostnames": None}, False, ["unknown_host"]),
        ({"EnableCountryCodeVary": True}, True, ["varies_by_country"]),
        ({"PermaCacheStorageZoneId": 5}, True, ["perma_cache"]),
        ({"IgnoreQueryStrings": True}, True, ["ignores_queries"]),
        ({"ZoneSecurityEnabled": True}, True, ["token_missing"]),
        ({"OptimizerEnabled": False}, True, ["optimizer_off"]),
        ({"OptimizerEnableManipulationEngine": False}, True, ["optimizer_off"]),
        ({"OptimizerForceClasses": True}, True, ["forced_classes"]),
    ],
)
async def test_what_a_zone_lacks_is_told(
    zone: dict[str, object], ok: bool, expected: list[str], tmp_path: Path
) -> None:
    assert await codes(FakeBunny(zone=zone), tmp_path) == (ok, expected)


async def test_a_wrong_key_and_a_wrong_password_are_two_problems(tmp_path: Path) -> None:
    own = OWN | {"storage_password": "another"}
    assert await codes(FakeBunny(), tmp_path, own, api_key="wrong") == (False, ["cdn_auth", "cdn_auth"])


async def test_a_token_that_the_zone_does_not_ask_for_is_told(tmp_path: Path) -> None:
    assert await codes(FakeBunny(), tmp_path, OWN | {"token_key": "tttt"}) == (True, ["token_ignored"])


async def test_without_a_pull_zone_half_of_it_works(tmp_path: Path) -> None:
    async with bunny(FakeBunny(), tmp_path, own={}) as provider:
        assert Capability.PURGE_URL in provider.capabilities
        lacking = Capability.PURGE_TAG | Capability.STATS | Capability.UPLOAD
        assert not provider.capabilities & lacking
        assert [problem.code for problem in (await provider.status()).problems] == ["cdn_config"]
        with pytest.raises(Unsupported, match=r"cdn\.bunny\.pull_zone_id"):
            await provider.stats(NOW, NOW, 3600)
        with pytest.raises(Unsupported, match=r"cdn\.bunny\.storage_zone"):
            await provider.upload(UploadRequest(PNG, "a.png", "image"))


async def test_figures_come_by_the_hour_and_by_the_day(tmp_path: Path) -> None:
    hours = {f"2026-11-22T{hour:02}:00:00Z": 10 for hour in range(24)}
    fake = FakeBunny(
        statistics={"TotalRequestsServed": 240, "RequestsServedChart": hours, "PullRequestsPulledChart": {}}
    )
    async with bunny(fake, tmp_path) as provider:
        start, end = datetime(2026, 11, 22, 6, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC)
        found = await provider.stats(start, end, 3600)
        assert (found.requests, found.interval_s, len(found.series)) == (60, 3600, 6)
        await provider.stats(start, end, 86_400)
    same_as("bunny/statistics.txt", "\n".join(asked.text for asked in fake.asked))


@pytest.mark.parametrize("fault", ["no json"])
async def test_an_answer_that_is_none_is_told_as_such(fault: Fault, tmp_path: Path) -> None:
    fake = FakeBunny()
    fake.faults.append(fault)
    async with bunny(fake, tmp_path) as provider:
        with pytest.raises(ProtocolError, match="no JSON"):
            await provider.stats(NOW, NOW, 3600)


# The rest.


def test_the_configuration_makes_it_and_says_what_it_lacks(tmp_path: Path) -> None:
    assert make_provider(settings("http://127.0.0.1:1", tmp_path)).name == "bunny"
    with pytest.raises(ConfigError, match=r"Bunny needs cdn\.api_key and cdn\.url"):
        make_provider(Cdn.model_validate({"provider": "bunny"}))


def test_urls_of_pictures_have_the_configured_quality_and_a_signature_with_a_key(tmp_path: Path) -> None:
    made = Bunny(settings("http://127.0.0.1:1", tmp_path), today=lambda: NOW)
    assert made.image_url("/a.png", ImageOptions(320)).url == f"https://{HOST}/a.png?width=320&quality=80"
    path = "image/2026/11/ab/abcd-cat.png"
    assert made.image_url(path, ImageOptions(320)).url == f"https://{HOST}/{path}?width=320&quality=80"
    signed = Bunny(settings("http://127.0.0.1:1", tmp_path, OWN | {"token_key": "k"}), today=lambda: NOW)
    assert "token=HS256-" in signed.image_url("/a.png", ImageOptions(320)).url


async def test_nothing_stays_behind_of_what_was_on_its_way(tmp_path: Path) -> None:
    fake = FakeBunny()
    fake.faults.append("reset")
    async with bunny(fake, tmp_path) as provider:
        with pytest.raises(Unavailable):
            await provider.upload(UploadRequest(pieces(bytes(3 << 20)), "a.bin", "other"))
    assert [names for _, _, names in os.walk(tmp_path) if names] == []


async def test_an_upload_ends_though_the_provider_is_closed_meanwhile(tmp_path: Path) -> None:
    slow = Slow(PNG, b"end")
    async with bunny(FakeBunny(), tmp_path) as provider:
        upload = asyncio.create_task(provider.upload(UploadRequest(slow(), "a.png", "image")))
        await slow.begun.wait()
        closing = asyncio.create_task(provider.close())
        await asyncio.sleep(0)
        slow.go.set()
        assert (await upload).size_bytes == len(PNG) + 3
        await closing
