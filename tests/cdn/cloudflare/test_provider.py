"""The provider against a Cloudflare with a state of its own."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from balancer.cdn.cloudflare.provider import Cloudflare
from balancer.cdn.errors import (
    AuthError,
    CdnError,
    ConfigError,
    Invalid,
    MissingRight,
    NotFound,
    ProtocolError,
    RateLimited,
    Unavailable,
    Unsupported,
)
from balancer.cdn.types import CALLS, Capability, ImageOptions, PurgeBatch, PurgeState, UploadRequest
from tests.cdn.cloudflare.accounts import GIF, account, purge, settings, targets
from tests.cdn.fakes.cloudflare import EMAIL, KEY, TOKEN, Credential, FakeCloudflare, Fault
from tests.cdn.slow import Slow

A = "https://www.example.com/a.png"


async def failed(provider: Cloudflare, *written: str) -> CdnError:
    with pytest.raises(CdnError) as caught:
        await purge(provider, *written or ("tag:a",))
    return caught.value


def test_without_a_url_there_is_no_provider() -> None:
    with pytest.raises(ConfigError, match=r"cdn\.url"):
        Cloudflare(settings(cdn_url=""))


@pytest.mark.parametrize("missing", ["cdn_api_key", "zone_id"])
async def test_without_a_key_or_a_zone_there_are_pictures_and_no_purges(missing: str) -> None:
    fake = FakeCloudflare()
    async with account(fake, **{missing: ""}) as provider:
        assert provider.capabilities == Capability.IMAGES
        assert "cdn.api_key and cdn.cloudflare.zone_id" in str(await failed(provider))
        with pytest.raises(Unsupported):
            await provider.stats(datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC), 3600)
        assert not (await provider.status()).ok
    assert fake.received == []


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("/a.png", {"/b.png", "/posts/1", "/posts/2?x=1"}),
        ("/posts/*", {"/a.png", "/a.png?v=2", "/b.png"}),
        ("/posts/2", {"/a.png", "/a.png?v=2", "/b.png", "/posts/1"}),
        ("/a.png?v=2", {"/a.png", "/b.png", "/posts/1", "/posts/2?x=1"}),
        ("tag:POST", {"/a.png", "/a.png?v=2", "/b.png"}),
        ("host:www.example.com", set()),
        ("*", set()),
    ],
)
async def test_what_was_meant_is_gone_and_the_rest_is_there(written: str, left: set[str]) -> None:
    fake = FakeCloudflare()
    paths = {"/a.png": "", "/a.png?v=2": "", "/b.png": "", "/posts/1": "post", "/posts/2?x=1": "post"}
    fake.cached = {f"https://www.example.com{path}": frozenset((tag,)) for path, tag in paths.items()}
    async with account(fake) as provider:
        await purge(provider, written)
    assert {url.removeprefix("https://www.example.com") for url in fake.cached} == left


async def test_a_purge_is_accepted_with_a_number_and_never_known_to_be_done() -> None:
    async with account(FakeCloudflare()) as provider:
        (batch,) = provider.plan_purge(targets("tag:a"), soft=False, widen=False).batches
        result = await provider.purge(batch, "key")
        assert result.provider_id is not None
        assert (result.state, await provider.purge_state(result.provider_id)) == (PurgeState.SUBMITTED,) * 2


async def test_a_soft_purge_leaves_what_is_stale() -> None:
    fake = FakeCloudflare()
    fake.cached = {A: frozenset()}
    async with account(fake) as provider:
        await purge(provider, "/a.png", soft=True)
    assert (set(fake.cached), fake.stale) == ({A}, {A})


async def test_all_hosts_of_the_zone_are_purged() -> None:
    fake = FakeCloudflare()
    fake.cached = {A: frozenset(), "https://img.example.com/a.png?w=1": frozenset()}
    async with account(fake, cdn_hosts=["www.example.com", "IMG.example.com"]) as provider:
        await purge(provider, "/a.png")
    assert fake.cached == {}


async def test_more_purges_than_the_plan_has_are_told_with_the_time_to_wait() -> None:
    fake = FakeCloudflare(clock=lambda: 0.0)
    async with account(fake) as provider:
        for _ in range(25):
            await purge(provider, "tag:a")
        error = await failed(provider)
    assert (type(error), error.provider_code, error.retry_after_s) == (RateLimited, "1134", 13.0)
    assert error.retryable


async def test_the_limits_that_are_counted_here_are_those_of_the_plan() -> None:
    fake = FakeCloudflare("business", clock=lambda: 0.0)
    async with account(fake, plan="business") as provider:
        limit = provider.limits()["other"]
        for _ in range(int(limit.capacity)):
            await purge(provider, "tag:a")
        assert isinstance(await failed(provider), RateLimited)
    assert (limit.capacity, limit.refill_per_s) == (50, 10)


@pytest.mark.slow
async def test_the_limit_of_all_calls_never_reaches_the_block_of_five_minutes() -> None:
    now = 0.0
    fake = FakeCloudflare("enterprise", clock=lambda: now)
    async with account(fake, plan="enterprise") as provider:
        limit = provider.limits()["calls"]
        (batch,) = provider.plan_purge(targets("/a.png?x"), soft=False, widen=False).batches
        left = limit.capacity
        while now < 300:
            while left >= 1:
                left -= 1
                await provider.purge(batch, "key")
            now += 1 / limit.refill_per_s
            left += 1
    assert len(fake.received) <= 1200


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("200 success:false", ProtocolError, "Something of ours has gone wrong (1234)"),
        ("429", RateLimited, "rate limit reached"),
        ("429 without a word", RateLimited, "answered 429"),
        ("401", AuthError, "Authentication error (10000); check cdn.api_key"),
        ("502 page", Unavailable, "<html>bad gateway</html>"),
        ("redirect", ProtocolError, "redirect"),
        ("reset in mid-body", Unavailable, "could not be asked"),
        ("truncated", ProtocolError, "no JSON"),
    ],
)
async def test_a_fault_is_told_for_what_it_is(fault: Fault, kind: type[CdnError], words: str) -> None:
    fake = FakeCloudflare()
    async with account(fake) as provider:
        fake.faults.append(fault)
        error = await failed(provider)
        await purge(provider, "tag:a")  # and the next call is as good as any
    assert type(error) is kind
    assert words in str(error)
    assert TOKEN not in str(error)


async def test_silence_ends_at_the_timeout() -> None:
    fake = FakeCloudflare()
    async with account(fake, cdn_timeout=0.05) as provider:
        fake.faults.append("silence")
        assert isinstance(await failed(provider), Unavailable)


async def test_a_call_that_is_not_authorised_is_worth_one_more_try() -> None:
    fake = FakeCloudflare()
    async with account(fake) as provider:
        fake.faults.append("401")
        error = await failed(provider)
    assert (type(error), error.retryable, error.retry_after_s) == (AuthError, False, 2.0)


async def test_a_key_in_the_place_of_a_token_is_told_so() -> None:
    async with account(FakeCloudflare(), cdn_api_key=KEY) as provider:
        error = await failed(provider)
        status = await provider.status()
    assert type(error) is AuthError
    assert error.provider_code == "6003"
    assert "API token without cdn.cloudflare.email, and the Global API Key with it" in str(error)
    assert error.retry_after_s is None  # a second try is of no use
    assert not status.ok


async def test_a_token_in_the_place_of_a_key_is_told_so() -> None:
    async with account(FakeCloudflare(), email=EMAIL) as provider:
        error = await failed(provider)
    assert (type(error), "Invalid format for X-Auth-Key header (6103)" in str(error)) == (AuthError, True)


async def test_the_global_key_is_sent_with_its_email() -> None:
    fake = FakeCloudflare()
    async with account(fake, cdn_api_key=KEY, email=EMAIL) as provider:
        assert (await provider.status()).ok
        await purge(provider, "tag:a")
    assert {"X-Auth-Email", "X-Auth-Key"} <= fake.received[-1].fields.keys()
    assert not any("tokens/verify" in one.line for one in fake.received)  # a key has no such thing


async def test_a_good_account_is_shown_without_its_credential() -> None:
    async with account(FakeCloudflare()) as provider:
        status = await provider.status()
    assert (status.ok, status.problems, status.account) == (True, (), "example.com")
    assert status.details["zone_status"] == status.details["token"] == "active"
    assert TOKEN not in repr(status)


async def test_a_token_of_the_account_is_as_good_as_one_of_a_user() -> None:
    fake = FakeCloudflare()
    fake.credentials[TOKEN].owner = "account"
    async with account(fake) as provider:
        assert (await provider.status()).ok
    async with account(FakeCloudflare(), cdn_api_key="another" * 6, account_id="") as provider:
        (problem, *_) = (await provider.status()).problems
    assert "Invalid API Token (1000)" in problem.message


@pytest.mark.parametrize(
    ("field", "value", "code", "words"),
    [
        ("development_mode", 3600, "development_mode", "3600 s are left"),
        ("status", "pending", "zone_not_active", "caches nothing of it yet"),
        ("paused", True, "zone_paused", "do not go through Cloudflare"),
        ("name", "example.org", "foreign_host", "www.example.com: not of the zone example.org"),
        ("plan", {"legacy_id": "free", "name": "Free"}, "plan", "says pro, and the zone has free"),
        ("id", "f" * 32, "cdn_not_found", "check cdn.cloudflare.zone_id"),
    ],
)
async def test_what_keeps_a_zone_from_working_is_a_problem(field: str, value: object, code: str, words: str) -> None:
    fake = FakeCloudflare("pro")
    fake.zone[field] = value
    async with account(fake, plan="pro") as provider:
        status = await provider.status()
    (problem,) = status.problems
    assert (status.ok, problem.code) == (False, code)
    assert words in problem.message


@pytest.mark.parametrize(("lacks", "right"), [("zone", "Zone > Zone > Read"), ("analytics", "Zone > Analytics > Read")])
async def test_a_right_that_is_missing_is_named(lacks: str, right: str) -> None:
    fake = FakeCloudflare()
    fake.credentials = {TOKEN: Credential(frozenset(("purge", "zone", "analytics")) - {lacks})}
    async with account(fake) as provider:
        (problem,) = (await provider.status()).problems
    assert problem.code == "cdn_permission"
    assert right in problem.message


async def test_that_purges_are_not_allowed_shows_at_the_first_and_then_in_the_status() -> None:
    fake = FakeCloudflare()
    fake.credentials = {TOKEN: Credential(frozenset(("zone", "analytics")))}
    async with account(fake) as provider:
        assert (await provider.status()).ok
        error = await failed(provider)
        (problem,) = (await provider.status()).problems
        fake.credentials = {TOKEN: Credential()}
        await purge(provider, "tag:a")
        assert (await provider.status()).ok
    assert type(error) is MissingRight
    assert "Zone > Cache Purge > Purge" in str(error) == problem.message


@pytest.mark.parametrize("status", ["disabled", "expired"])
async def test_a_token_that_is_over_is_a_problem(status: str) -> None:
    fake = FakeCloudflare()
    fake.credentials[TOKEN].status = status
    async with account(fake) as provider:
        found = await provider.status()
    assert f"the API token in cdn.api_key is {status}" in found.problems[0].message


async def test_status_tells_and_does_not_raise_when_nobody_answers() -> None:
    fake = FakeCloudflare()
    async with fake.running() as base:
        pass
    provider = Cloudflare(settings(base))
    await provider.start()
    status = await provider.status()
    await provider.close()
    assert {problem.code for problem in status.problems} == {"cdn_unavailable"}


async def test_a_zone_that_is_not_there_is_not_found() -> None:
    async with account(FakeCloudflare(), zone_id="0" * 32) as provider:
        assert isinstance(await failed(provider), NotFound)


async def test_an_identifier_leads_nowhere_else() -> None:
    fake = FakeCloudflare()
    async with account(fake, zone_id="../user/tokens?") as provider:
        await failed(provider)
    assert fake.received[-1].line == "POST /client/v4/zones/..%2Fuser%2Ftokens%3F/purge_cache"


async def test_what_cloudflare_refuses_is_invalid_with_its_words() -> None:
    async with account(FakeCloudflare()) as provider:
        with pytest.raises(Invalid, match=r"which is an invalid item of files \(1016\)"):
            await provider.purge(PurgeBatch("files", ("https://www.example.com/*",), ()), "key")


async def test_what_a_provider_was_called_for_is_counted() -> None:
    fake = FakeCloudflare()
    async with account(fake) as provider:
        await provider.status()
        fake.faults.append("429")
        await failed(provider)
        await provider.stats(datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC), 3600)
    assert provider.calls.results == {
        ("verify", "ok"): 1,
        ("zone", "ok"): 1,
        ("limits", "ok"): 1,
        ("purge", "rate_limited"): 1,
        ("stats", "ok"): 1,
    }


def test_a_public_url_is_below_the_configured_one() -> None:
    provider = Cloudflare(settings(cdn_url="https://files.example.com/media/"))
    assert provider.public_url("image/a b.png") == "https://files.example.com/media/image/a%20b.png"


@pytest.mark.parametrize(("base", "path"), [("", "/image/a.png"), ("/media", "/media/image/a.png")])
def test_a_picture_may_be_named_by_the_path_of_its_file(base: str, path: str) -> None:
    provider = Cloudflare(settings(cdn_url=f"https://www.example.com{base}"))
    for source in ("image/a.png", f"https://www.example.com{path}"):
        made = provider.image_url(source, ImageOptions(320))
        assert (
            made.url == f"https://www.example.com/cdn-cgi/image/width=320,fit=scale-down,quality=80,format=auto{path}"
        )


class Standing:
    """A clock that somebody moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_status_that_would_be_more_calls_than_are_left_is_the_last_one() -> None:
    clock, fake = Standing(), FakeCloudflare()
    async with account(fake, clock) as provider:
        first = await provider.status()
        provider.buckets[CALLS].correct(5, clock())
        asked = len(fake.received)
        assert await provider.status() is first
        assert len(fake.received) == asked
        clock.now += 1
        assert await provider.status() is not first


