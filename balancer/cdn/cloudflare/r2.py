"""Files in a bucket of R2, which speaks as S3 does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from balancer.cdn.aws.account import Account, Credential
from balancer.cdn.aws.s3 import S3, Content, Item, at_r2
from balancer.cdn.calls import Calls
from balancer.cdn.errors import Invalid
from balancer.cdn.local import kinds, names
from balancer.cdn.types import FilePage, StoredFile
from balancer.cdn.uploads import Upload
from config.cdn import Cdn

NAME: Final = "cloudflare"


class R2:
    """One bucket. What was there under the name stays in Cloudflare's caches until its public URL is purged."""

    def __init__(
        self,
        settings: Cdn,
        public_url: Callable[[str], str],
        calls: Calls,
        clock: Callable[[], float],
        today: Callable[[], datetime],
    ) -> None:
        """ConfigError: the package for S3 is not installed."""
        own = settings.cloudflare
        credential = Credential(own.access_key_id, own.secret_access_key)
        self._account = Account(NAME, credential, settings.timeout, calls=calls, clock=clock)
        self._bucket = S3(self._account, own.bucket, at_r2(own.account_id, settings.endpoints.storage))
        self._public_url = public_url
        self._today = today

    async def check(self) -> None:
        """CdnError: what the bucket or its key lacks."""
        await self._bucket.check()

    async def upload(self, upload: Upload) -> StoredFile:
        content = Content(upload.content_type, upload.cache_control)
        only_new = not upload.request.overwrite
        put = await self._bucket.put(
            upload.path, upload.spool.pieces(), content, only_new=only_new, size=upload.spool.size
        )
        return StoredFile(
            upload.path,
            self._public_url(upload.path),
            upload.spool.size,
            upload.content_type,
            upload.spool.sha256_hex,
            put.etag,
            NAME,
            created=put.created,
            stored_at=self._today() if put.created else None,
        )

    async def delete(self, path: str) -> bool:
        """True: it is not told whether it was there."""
        if not names.good(path):
            raise Invalid(f"expected the path of a file, as its upload was answered, not {path!r}")
        await self._bucket.delete(path)
        return True

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        page = await self._bucket.page(prefix, after, limit)
        return FilePage(tuple(map(self._listed, page.items)), page.items[-1].key if page.more else None)

    async def close(self) -> None:
        await self._account.close()

    def _listed(self, item: Item) -> StoredFile:
        return StoredFile(
            item.key,
            self._public_url(item.key),
            item.size,
            kinds.extension_type(names.split(item.key)[1]) or kinds.UNKNOWN,
            None,
            item.etag,
            NAME,
            stored_at=item.stored_at,
        )
