"""Files in a bucket of moto's server: what is stored is what was sent, and nothing stays behind of what failed."""

import tracemalloc
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256

import pytest

from balancer.cdn.aws.account import Account, Endpoint, Service
from balancer.cdn.aws.s3 import PART, S3, Content, at_aws, at_r2, in_parts, part_size
from balancer.cdn.errors import ConfigError, Invalid, NotFound
from tests.cdn.aws.moto import Moto

PICTURE = Content("image/png", "public, max-age=31536000, immutable", {"cache-tag": "post-42,home"})
KIB = 1024


async def pieces(content: bytes, size: int = 64 * KIB) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def numbered(size: int) -> bytes:
    """Bytes of which no two parts are the same."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


class Bucket:
    """The store under test, and what an independent client sees of the same bucket."""

    def __init__(self, account: Account, endpoint: Endpoint, prefix: str = "") -> None:
        self.s3 = S3(account, "pictures", endpoint, prefix)
        self._eyes = Service(account, Endpoint("s3", "us-east-1", endpoint.url))

    async def make(self) -> "Bucket":
        await self._eyes.call("create_bucket", {"Bucket": "pictures"})
        return self

    async def body(self, key: str) -> bytes:
        answer = await self._eyes.call("get_object", {"Bucket": "pictures", "Key": key})
        async with answer["Body"] as body:
            content: bytes = await body.read()
        return content

    async def left(self) -> Sequence[object]:
        """Uploads in parts that are neither completed nor aborted."""
        answer = await self._eyes.call("list_multipart_uploads", {"Bucket": "pictures"})
        return list(answer.get("Uploads") or ())


@pytest.fixture
async def bucket(moto: Moto, account: Account) -> Bucket:
    return await Bucket(account, at_aws("us-east-1", moto.url)).make()


# Parts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 20, 21, 95])
@pytest.mark.parametrize("step", [1, 3, 10, 64])
async def test_parts_are_full_but_the_last_and_hold_all_of_it(length: int, step: int) -> None:
    content = numbered(length)
    parts = [(part.read(), last) async for part, last in in_parts(pieces(content, step), 10)]
    assert b"".join(part for part, _ in parts) == content
    assert [len(part) for part, last in parts if not last] == [10] * (len(parts) - 1)
    assert [last for _, last in parts] == [False] * (len(parts) - 1) + [True]
    assert length == 0 or parts[-1][0]


def test_parts_grow_where_there_would_be_too_many() -> None:
    assert part_size(None) == part_size(PART * 10_000) == PART
    assert part_size(PART * 10_000 + 1) * 10_000 >= PART * 10_000 + 1


# What is stored ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 5])
async def test_what_is_stored_is_what_was_sent(bucket: Bucket, size: int) -> None:
    content = numbered(size)
    put = await bucket.s3.put("a/b.png", pieces(content), PICTURE, only_new=True)
    assert (put.size, put.created) == (size, True)
    assert sha256(await bucket.body("a/b.png")).digest() == sha256(content).digest()
    there = await bucket.s3.head("a/b.png")
    assert there is not None
    assert (there.size, there.content_type, there.metadata) == (size, "image/png", {"cache-tag": "post-42,home"})
    assert there.etag == put.etag
    assert await bucket.left() == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 2 * PART])
async def test_an_object_of_the_same_name_is_left_as_it_is_unless_it_may_be_replaced(bucket: Bucket, size: int) -> None:
    first, second = b"a" * size, b"b" * size
    await bucket.s3.put("a", pieces(first), PICTURE, only_new=True)
    again = await bucket.s3.put("a", pieces(second), PICTURE, only_new=True)
    assert not again.created
    assert await bucket.body("a") == first
    replaced = await bucket.s3.put("a", pieces(second), PICTURE, only_new=False)
    assert replaced.created
    assert await bucket.body("a") == second
    assert await bucket.left() == []


@pytest.mark.slow
async def test_a_source_that_fails_leaves_nothing_behind(bucket: Bucket) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * (PART // 2)
        raise RuntimeError("the client is gone")

    with pytest.raises(RuntimeError, match="the client is gone"):
        await bucket.s3.put("a", broken(), PICTURE, only_new=True)
    assert await bucket.s3.head("a") is None
    assert await bucket.left() == []


@pytest.mark.slow
async def test_a_long_upload_holds_two_parts_at_most(bucket: Bucket) -> None:
    async def long() -> AsyncIterator[bytes]:
        for number in range(8 * PART // (64 * KIB)):
            yield number.to_bytes(4, "big") * (16 * KIB)

    await bucket.s3.put("warm", pieces(b"x"), PICTURE, only_new=False)
    tracemalloc.start()
    try:
        put = await bucket.s3.put("a", long(), PICTURE, only_new=False)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert put.size == 8 * PART
    assert most < 3 * PART  # what is read ahead of the two, and all else, has a MiB or two


@pytest.mark.slow
async def test_deleting_is_done_whether_or_not_it_was_there(bucket: Bucket) -> None:
    await bucket.s3.put("a b/ü.png", pieces(b"x"), PICTURE, only_new=True)
    await bucket.s3.delete("a b/ü.png")
    await bucket.s3.delete("a b/ü.png")
    assert await bucket.s3.head("a b/ü.png") is None


@pytest.mark.slow
async def test_a_list_comes_in_pages_by_key_and_without_the_prefix(moto: Moto, account: Account) -> None:
    bucket = await Bucket(account, at_aws("us-east-1", moto.url), "site/").make()
    names = ["image/a b.png", "image/b.png", "image/ü.png", "other/c"]
    for name in names:
        await bucket.s3.put(name, pieces(name.encode()), PICTURE, only_new=True)
    assert await bucket.body("site/other/c") == b"other/c"
    first = await bucket.s3.page("image/", None, 2)
    assert ([item.key for item in first.items], first.more) == (names[:2], True)
    rest = await bucket.s3.page("image/", first.items[-1].key, 2)
    assert ([item.key for item in rest.items], rest.more) == (names[2:3], False)
    everything = await bucket.s3.page("", None, 5000)
    assert [item.key for item in everything.items] == names


@pytest.mark.slow
async def test_the_same_works_as_r2_wants_it(moto: Moto, account: Account) -> None:
    bucket = await Bucket(account, at_r2("0123", moto.url)).make()
    content = numbered(PART + 1)
    assert (await bucket.s3.put("a", pieces(content), PICTURE, only_new=True)).created
    assert not (await bucket.s3.put("a", pieces(b"b"), PICTURE, only_new=True)).created
    assert await bucket.body("a") == content
    assert at_r2("0123").url == "https://0123.r2.cloudflarestorage.com"


# What is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_bucket_that_is_not_there_is_told(moto: Moto, account: Account) -> None:
    store = S3(account, "pictures", at_aws("us-east-1", moto.url))
    with pytest.raises(NotFound, match="s3 head_bucket for bucket pictures answered 404"):
        await store.check()
    with pytest.raises(NotFound, match="404 NoSuchBucket"):
        await store.put("a", pieces(b"x"), PICTURE, only_new=True)


async def test_a_key_that_is_too_long_is_not_sent(account: Account) -> None:
    store = S3(account, "pictures", at_aws("us-east-1", "http://127.0.0.1:9"), "p/")
    with pytest.raises(Invalid, match="1 to 1024 bytes, and this one 1025"):
        await store.put("a" * 1023, pieces(b"x"), PICTURE, only_new=True)
    with pytest.raises(Invalid):
        await store.delete("")


async def test_an_account_that_is_closed_makes_no_new_clients(account: Account) -> None:
    await account.close()
    with pytest.raises(ConfigError, match="changed meanwhile"):
        await S3(account, "pictures", at_aws("us-east-1", "http://127.0.0.1:9")).check()
