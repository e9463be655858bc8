"""Cloudflare's own library judges the stand-in: what it parses is what we are told there."""

from collections.abc import AsyncIterator

import cloudflare
import pytest
from cloudflare import AsyncCloudflare

from tests.cdn.cloudflare.accounts import account, purge
from tests.cdn.fakes.cloudflare import ACCOUNT, EMAIL, KEY, TOKEN, ZONE, FakeCloudflare

A = "https://www.example.com/a.png"


@pytest.fixture
def fake() -> FakeCloudflare:
    return FakeCloudflare(clock=lambda: 0.0)


@pytest.fixture
async def theirs(fake: FakeCloudflare) -> AsyncIterator[AsyncCloudflare]:
    async with fake.running() as base:
        async with AsyncCloudflare(api_token=TOKEN, base_url=base, max_retries=0) as client:
            yield client


async def test_the_token(theirs: AsyncCloudflare, fake: FakeCloudflare) -> None:
    found = await theirs.user.tokens.verify()
    assert found is not None
    assert (found.status, found.expires_on is not None) == ("active", True)
    fake.credentials[TOKEN].owner = "account"
    of_account = await theirs.accounts.tokens.verify(account_id=ACCOUNT)
    assert of_account is not None
    assert of_account.status == "active"
    with pytest.raises(cloudflare.AuthenticationError, match="Invalid API Token"):
        await theirs.user.tokens.verify()


async def test_the_zone(theirs: AsyncCloudflare) -> None:
    zone = await theirs.zones.get(zone_id=ZONE)
    assert zone is not None
    assert (zone.name, zone.status, zone.development_mode) == ("example.com", "active", 0)
    with pytest.raises(cloudflare.NotFoundError):
        await theirs.zones.get(zone_id="f" * 32)


@pytest.mark.parametrize(
    "order",
    [
        {"files": [A]},
        {"files": [{"url": A, "headers": {"CF-Device-Type": "mobile"}}]},
        {"prefixes": ["www.example.com/a.png"]},
        {"tags": ["Home"]},
        {"hosts": ["www.example.com"]},
        {"purge_everything": True},
    ],
)
async def test_purges(theirs: AsyncCloudflare, fake: FakeCloudflare, order: dict[str, object]) -> None:
    fake.cached = {A: frozenset(("home",))}
    soft = await theirs.cache.invalidate(zone_id=ZONE, **order)
    assert soft is not None
    assert fake.stale == {A}
    done = await theirs.cache.purge(zone_id=ZONE, **order)
    assert done is not None
    assert (len(done.id), fake.cached) == (32, {})


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"prefixes": ["https://www.example.com/posts"]}, 1016),
        ({"files": ["https://www.example.com/posts/*"]}, 1016),
        ({"files": [f"{A}?{number}" for number in range(101)]}, 1094),
        ({"tags": ["a b"]}, 1016),
        ({"purge_everything": True, "tags": ["a"]}, 1092),
        ({"tags": ["a"], "hosts": ["h.example"]}, 1012),
        ({"tags": []}, 1094),
        ({}, 1012),
    ],
)
async def test_orders_that_are_none(theirs: AsyncCloudflare, order: dict[str, object], code: int) -> None:
    with pytest.raises(cloudflare.BadRequestError) as caught:
        await theirs.cache.purge(zone_id=ZONE, **order)
    assert [one.code for one in caught.value.errors] == [code]


async def test_too_many_purges(theirs: AsyncCloudflare) -> None:
    for _ in range(25):
        await theirs.cache.purge(zone_id=ZONE, tags=["a"])
    with pytest.raises(cloudflare.RateLimitError) as caught:
        await theirs.cache.purge(zone_id=ZONE, tags=["a"])
    assert ([one.code for one in caught.value.errors], caught.value.response.headers["Retry-After"]) == ([1134], "13")


async def test_pictures(theirs: AsyncCloudflare) -> None:
    stored = await theirs.images.v1.create(account_id=ACCOUNT, file=("x.gif", b"GIF89a", "image/gif"))
    assert stored is not None
    assert stored.id is not None
    assert stored.variants == [f"https://imagedelivery.net/Vi7wi5KSItxGFsWRG2Us6Q/{stored.id}/public"]
    counted = await theirs.images.v1.stats.get(account_id=ACCOUNT)
    assert counted.count is not None
    assert counted.count.current == 1
    await theirs.images.v1.delete(stored.id, account_id=ACCOUNT)
    with pytest.raises(cloudflare.NotFoundError):
        await theirs.images.v1.delete(stored.id, account_id=ACCOUNT)


async def test_a_key_with_its_email(fake: FakeCloudflare) -> None:
    async with fake.running() as base:
        async with AsyncCloudflare(api_email=EMAIL, api_key=KEY, base_url=base, max_retries=0) as client:
            assert await client.zones.get(zone_id=ZONE) is not None
        async with AsyncCloudflare(api_email=EMAIL, api_key=TOKEN, base_url=base, max_retries=0) as client:
            with pytest.raises(cloudflare.BadRequestError, match="6103"):
                await client.zones.get(zone_id=ZONE)


async def test_our_purges_are_the_ones_that_their_library_sends(fake: FakeCloudflare) -> None:
    """The same order by both: the same line and the same body arrive."""
    async with fake.running() as base:
        async with account(fake, at=base) as provider:
            await purge(provider, "tag:a", "tag:b")
        async with AsyncCloudflare(api_token=TOKEN, base_url=base, max_retries=0) as client:
            await client.cache.purge(zone_id=ZONE, tags=["a", "b"])
    ours, theirs = fake.received
    assert (ours.line, ours.body) == (theirs.line, theirs.body)
    assert ours.fields["Authorization"] == theirs.fields["Authorization"] == "***"
