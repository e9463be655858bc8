"""Files at Cloudflare: pictures in Images, by the fake; all else in R2, by moto's S3."""

from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path

import boto3
import pytest

from balancer.cdn.cloudflare.images import LARGEST
from balancer.cdn.cloudflare.provider import Cloudflare
from balancer.cdn.errors import Invalid, MissingRight, NotFound, TooLarge, Unsupported
from balancer.cdn.types import Capability, UploadRequest
from tests.cdn.aws.moto import Moto
from tests.cdn.cloudflare.accounts import GIF, account, settings
from tests.cdn.fakes.cloudflare import TOKEN, Credential, FakeCloudflare

SHA = sha256(GIF).hexdigest()
PATH = f"image/2026/11/{SHA[:2]}/{SHA[:16]}-cat.gif"


def gif(**changed: object) -> UploadRequest:
    return UploadRequest(**{"source": GIF, "name": "cat.gif", "kind": "image"} | changed)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_picture_goes_to_images_and_its_url_is_theirs() -> None:
    fake = FakeCloudflare()
    async with account(fake, storage="images") as provider:
        stored = await provider.upload(gif())
    assert (stored.path, stored.content_type, stored.sha256_hex, stored.created) == (PATH, "image/gif", SHA, True)
    assert stored.url == f"https://imagedelivery.net/Vi7wi5KSItxGFsWRG2Us6Q/{PATH}/public"
    assert fake.images == {PATH: GIF}


async def test_a_picture_that_comes_in_pieces_is_stored_whole(tmp_path: Path) -> None:
    fake = FakeCloudflare()
    async with account(fake, storage="images", cdn_local={"directory": str(tmp_path)}) as provider:
        await provider.upload(gif(source=pieces(GIF[:5], GIF[5:])))
    assert fake.images == {PATH: GIF}


async def test_the_same_picture_again_is_the_one_that_is_there() -> None:
    async with account(FakeCloudflare(), storage="images") as provider:
        first = await provider.upload(gif())
        again = await provider.upload(gif())
    assert (first.created, again.created, again.url) == (True, False, first.url)


async def test_a_picture_is_overwritten_under_its_plain_name() -> None:
    fake = FakeCloudflare()
    async with account(fake, storage="images") as provider:
        await provider.upload(gif(overwrite=True))
        stored = await provider.upload(gif(source=GIF + b"\0", overwrite=True))
    assert (stored.path, fake.images) == ("image/cat.gif", {"image/cat.gif": GIF + b"\0"})


async def test_a_picture_is_deleted_once() -> None:
    fake = FakeCloudflare()
    async with account(fake, storage="images") as provider:
        stored = await provider.upload(gif())
        assert [await provider.delete(stored.path), await provider.delete(stored.path)] == [True, False]
    assert fake.images == {}


async def test_what_images_does_not_take_is_refused_before_it_is_sent() -> None:
    fake = FakeCloudflare()
    async with account(fake, storage="images") as provider:
        with pytest.raises(TooLarge, match="10000000 bytes"):
            await provider.upload(gif(source=GIF + bytes(LARGEST)))
        with pytest.raises(Invalid, match="gif, heic, jpeg, png, svg, webp, not image/bmp"):
            await provider.upload(gif(source=b"BM" + bytes(60), name="a.bmp"))
        with pytest.raises(Unsupported, match="gives files no tags"):
            await provider.upload(gif(tags=("a",)))
        with pytest.raises(Invalid, match="SHA-256"):
            await provider.upload(gif(sha256_hex="0" * 64))
        for path in ("image/", "image/../a", "image//a"):
            with pytest.raises(Invalid, match="the path of a file"):
                await provider.delete(path)
    assert fake.received == []


async def test_images_without_its_right_and_with_no_room_left() -> None:
    fake = FakeCloudflare()
    fake.credentials = {TOKEN: Credential(frozenset(("zone", "purge", "analytics")))}
    async with account(fake, storage="images") as provider:
        with pytest.raises(MissingRight, match="Account > Cloudflare Images > Edit"):
            await provider.upload(gif())
        (problem,) = (await provider.status()).problems
        assert "Account > Cloudflare Images > Read" in problem.message
        fake.credentials = {TOKEN: Credential()}
        fake.most_images = 0
        (problem,) = (await provider.status()).problems
        assert problem.code == "images_full"