async def test_all_calls_are_of_one_limit_and_what_is_beyond_it_is_not_made() -> None:
    clock, fake = Standing(), FakeCloudflare()
    async with account(fake, clock) as provider:
        before = provider.buckets[CALLS].state(clock()).left
        await provider.status()
        assert provider.buckets[CALLS].state(clock()).left == before - len(fake.received)
        provider.buckets[CALLS].correct(-20, clock())
        asked = len(fake.received)
        with pytest.raises(RateLimited) as refused:
            await provider.stats(fake.now - timedelta(hours=3), fake.now, 3600)
        assert refused.value.retry_after_s == 10.5
        assert len(fake.received) == asked


async def test_who_is_told_to_stay_away_does_with_purges_as_well() -> None:
    clock, fake = Standing(), FakeCloudflare()
    async with account(fake, clock) as provider:
        fake.faults.append("429")
        await provider.status()
        assert provider.buckets[CALLS].wait(1, clock()) > 0


async def test_an_upload_ends_though_the_provider_is_closed_meanwhile() -> None:
    slow = Slow(GIF[:20], GIF[20:])
    async with account(FakeCloudflare(), storage="images") as provider:
        upload = asyncio.create_task(provider.upload(UploadRequest(slow(), "a.gif", "image")))
        await slow.begun.wait()
        closing = asyncio.create_task(provider.close())
        await asyncio.sleep(0)
        slow.go.set()
        assert (await upload).size_bytes == len(GIF)
        await closing
