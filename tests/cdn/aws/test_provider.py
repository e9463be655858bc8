"""AWS as a whole: moto's server for what it does, and the fake for what it refuses and how it fails."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from balancer.cdn.aws.account import Account, Credential, Endpoint, Service
from balancer.cdn.aws.provider import AwsProvider
from balancer.cdn.aws.s3 import PART
from balancer.cdn.errors import (
    AuthError,
    CdnError,
    ConfigError,
    Invalid,
    MissingRight,
    NotFound,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    TooLarge,
    Unavailable,
    Unsupported,
)
from balancer.cdn.purging.patterns import target
from balancer.cdn.types import Capability, ImageOptions, PurgeBatch, PurgeState, StoredFile, UploadRequest
from config.cdn import Cdn
from tests.cdn.aws.moto import Moto
from tests.cdn.fakes.aws import BUCKET, DISTRIBUTION, KEY_ID, SECRET, FakeAws, Fault
from tests.cdn.golden import same_as
from tests.cdn.slow import Slow

NOW = datetime(2026, 11, 23, 12, 34, 56, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
DIGEST = sha256(PNG).hexdigest()
AT = f"image/2026/11/{DIGEST[:2]}/{DIGEST[:16]}-cat.png"


def settings(url: str, folder: Path, timeout: float = 20.0, **aws: object) -> Cdn:
    return Cdn.model_validate(
        {
            "provider": "aws",
            "url": "https://cdn.example.com",
            "api_key": f"{KEY_ID}:{SECRET}",
            "timeout": timeout,
            "local": {"directory": str(folder)},
            "aws": {"bucket": BUCKET, "distribution_id": DISTRIBUTION, **aws},
            "endpoints": {"api": url, "storage": url, "statistics": url},
        }
    )


@pytest.fixture
async def fake() -> AsyncIterator[FakeAws]:
    async with FakeAws().running() as fake:
        yield fake


class Provided:
    """A provider that is closed after the test."""

    def __init__(self, url: str, folder: Path, timeout: float = 20.0, **aws: object) -> None:
        self.made = AwsProvider(settings(url, folder, timeout, **aws), now=lambda: NOW)

    async def __aenter__(self) -> AwsProvider:
        await self.made.start()
        return self.made

    async def __aexit__(self, *exc: object) -> None:
        await self.made.close()


def batch(*items: str) -> PurgeBatch:
    kind = "wildcards" if items[0].endswith("*") else "paths"
    return PurgeBatch(kind, items, (), cost=len(items))


async def drops(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


# With moto ----------------------------------------------------------------------------------------------------------


async def distribution(moto: Moto, account: Account) -> str:
    """Makes a bucket and a distribution of it."""
    await Service(account, Endpoint("s3", "us-east-1", moto.url)).call("create_bucket", {"Bucket": BUCKET})
    origin = {"Id": "s3", "DomainName": f"{BUCKET}.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}
    behaviour = {"TargetOriginId": "s3", "ViewerProtocolPolicy": "https-only", "MinTTL": 0}
    made = await Service(account, Endpoint("cloudfront", "us-east-1", moto.url)).call(
        "create_distribution",
        {
            "DistributionConfig": {
                "CallerReference": "1",
                "Comment": "",
                "Enabled": True,
                "Aliases": {"Quantity": 1, "Items": ["cdn.example.com"]},
                "Origins": {"Quantity": 1, "Items": [origin]},
                "DefaultCacheBehavior": {
                    **behaviour,
                    "ForwardedValues": {"QueryString": True, "Cookies": {"Forward": "none"}},
                },
            }
        },
    )
    return str(made["Distribution"]["Id"])


@pytest.mark.slow
async def test_a_file_goes_up_is_listed_and_goes_away(moto: Moto, account: Account, tmp_path: Path) -> None:
    identifier = await distribution(moto, account)
    async with Provided(moto.url, tmp_path, distribution_id=identifier) as aws:
        stored = await aws.upload(UploadRequest(PNG, "cat.PNG", "image", tags=("post-42", "home")))
        assert (stored.path, stored.url) == (AT, f"https://cdn.example.com/{AT}")
        assert (stored.size_bytes, stored.content_type, stored.created) == (len(PNG), "image/png", True)
        assert stored.sha256_hex == DIGEST
        again = await aws.upload(UploadRequest(drops(PNG), "cat.png", "image"))
        assert (again.path, again.created) == (AT, False)
        page = await aws.files("image/", None, 10)
        assert [(file.path, file.size_bytes, file.content_type) for file in page.files] == [(AT, len(PNG), "image/png")]
        assert await aws.delete(AT)
        assert await aws.delete(AT)
        assert (await aws.files("", None, 10)).files == ()


@pytest.mark.slow
async def test_an_invalidation_is_made_and_asked_for(moto: Moto, account: Account, tmp_path: Path) -> None:
    identifier = await distribution(moto, account)
    async with Provided(moto.url, tmp_path, distribution_id=identifier) as aws:
        (made,) = aws.plan_purge([target("/posts/*")], soft=False, widen=False).batches
        result = await aws.purge(made, "pg_1/0")
        assert result.provider_id is not None
        assert await aws.purge_state(result.provider_id) is PurgeState.COMPLETED  # moto shouts it at once
        with pytest.raises(NotFound, match="NoSuchInvalidation"):
            await aws.purge_state("IDOESNOTEXIST")
        status = await aws.status()
        assert status.account == "123456789012"
        # moto keeps no CacheTagConfig, and says so.
        assert [problem.code for problem in status.problems] == ["tags"]
        assert status.details["paths_this_month"] == 1
        assert SECRET not in repr(status)


@pytest.mark.slow
async def test_figures_are_those_that_cloudwatch_has(moto: Moto, account: Account, tmp_path: Path) -> None:
    watch = Service(account, Endpoint("cloudwatch", "us-east-1", moto.url))
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    dimensions = [{"Name": "DistributionId", "Value": DISTRIBUTION}, {"Name": "Region", "Value": "Global"}]

    async def seed(name: str, *values: float) -> None:
        data = [
            {"MetricName": name, "Dimensions": dimensions, "Timestamp": start + timedelta(hours=hour), "Value": value}
            for hour, value in enumerate(values)
        ]
        await watch.call("put_metric_data", {"Namespace": "AWS/CloudFront", "MetricData": data})

    await seed("Requests", 900, 100)
    await seed("BytesDownloaded", 9000, 1000)
    await seed("4xxErrorRate", 1, 11)
    await seed("5xxErrorRate", 0, 0)
    provided = Provided(moto.url, tmp_path)
    provided.made._now = lambda: datetime.now(UTC)
    async with provided as aws:
        without = await aws.stats(start, start + timedelta(hours=2), 3600)
        assert (without.requests, without.bytes_out, without.status_4xx, without.status_5xx) == (1000, 10000, 20, 0)
        assert without.hit_ratio is None
        assert "additional metrics" in without.missing["hit_ratio"]
        assert [(point.at, point.requests, point.bytes_out) for point in without.series] == [
            (start, 900, 9000),
            (start + timedelta(hours=1), 100, 1000),
        ]
        await seed("CacheHitRate", 90, 10)
        told = await aws.stats(start, start + timedelta(hours=2), 3600)
        assert told.hit_ratio == pytest.approx(0.82)
        assert (told.hits, [point.hits for point in told.series]) == (820, [810, 10])


# With the fake: purges ----------------------------------------------------------------------------------------------


async def test_an_invalidation_is_in_progress_until_it_is_completed(fake: FakeAws, tmp_path: Path) -> None:
    async with Provided(fake.url, tmp_path) as aws:
        result = await aws.purge(batch("/posts/*"), "pg_1/0")
        assert result.state is PurgeState.IN_PROGRESS
        assert result.provider_id is not None
        assert await aws.purge_state(result.provider_id) is PurgeState.IN_PROGRESS
        fake.finish()
        assert await aws.purge_state(result.provider_id) is PurgeState.COMPLETED


async def test_a_purge_that_is_sent_again_is_the_same_one_and_paid_once(fake: FakeAws, tmp_path: Path) -> None:
    fake.faults.append(Fault("create_invalidation", "refuse", 503, "ServiceUnavailable"))
    async with Provided(fake.url, tmp_path) as aws:
        with pytest.raises(Unavailable):
            await aws.purge(batch("/a", "/b"), "pg_1/0")
        first = await aws.purge(batch("/a", "/b"), "pg_1/0")
        again = await aws.purge(batch("/a", "/b"), "pg_1/0")
        other = await aws.purge(batch("/a", "/b"), "pg_1/1")
        assert first == again != other
        assert fake.billed == 4
        with pytest.raises(Invalid, match="InvalidationBatchAlreadyExists"):
            await aws.purge(batch("/c"), "pg_1/0")


async def test_too_many_in_progress_is_a_wait_and_not_a_mistake(fake: FakeAws, tmp_path: Path) -> None:
    async with Provided(fake.url, tmp_path) as aws:
        await aws.purge(batch(*(f"/{number}/*" for number in range(15))), "pg_1/0")
        with pytest.raises(RateLimited, match="TooManyInvalidationsInProgress") as caught:
            await aws.purge(batch("/x/*"), "pg_2/0")
        assert (caught.value.retryable, caught.value.retry_after_s) == (True, 30.0)
        fake.finish()
        await aws.purge(batch("/x/*"), "pg_2/0")


async def test_every_item_of_every_plan_is_one_that_cloudfront_takes(fake: FakeAws, tmp_path: Path) -> None:
    texts = [
        "/straße/ü b.png",
        "/~user/a|b[1]{2}^`.png",
        "/a.png?q=ü",
        "/p*",
        "tag:post-42",
        "tag:a*b",
        "tag:" + "x" * 999,
    ]
    async with Provided(fake.url, tmp_path) as aws:
        plan = aws.plan_purge([target(text) for text in texts], soft=False, widen=False)
        assert plan.rejected == ()
        for number, one in enumerate(plan.batches):
            await aws.purge(one, f"pg_1/{number}")
        assert fake.billed == sum(len(one.items) for one in plan.batches)


async def test_no_more_is_spent_than_may_be_and_what_was_is_known_after_a_restart(
    fake: FakeAws, tmp_path: Path
) -> None:
    async with Provided(fake.url, tmp_path, free_paths=5, most_paths=6) as aws:
        await aws.purge(batch("/1", "/2", "/3", "/4"), "pg_1/0")
        status = await aws.status()
        assert [problem.code for problem in status.problems] == ["paths"]
    async with Provided(fake.url, tmp_path, free_paths=5, most_paths=6) as aws:
        with pytest.raises(QuotaExhausted, match=r"7 in 2026-11, and cdn\.aws\.most_paths is 6"):
            await aws.purge(batch("/5", "/6", "/7"), "pg_2/0")
        await aws.purge(batch("/5", "/6"), "pg_2/0")
        assert fake.billed == 6


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("create_invalidation", "reset"), Unavailable),
        (Fault("create_invalidation", "truncate"), ProtocolError),
        (Fault("create_invalidation", "silence"), Unavailable),
        (Fault("create_invalidation", "refuse", 403, "AccessDenied", "Access Denied"), MissingRight),
        (Fault("create_invalidation", "refuse", 403, "SignatureDoesNotMatch"), AuthError),
        (Fault("create_invalidation", "refuse", 400, "Throttling"), RateLimited),
        (Fault("create_invalidation", "refuse", 413, "BatchTooLarge"), TooLarge),
        (Fault("create_invalidation", "refuse", 500, "InternalError"), Unavailable),
    ],
    ids=lambda value: f"{value.how} {value.code}" if isinstance(value, Fault) else value.__name__,
)
async def test_a_purge_that_fails_is_an_error_of_ours(
    fake: FakeAws, tmp_path: Path, fault: Fault, kind: type[CdnError]
) -> None:
    fake.faults.append(fault)
    async with Provided(fake.url, tmp_path, timeout=3.0) as aws:
        with pytest.raises(CdnError) as caught:
            await aws.purge(batch("/a"), "pg_1/0")
        assert type(caught.value) is kind
        assert fake.operations() == ["create_invalidation"]  # once: whoever purges tries again
        assert (await aws.purge(batch("/a"), "pg_1/0")).state is PurgeState.IN_PROGRESS
        assert aws.calls.results["create_invalidation", "ok"] == 1
        assert sum(aws.calls.results.values()) == 2


# With the fake: files -----------------------------------------------------------------------------------------------


async def test_what_is_sent_is_what_somebody_has_looked_at(fake: FakeAws, tmp_path: Path) -> None:
    async with Provided(fake.url, tmp_path) as aws:
        await aws.upload(UploadRequest(PNG, "Cat & dog.PNG", "image", tags=("post-42", "home")))
        await aws.upload(UploadRequest(b"plain words", "notes.txt", "document", overwrite=True))
        await aws.delete("document/notes.txt")
        plan = aws.plan_purge([target("/posts/*"), target("/a?x"), target("tag:post-42")], soft=False, widen=False)
        for number, one in enumerate(plan.batches):
            await aws.purge(one, f"pg_1/{number}")
    same_as("aws/received.txt", "\n".join(one.text for one in fake.received))


@pytest.mark.slow
async def test_a_part_that_fails_once_is_sent_again_and_one_that_fails_twice_leaves_nothing(
    fake: FakeAws, tmp_path: Path
) -> None:
    content = PNG + bytes(2 * PART)
    async with Provided(fake.url, tmp_path) as aws:
        fake.faults.append(Fault("upload_part"))
        stored = await aws.upload(UploadRequest(drops(content), "a.png", "image"))
        assert fake.objects[stored.path] == content
        assert fake.largest_body == PART
        fake.faults.append(Fault("upload_part", times=2))
        with pytest.raises(RateLimited, match="503 SlowDown"):
            await aws.upload(UploadRequest(drops(content + b"x"), "a.png", "image"))
        assert (len(fake.objects), fake.uploads) == (1, {})


@pytest.mark.slow
async def test_an_end_that_is_an_error_with_status_200_is_one(fake: FakeAws, tmp_path: Path) -> None:
    fault = Fault("complete_multipart_upload", "fine, but", code="InternalError", message="We failed.", times=2)
    fake.faults.append(fault)
    async with Provided(fake.url, tmp_path) as aws:
        with pytest.raises(Unavailable, match="InternalError: We failed"):
            await aws.upload(UploadRequest(drops(PNG + bytes(PART)), "a.png", "image"))
    assert (fake.objects, fake.uploads) == ({}, {})


@pytest.mark.slow
async def test_an_upload_that_is_given_up_leaves_no_parts(fake: FakeAws, tmp_path: Path) -> None:
    started = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield PNG + bytes(PART)
        started.set()
        await asyncio.Event().wait()

    async with Provided(fake.url, tmp_path) as aws:
        upload = asyncio.ensure_future(aws.upload(UploadRequest(stalling(), "a.png", "image", overwrite=True)))
        await started.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
    assert (fake.objects, fake.uploads) == ({}, {})
    assert fake.operations()[-1] == "abort_multipart_upload"


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (UploadRequest(PNG, "a.png", "video"), Invalid),
        (UploadRequest(PNG, "a.png", "image", sha256_hex="0" * 64), Invalid),
        (UploadRequest(PNG, "a.png", "image", size_bytes=1), Invalid),
        (UploadRequest(PNG, "a.png", "image", size_bytes=10**10), TooLarge),
        (UploadRequest(PNG, "a.png", "image", tags=("a,b",)), Invalid),
        (UploadRequest(Path("/nothing/here"), "a.png", "image"), Invalid),
    ],
)
async def test_a_file_that_is_not_what_it_is_said_to_be_is_not_sent(
    fake: FakeAws, tmp_path: Path, request_: UploadRequest, kind: type[CdnError]
) -> None:
    async with Provided(fake.url, tmp_path) as aws:
        with pytest.raises(kind):
            await aws.upload(request_)
    assert fake.received == []


@pytest.mark.slow
async def test_a_stream_with_another_hash_than_announced_is_not_stored(fake: FakeAws, tmp_path: Path) -> None:
    async with Provided(fake.url, tmp_path) as aws:
        for content in (PNG, PNG + bytes(PART)):
            with pytest.raises(Invalid, match="expected content with the SHA-256"):
                await aws.upload(UploadRequest(drops(content), "a.png", "image", sha256_hex="0" * 64))
        right = UploadRequest(drops(PNG), "cat.png", "image", sha256_hex=DIGEST.upper())
        assert (await aws.upload(right)).path == AT
    assert (list(fake.objects), fake.uploads) == ([AT], {})


# With the fake: how it is -------------------------------------------------------------------------------------------


async def test_a_start_asks_nobody(fake: FakeAws, tmp_path: Path) -> None:
    async with Provided(fake.url, tmp_path) as aws:
        aws.public_url(AT)
        aws.limits()
    assert fake.received == []


async def test_all_is_well_where_it_is(fake: FakeAws, tmp_path: Path) -> None:
    async with Provided(fake.url, tmp_path) as aws:
        status = await aws.status()
    assert (status.ok, status.problems, status.account) == (True, (), "123456789012")
    assert status.details["domain"] == "d111111abcdef8.cloudfront.net"
    assert Capability.PURGE_TAG in status.capabilities
    assert Capability.IMAGES not in status.capabilities


async def test_what_is_wrong_is_named_and_not_raised(fake: FakeAws, tmp_path: Path) -> None:
    fake.enabled, fake.status, fake.aliases, fake.tag_header = False, "InProgress", ["www.example.org"], None
    fake.denied = {"head_bucket"}
    async with Provided(fake.url, tmp_path) as aws:
        status = await aws.status()
        told = {problem.code: problem.message for problem in status.problems}
        assert told.keys() == {"disabled", "deploying", "url", "tags", "bucket"}
        assert "allow s3:ListBucket in its policy" in told["bucket"]
        fake.denied = {"get_distribution"}
        told = {problem.code: problem.message for problem in (await aws.status()).problems}
        assert "allow cloudfront:GetDistribution in its policy" in told["distribution"]


async def test_what_is_not_configured_is_named(fake: FakeAws, tmp_path: Path) -> None:
    async with Provided(fake.url, tmp_path, bucket="", distribution_id="", cache_tag_header="") as aws:
        told = {problem.code: problem.message for problem in (await aws.status()).problems}
        assert "cdn.aws.bucket is empty" in told["bucket"]
        assert "cdn.aws.distribution_id is empty" in told["distribution"]
        assert aws.capabilities == Capability(0)
        with pytest.raises(Unsupported):
            aws.image_url("/a.png", ImageOptions(width=1))


async def test_neither_key_nor_secret_is_in_what_is_said(fake: FakeAws, tmp_path: Path) -> None:
    made = settings(fake.url, tmp_path).model_copy(update={"api_key": f"AKIAOTHER0000000ABCD:{SECRET}"})
    aws = AwsProvider(made)
    await aws.start()
    status = await aws.status()
    await aws.close()
    (problem,) = status.problems
    assert (status.ok, problem.code) == (False, "cdn_auth")
    assert "the credential is not taken" in problem.message
    for text in (repr(status), repr(aws._account._credential)):
        assert SECRET not in text
        assert "AKIAOTHER" not in text


async def test_without_a_credential_it_says_where_one_may_be(fake: FakeAws, tmp_path: Path) -> None:
    aws = AwsProvider(settings(fake.url, tmp_path).model_copy(update={"api_key": ""}))
    await aws.start()
    with pytest.raises(AuthError, match="AWS_ACCESS_KEY_ID"):
        await aws.purge(batch("/a"), "pg_1/0")
    await aws.close()
    assert fake.received == []


def test_a_file_is_named_by_its_path_in_urls_and_for_pictures(tmp_path: Path) -> None:
    made = AwsProvider(settings("http://127.0.0.1:9", tmp_path, prefix="our site/", image_url_style="thumbor"))
    assert made.public_url("a b/ü.png") == "https://cdn.example.com/our%20site/a%20b/%C3%BC.png"
    by_path = made.image_url("image/cat.png", ImageOptions(width=320)).url
    assert by_path == "https://cdn.example.com/fit-in/320x0/filters:quality(80)/our%20site/image/cat.png"
    assert by_path == made.image_url(made.public_url("image/cat.png"), ImageOptions(width=320)).url


async def test_a_disk_that_keeps_no_counts_keeps_nobody_from_purging(fake: FakeAws, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    async with Provided(fake.url, tmp_path / "taken", most_paths=2) as aws:
        await aws.purge(batch("/a"), "pg_1/0")
        with pytest.raises(QuotaExhausted):
            await aws.purge(batch("/b", "/c"), "pg_2/0")
        assert (await aws.status()).details["paths_this_month"] == 1


@pytest.mark.parametrize("key", ["only-one-part", ":secret", "AKIA:", "AKIA: secret"])
def test_a_key_that_is_none_is_refused_at_the_start(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="KEYID:SECRET"):
        AwsProvider(settings("http://127.0.0.1:9", tmp_path).model_copy(update={"api_key": key}))


async def test_nobody_listening_is_unavailable(tmp_path: Path) -> None:
    async with Provided("http://127.0.0.1:9", tmp_path, timeout=3.0) as aws:
        with pytest.raises(Unavailable, match="did not answer"):
            await aws.purge_state("I1")


async def in_parts(aws: AwsProvider, moto: Moto) -> tuple[Slow, asyncio.Task[StoredFile], Service]:
    """An upload that stands in its second part, and one who looks at the bucket."""
    eyes = Service(Account("aws", Credential(KEY_ID, SECRET), 20.0), Endpoint("s3", "us-east-1", moto.url))
    await eyes.call("create_bucket", {"Bucket": BUCKET})
    slow = Slow(PNG, bytes(PART), bytes(PART), b"end")
    upload = UploadRequest(slow(), "cat.png", "image", overwrite=True)
    return slow, asyncio.create_task(aws.upload(upload)), eyes


@pytest.mark.slow
async def test_an_upload_ends_though_the_provider_is_closed_meanwhile(moto: Moto, tmp_path: Path) -> None:
    aws = AwsProvider(settings(moto.url, tmp_path), now=lambda: NOW)
    await aws.start()
    slow, upload, eyes = await in_parts(aws, moto)
    await slow.begun.wait()
    closing = asyncio.create_task(aws.close())
    await asyncio.sleep(0)
    slow.go.set()
    stored = await upload
    await closing
    found = await eyes.call("head_object", {"Bucket": BUCKET, "Key": stored.path})
    assert found["ContentLength"] == len(PNG) + 2 * PART + 3
    await eyes.account.close()


@pytest.mark.slow
async def test_what_does_not_end_in_time_leaves_no_part_that_costs_money(moto: Moto, tmp_path: Path) -> None:
    aws = AwsProvider(settings(moto.url, tmp_path), now=lambda: NOW)
    await aws.start()
    slow, upload, eyes = await in_parts(aws, moto)
    await slow.begun.wait()
    assert (await eyes.call("list_multipart_uploads", {"Bucket": BUCKET})).get("Uploads")
    await aws.close(0)
    with pytest.raises(Unavailable, match="ask again"):
        await upload
    assert not (await eyes.call("list_multipart_uploads", {"Bucket": BUCKET})).get("Uploads")
    await eyes.account.close()