async def test_without_a_bucket_only_pictures_are_stored() -> None:
    async with account(FakeCloudflare(), storage="images") as provider:
        assert Capability.UPLOAD in provider.capabilities
        assert Capability.LIST not in provider.capabilities
        with pytest.raises(Unsupported, match=r"cdn\.cloudflare\.bucket"):
            await provider.upload(UploadRequest(b"text", "a.txt", "document"))
    async with account(FakeCloudflare()) as provider:
        assert Capability.UPLOAD not in provider.capabilities
        for asked in (provider.upload(gif()), provider.delete("a"), provider.files("", None, 10)):
            with pytest.raises(Unsupported):
                await asked


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Moto(tmp_path_factory.mktemp("moto") / "log")
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", **KEYS)
    client.create_bucket(Bucket="media")
    yield server.url
    server.kill()


KEYS = {"aws_access_key_id": "r2-key-id", "aws_secret_access_key": "r2-secret-that-nobody-may-see"}


@pytest.fixture
async def r2(s3: str, tmp_path: Path) -> AsyncIterator[Cloudflare]:
    provider = Cloudflare(
        settings(
            bucket="media",
            access_key_id=KEYS["aws_access_key_id"],
            secret_access_key=KEYS["aws_secret_access_key"],
            cdn_endpoints={"storage": s3},
            cdn_local={"directory": str(tmp_path)},
        )
    )
    await provider.start()
    yield provider
    await provider.close()


@pytest.mark.slow
async def test_a_file_goes_to_r2_and_comes_back(r2: Cloudflare, s3: str) -> None:
    text = b"what is in it\n" * 200_000
    stored = await r2.upload(UploadRequest(pieces(text[:1_000_000], text[1_000_000:]), "notes.txt", "document"))
    again = await r2.upload(UploadRequest(text, "notes.txt", "document"))
    assert (stored.created, again.created, again.path) == (True, False, stored.path)
    assert (stored.url, stored.size_bytes) == (f"https://www.example.com/{stored.path}", len(text))
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1", **KEYS)
    held = client.get_object(Bucket="media", Key=stored.path)
    assert held["Body"].read() == text
    assert (held["ContentType"], held["CacheControl"]) == (
        "text/plain; charset=utf-8",
        "public, max-age=31536000, immutable",
    )
    page = await r2.files("document/", None, 10)
    assert [one.path for one in page.files] == [stored.path]
    assert await r2.delete(stored.path)
    assert (await r2.files("", None, 10)).files == ()


@pytest.mark.slow
async def test_what_is_overwritten_is_not_kept_by_caches(r2: Cloudflare, s3: str) -> None:
    for text in (b"one", b"two"):
        stored = await r2.upload(UploadRequest(text, "a.txt", "document", overwrite=True))
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1", **KEYS)
    held = client.get_object(Bucket="media", Key="document/a.txt")
    assert (held["Body"].read(), held["CacheControl"], stored.path) == (b"two", "no-cache", "document/a.txt")


@pytest.mark.slow
async def test_a_bucket_that_is_not_there_is_a_problem_and_shows_no_secret(s3: str) -> None:
    fake = FakeCloudflare()
    keys = {"access_key_id": KEYS["aws_access_key_id"], "secret_access_key": KEYS["aws_secret_access_key"]}
    async with fake.running() as base:
        provider = Cloudflare(
            settings(bucket="none-such", **keys, cdn_endpoints={"api": base, "storage": s3}), today=lambda: fake.now
        )
        await provider.start()
        status = await provider.status()
        with pytest.raises(NotFound):
            await provider.files("", None, 10)
        await provider.close()
    (problem,) = status.problems
    assert problem.code == "cdn_not_found"
    assert KEYS["aws_secret_access_key"] not in repr(status)
