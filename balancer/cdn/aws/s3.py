"""Files in a bucket, by the interface of S3: at AWS, and at Cloudflare R2."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from typing import Final

import structlog

from balancer.cdn.aws.account import Account, Endpoint, Parsed, Service
from balancer.cdn.errors import CdnError, Invalid, MissingRight, NotFound, ProtocolError
from balancer.cdn.types import IMMUTABLE

log = structlog.get_logger("balancer.cdn")

PART: Final = 8 * 1024 * 1024
"""Bytes of a part, and of the largest file that goes in one call. S3 takes parts from 5 MiB on."""
MOST_PARTS: Final = 10_000
SLOWEST: Final = 64 * 1024
"""Bytes in a second at which an upload may take its time; a slower one counts as broken."""
COMPLETING: Final = 60.0
"""More seconds for the end of an upload in parts, when the store puts them together."""
LONGEST_KEY: Final = 1024
"""Bytes, of S3 and R2 alike."""
ATTEMPTS: Final = 2
"""A part that could not be sent is sent once more: whoever uploads has only the whole, and that may be gone."""
_GONE: Final = "PreconditionFailed"


@dataclass(frozen=True, slots=True)
class Content:
    """What goes with the bytes of an object."""

    content_type: str
    cache_control: str = IMMUTABLE
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Names without x-amz-meta-; ASCII."""


@dataclass(frozen=True, slots=True)
class Put:
    """An object that is there now."""

    size: int
    etag: str | None
    created: bool
    """False: there was one of this name already, which was left as it is."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object, as a list or HEAD tells of it."""

    key: str
    size: int
    etag: str | None
    stored_at: datetime | None
    content_type: str | None = None
    """None in lists."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, by key."""

    items: tuple[Item, ...]
    more: bool


class S3:
    """One bucket, or what is below a prefix in it. Keys are without the prefix, in and out.

    An upload holds at most two parts in memory: one on its way, one being filled.
    """

    def __init__(self, account: Account, bucket: str, endpoint: Endpoint, prefix: str = "") -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._service = Service(account, endpoint)
        self._provider = account.provider
        self._about = f"bucket {bucket}"
        self._whole_checksums = not endpoint.least_checksums

    async def check(self) -> None:
        """The bucket is there and ours. CdnError: what it lacks."""
        await self._call("head_bucket", {})

    async def put(
        self,
        key: str,
        source: AsyncIterator[bytes],
        content: Content,
        *,
        only_new: bool,
        size: int | None = None,
    ) -> Put:
        """Store what `source` gives. `only_new` leaves an object of this name as it is; for names that are made of the
        content. `size` is what was announced, and decides how large parts are. Whatever fails, no part stays behind;
        what `source` raises is raised."""
        self._key(key)
        upload: _Multipart | None = None
        try:
            async with aclosing(in_parts(source, part_size(size))) as parts:
                async for part, last in parts:
                    if upload is None:
                        if last:
                            return await self._put_whole(key, part, content, only_new)
                        if only_new and (there := await self._there(key)) is not None:
                            return Put(there.size, there.etag, created=False)
                        upload = await self._begin(key, content)
                    await upload.add(part)
            assert upload is not None  # there is always a last part
            return await upload.complete(only_new)
        except BaseException:
            if upload is not None:
                await upload.abort()
            raise

    async def delete(self, key: str) -> None:
        """It is gone afterwards, whether or not it was there: S3 does not tell."""
        await self._call("delete_object", {"Key": self._key(key)})

    async def head(self, key: str) -> Item | None:
        """None: it is not there."""
        try:
            found = await self._call("head_object", {"Key": self._key(key)})
        except NotFound:
            return None
        return Item(
            key,
            found["ContentLength"],
            found.get("ETag"),
            found.get("LastModified"),
            found.get("ContentType"),
            found.get("Metadata") or {},
        )

    async def page(self, prefix: str, after: str | None, limit: int) -> Page:
        """Objects whose keys begin with `prefix`, by key, from behind `after` on; at most a thousand."""
        start = {"StartAfter": self.prefix + after} if after is not None else {}
        found = await self._call(
            "list_objects_v2",
            {"Prefix": self.prefix + prefix, "MaxKeys": max(1, min(limit, 1000)), **start},
        )
        items = tuple(
            Item(
                one["Key"].removeprefix(self.prefix),
                one["Size"],
                one.get("ETag"),
                one.get("LastModified"),
            )
            for one in found.get("Contents") or ()
        )
        return Page(items, bool(found.get("IsTruncated")) and bool(items))

    def _key(self, key: str) -> str:
        whole = self.prefix + key
        if not key or len(whole.encode()) > LONGEST_KEY:
            raise Invalid(f"an object's key has 1 to {LONGEST_KEY} bytes, and this one {len(whole.encode())}")
        return whole

    async def _there(self, key: str) -> Item | None:
        try:
            return await self.head(key)
        except MissingRight:  # a policy that lets nobody look; the store itself knows when the upload is completed
            return None

    async def _put_whole(self, key: str, body: BytesIO, content: Content, only_new: bool) -> Put:
        checksum = {"ChecksumSHA256": await asyncio.to_thread(_checksum, body)} if self._whole_checksums else {}
        condition = {"IfNoneMatch": "*"} if only_new else {}
        try:
            answer = await self._call(
                "put_object",
                {"Key": self._key(key), "Body": body, **_content(content), **checksum, **condition},
                more=ATTEMPTS * length(body) / SLOWEST,
            )
        except CdnError as error:
            if only_new and error.provider_code == _GONE:
                return Put(length(body), None, created=False)
            raise
        return Put(length(body), answer.get("ETag"), created=True)

    async def _begin(self, key: str, content: Content) -> _Multipart:
        answer = await self._call("create_multipart_upload", {"Key": self._key(key), **_content(content)})
        return _Multipart(self._service, self.bucket, self._key(key), answer["UploadId"])

    async def _call(self, operation: str, arguments: Mapping[str, object], *, more: float = 0.0) -> Parsed:
        return await self._service.call(operation, {"Bucket": self.bucket, **arguments}, about=self._about, more=more)


