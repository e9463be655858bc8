"""AWS as a CDN: files in S3, CloudFront before it, figures from CloudWatch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from mimetypes import guess_type
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

from balancer.cdn.aws.account import Account, Endpoint, Service, credential_of
from balancer.cdn.aws.budget import PathBudget, PathCounts, Spending
from balancer.cdn.aws.distribution import Described, described
from balancer.cdn.aws.invalidations import LIMITS, Distribution, invalidation, plan_purge, state
from balancer.cdn.aws.pictures import NONE, check_style, image_url
from balancer.cdn.aws.s3 import S3, Content, Item, Put, at_aws
from balancer.cdn.aws.statistics import Statistics
from balancer.cdn.aws.stream import Stream
from balancer.cdn.calls import Calls
from balancer.cdn.errors import AuthError, CdnError, ConfigError, Invalid, TooLarge
from balancer.cdn.local import kinds, names
from balancer.cdn.local.request import checked
from balancer.cdn.types import (
    Capability,
    CdnStats,
    FilePage,
    ImageOptions,
    LimitState,
    OptimizedImage,
    ProviderStatus,
    PurgeBatch,
    PurgePlan,
    PurgeResult,
    PurgeState,
    PurgeTarget,
    StatusProblem,
    StoredFile,
    UploadRequest,
)
from balancer.cdn.under_way import LONGEST, UnderWay
from balancer.cdn.uploads import Named, named, prepared
from balancer.http1.tag_fields import spelled
from config.cdn import Cdn

Value = TypeVar("Value")
GLOBAL: Final = "us-east-1"
"""Where CloudFront is asked and reports to, wherever the bucket is."""
METADATA: Final = "x-amz-meta-"
TAGS: Final = "cache-tag"
"""What tags are kept under, where the distribution reads no other field that S3 can send."""


class AwsProvider:
    """Everything is asked of AWS when it is asked for here; the provider remembers nothing but what it has spent."""

    name: Final = "aws"

    def __init__(
        self,
        settings: Cdn,
        budget: PathBudget | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`budget` keeps the months' paths over restarts. ConfigError: the package for AWS is not installed, or a
        setting can not be."""
        aws, endpoints = settings.aws, settings.endpoints
        check_style(aws.image_url_style)
        self._settings = settings
        self._now = now
        self._clock = clock
        self._under_way = UnderWay()
        self.calls = Calls(self.name)
        self._account = Account(
            self.name, credential_of(settings.api_key), settings.timeout, calls=self.calls, clock=clock
        )
        self._identity = Service(self._account, Endpoint("sts", GLOBAL, endpoints.api))
        self._cloudfront = Service(self._account, Endpoint("cloudfront", GLOBAL, endpoints.api))
        cloudwatch = Service(self._account, Endpoint("cloudwatch", GLOBAL, endpoints.statistics))
        self._last: ProviderStatus | None = None  # the last status
        self._statistics = Statistics(cloudwatch, aws.distribution_id)
        self._store = S3(self._account, aws.bucket, at_aws(aws.region, endpoints.storage), aws.prefix)
        folder = Path(settings.local.directory)
        self._budget = budget or PathCounts(folder / "aws-paths.db")
        self._spending = Spending(self._budget, aws.free_paths, aws.most_paths, now)
        self._spool = folder / "spool"
        own = urlsplit(settings.url).netloc
        self._hosts = tuple(dict.fromkeys(host.lower() for host in (*settings.hosts, *((own,) if own else ()))))

    @property
    def capabilities(self) -> Capability:
        """What the settings that are there are enough for."""
        aws = self._settings.aws
        found = Capability(0)
        if aws.bucket:
            found |= Capability.UPLOAD | Capability.DELETE | Capability.LIST
        if aws.distribution_id:
            found |= (
                Capability.PURGE_URL
                | Capability.PURGE_PREFIX
                | Capability.PURGE_ALL
                | Capability.PURGE_STATUS
                | Capability.STATS
            )
            if aws.cache_tag_header:
                found |= Capability.PURGE_TAG
        if aws.image_url_style != NONE:
            found |= Capability.IMAGES
        return found

    async def start(self) -> None:
        """Asks nothing of AWS yet: whoever needs it first connects."""
        await self._budget.open()

    async def close(self, patience: float = LONGEST) -> None:
        try:
            await self._under_way.end(patience)
        finally:
            await self._end()

    async def _end(self) -> None:
        await self._account.close()
        await self._budget.close()

    # How it is.

    async def status(self) -> ProviderStatus:
        """Who we are there, and whether bucket and distribution are what they should be; all three asked at once. As it
        was, while AWS wants to be asked less."""
        throttled = max(self._identity.throttle.wait(), self._cloudfront.throttle.wait())
        if self._last is not None and throttled > 0:
            return self._last
        self._last = await self._looked()
        return self._last

    async def _looked(self) -> ProviderStatus:
        began = self._clock()
        aws = self._settings.aws
        identity, found, bucket = await asyncio.gather(
            _told(self._identity.call("get_caller_identity", {})), _told(self._distribution()), _told(self._bucket())
        )
        problems = [
            StatusProblem(error.code if type(error) is AuthError else code, str(error))
            for code, error in (("credential", identity), ("distribution", found), ("bucket", bucket))
            # A credential that is not taken is one problem, and not three; HEAD of a bucket does not tell which it is.
            if isinstance(error, CdnError)
            and not (isinstance(identity, AuthError) and isinstance(error, AuthError) and error is not identity)
        ]
        details: dict[str, str | int | float | bool | None] = {
            "bucket": aws.bucket or None,
            "region": aws.region,
            "distribution": aws.distribution_id or None,
        }
        if not isinstance(identity, CdnError):
            details["identity"] = str(identity.get("Arn"))
        if not isinstance(found, CdnError):
            details |= found.details
            problems += found.problems(self._settings.url, aws.cache_tag_header)
        spent = await self._spending.spent()
        details |= {"paths_this_month": spent, "free_paths": aws.free_paths, "most_paths": aws.most_paths}
        if self._spending.is_high(spent):
            text = f"{spent} invalidation paths this month, of which {aws.free_paths} are free: purge by tags or stars"
            problems.append(StatusProblem("paths", text))
        return ProviderStatus(
            self.name,
            ok=not problems,
            checked_at=self._now(),
            latency_s=self._clock() - began,
            capabilities=self.capabilities,
            account=str(identity.get("Account")) if not isinstance(identity, CdnError) else None,
            problems=tuple(problems),
            details=details,
        )

    async def _distribution(self) -> Described:
        identifier = self._settings.aws.distribution_id
        if not identifier:
            raise ConfigError("cdn.aws.distribution_id is empty: there is nothing to purge", provider=self.name)
        return described(
            await self._cloudfront.call("get_distribution", {"Id": identifier}, about=f"distribution {identifier}")
        )

    async def _bucket(self) -> None:
        if not self._settings.aws.bucket:
            raise ConfigError("cdn.aws.bucket is empty: nothing can be uploaded", provider=self.name)
        await self._store.check()

    # Files.

    async def upload(self, request: UploadRequest) -> StoredFile:
        """Under a name that is made of the content, which has to be known first: see `spool`. A file that may be
        overwritten, or comes with its hash, goes through as it comes."""
        return await self._under_way.run(self._upload(request))

    async def _upload(self, request: UploadRequest) -> StoredFile:
        most = self._settings.max_upload
        if request.size_bytes is not None and request.size_bytes > most:
            raise TooLarge(f"the file has {request.size_bytes} bytes; at most {most} are taken (cdn.max_upload)")
        source = request.source
        if isinstance(source, Path | bytes) or not (request.overwrite or request.sha256_hex):
            async with prepared(request, self._spool, most, self._now()) as upload:
                put = await self._put(request, upload, upload.spool.pieces(), upload.spool.size)
                return self._stored(request, upload, put, upload.spool.sha256_hex)
        checked(request)
        stream = Stream(source, most)
        known = named(request, await stream.begin(), request.sha256_hex, self._now())
        put = await self._put(request, known, stream.pieces(request), request.size_bytes)
        return self._stored(request, known, put, stream.sha256_hex if put.created else request.sha256_hex)

    async def _put(self, request: UploadRequest, known: Named, pieces: AsyncIterator[bytes], size: int | None) -> Put:
        content = Content(known.content_type, known.cache_control, self._metadata(request.tags))
        return await self._store.put(known.path, pieces, content, only_new=not request.overwrite, size=size)

    def _stored(self, request: UploadRequest, known: Named, put: Put, sha256_hex: str | None) -> StoredFile:
        return StoredFile(
            path=known.path,
            url=self.public_url(known.path),
            size_bytes=put.size,
            content_type=known.content_type,
            sha256_hex=sha256_hex,
            etag=put.etag,
            provider=self.name,
            created=put.created,
            stored_at=self._now() if put.created else None,
            tags=request.tags,
        )

    def _metadata(self, tags: Sequence[str]) -> Mapping[str, str]:
        field = self._settings.aws.cache_tag_header.lower()
        name = field.removeprefix(METADATA) if field.startswith(METADATA) else TAGS
        return {name: ",".join(spelled(tag, "aws") for tag in tags)} if tags else {}

    async def delete(self, path: str) -> bool:
        """True: S3 does not tell whether it was there."""
        return await self._under_way.run(self._delete(path))

    async def _delete(self, path: str) -> bool:
        if not names.good(path):
            raise Invalid(f"{path!r} is no path of a file here")
        await self._store.delete(path)
        return True

    async def files(self, prefix: str, after: str | None, limit: int) -> FilePage:
        return await self._under_way.run(self._page(prefix, after, limit))

    async def _page(self, prefix: str, after: str | None, limit: int) -> FilePage:
        page = await self._store.page(prefix, after, limit)
        return FilePage(tuple(map(self._listed, page.items)), page.items[-1].key if page.more else None)

    def _listed(self, item: Item) -> StoredFile:
        return StoredFile(
            path=item.key,
            url=self.public_url(item.key),
            size_bytes=item.size,
            content_type=guess_type(item.key)[0] or kinds.UNKNOWN,
            sha256_hex=None,
            etag=item.etag,
            provider=self.name,
            stored_at=item.stored_at,
        )

    # Purges.

    def plan_purge(self, targets: Sequence[PurgeTarget], *, soft: bool, widen: bool) -> PurgePlan:
        aws = self._settings.aws
        distribution = Distribution(self._hosts, bool(aws.cache_tag_header), aws.query_strings)
        return plan_purge(targets, distribution, soft=soft, widen=widen)

    async def purge(self, batch: PurgeBatch, idempotency_key: str) -> PurgeResult:
        """One invalidation. QuotaExhausted: it would cost more paths than may be spent."""
        identifier = self._settings.aws.distribution_id
        if not identifier:
            raise ConfigError("cdn.aws.distribution_id is empty: nothing can be purged", provider=self.name)
        await self._spending.ask(len(batch.items))
        answer = await self._cloudfront.call(
            "create_invalidation",
            {"DistributionId": identifier, "InvalidationBatch": invalidation(batch, idempotency_key)},
            about=f"distribution {identifier}",
            of_purge=True,
        )
        await self._spending.pay(len(batch.items))
        made: Mapping[str, Any] = answer["Invalidation"]
        return PurgeResult(state(str(made.get("Status"))), str(made["Id"]))

    async def purge_state(self, provider_id: str) -> PurgeState:
        answer = await self._cloudfront.call(
            "get_invalidation",
            {"DistributionId": self._settings.aws.distribution_id, "Id": provider_id},
            about=f"invalidation {provider_id}",
            of_purge=True,
        )
        return state(str(answer["Invalidation"].get("Status")))

    def limits(self) -> Mapping[str, LimitState]:
        return LIMITS

    # Figures and pictures.

    async def stats(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        return await self._under_way.run(self._figures(from_, to, interval_s))

    async def _figures(self, from_: datetime, to: datetime, interval_s: int) -> CdnStats:
        return await self._statistics.stats(from_, to, interval_s, self._now())

    def image_url(self, source: str, options: ImageOptions) -> OptimizedImage:
        images = self._settings.images
        quality = images.quality if images is not None else None
        if names.good(source):  # of a file, as its upload was answered
            source = self.public_url(source)
        return image_url(self._settings.aws.image_url_style, self._settings.url, source, options, quality)

    def public_url(self, path: str) -> str:
        """Where the distribution has it, whose origin has no path of its own."""
        return f"{self._settings.url}/{quote(self._settings.aws.prefix + path, safe='/~')}"


async def _told(asked: Coroutine[Any, Any, Value]) -> Value | CdnError:
    try:
        return await asked
    except CdnError as error:
        return error