class _Multipart:
    """An upload in parts that has begun: one part on its way at a time."""

    def __init__(self, service: Service, bucket: str, key: str, upload: str) -> None:
        self._service = service
        self._names = {"Bucket": bucket, "Key": key, "UploadId": upload}
        self._about = f"bucket {bucket}"
        self._parts: list[dict[str, object]] = []
        self._sending: asyncio.Task[None] | None = None
        self._size = 0

    async def add(self, part: BytesIO) -> None:
        """Waits for the part before, and not for this one."""
        await self._sent()
        number = len(self._parts) + 1
        if number > MOST_PARTS:
            raise Invalid(f"a file has at most {MOST_PARTS} parts: announce its size, so that they are large enough")
        self._size += length(part)
        self._sending = asyncio.get_running_loop().create_task(self._send(number, part))

    async def complete(self, only_new: bool) -> Put:
        await self._sent()
        condition = {"IfNoneMatch": "*"} if only_new else {}
        try:
            answer = await self._call(
                "complete_multipart_upload",
                {"MultipartUpload": {"Parts": self._parts}, **condition},
                more=COMPLETING,
            )
        except CdnError as error:
            if only_new and error.provider_code == _GONE:
                await self.abort()
                return Put(self._size, None, created=False)
            raise
        if "ETag" not in answer:
            raise ProtocolError(
                f"s3 complete_multipart_upload for {self._about} answered without an ETag: nobody knows what is there",
                provider=self._service.account.provider,
            )
        return Put(self._size, answer["ETag"], created=True)

    async def abort(self) -> None:
        """Parts that stay behind cost money and are seen nowhere."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        try:
            await self._call("abort_multipart_upload", {})
        except NotFound:
            pass
        except CdnError as error:
            log.warning(
                "cdn_upload_left",
                bucket=self._names["Bucket"],
                key=self._names["Key"],
                reason=str(error),
                advice="a lifecycle rule with AbortIncompleteMultipartUpload removes such parts",
            )

    async def _sent(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            try:
                await sending
            except asyncio.CancelledError:
                sending.cancel()
                raise

    async def _send(self, number: int, part: BytesIO) -> None:
        answer = await self._call(
            "upload_part", {"PartNumber": number, "Body": part}, more=ATTEMPTS * length(part) / SLOWEST
        )
        checksums = {
            name: value for name, value in answer.items() if name.startswith("Checksum") and name != "ChecksumType"
        }
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"], **checksums})

    async def _call(self, operation: str, arguments: Mapping[str, object], *, more: float = 0.0) -> Parsed:
        return await self._service.call(
            operation, {**self._names, **arguments}, about=self._about, more=more, begun=True
        )


def at_aws(region: str, endpoint: str) -> Endpoint:
    """Where a bucket of AWS is."""
    return Endpoint("s3", region, endpoint, attempts=ATTEMPTS)


def at_r2(account_id: str, endpoint: str = "") -> Endpoint:
    """Where the buckets of a Cloudflare account are."""
    return Endpoint(
        "s3",
        "auto",
        endpoint or f"https://{account_id}.r2.cloudflarestorage.com",
        attempts=ATTEMPTS,
        least_checksums=True,
    )


def part_size(size: int | None) -> int:
    """So large that a file of this size has no more parts than are taken."""
    if size is None:
        return PART
    return max(PART, -(-size // MOST_PARTS))


async def in_parts(source: AsyncIterator[bytes], size: int) -> AsyncGenerator[tuple[BytesIO, bool]]:
    """All of it in parts of exactly `size` bytes, but the last, which may be empty; with each, whether it is that.

    They are files, and not bytes, so that they are sent in pieces, between which the loop does other things.
    """
    held = BytesIO()
    async for piece in source:
        left = memoryview(piece)
        while left:
            room = size - held.tell()
            if not room:
                held.seek(0)
                yield held, False
                held, room = BytesIO(), size
            held.write(left[:room])
            left = left[room:]
    held.seek(0)
    yield held, True


def length(part: BytesIO) -> int:
    """Bytes in it, wherever it has been read to."""
    return part.getbuffer().nbytes


def _checksum(body: BytesIO) -> str:
    return b64encode(sha256(body.getbuffer()).digest()).decode()


def _content(content: Content) -> dict[str, object]:
    return {
        "ContentType": content.content_type,
        "CacheControl": content.cache_control,
        "Metadata": dict(content.metadata),
    }
