"""All of one configuration's pictures: their URLs, those who make them, and what was made before."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import time as wall_time  # noqa: TID251  # when URLs expire, and how old kept pictures are
from typing import Final

from balancer.cdn.errors import Invalid, SourceBlocked
from balancer.cdn.images.engine import Bounds
from balancer.cdn.images.fetch import Fetcher
from balancer.cdn.images.key_file import signing_keys
from balancer.cdn.images.links import Links
from balancer.cdn.images.pictures import Originals, Pictures
from balancer.cdn.images.pool import Pool
from balancer.cdn.images.signing import PictureSource, source_of
from balancer.cdn.images.sources import NoSource, Sources
from balancer.cdn.images.variants import Concerns, Variants
from balancer.cdn.types import ImageOptions, OptimizedImage, RenderedImage
from config.cdn import Cdn, CdnImages

KEPT_AT: Final = "pictures"
"""The folder of what was made, in that of the local provider, or in the state's."""
MAKER: Final = "local"


class Studio:
    """To be started and closed with the provider of the same configuration."""

    def __init__(
        self,
        settings: Cdn,
        images: CdnImages,
        state: Path,
        originals: Originals | None,
        wall: Callable[[], float] = wall_time,
        *,
        common: bytes = b"",
    ) -> None:
        """`state` is the folder for what has to survive a restart; `originals` has the files, None: nobody here.
        `common` is what several machines all know."""
        images = _with_own(settings, images)
        keys = signing_keys(images.secrets, state, common)
        local = settings.provider == MAKER
        self._files = settings.local.path if local else None
        self._base = settings.url
        self._sources = Sources(images.sources)
        self._fetcher = Fetcher(images) if images.sources else None
        self.path = images.path
        self.links = Links(images, keys, settings.url)
        self.pool = Pool(
            engine=images.engine,
            size=images.workers or max(1, len(os.sched_getaffinity(0)) - 1),
            queue=images.queue,
            memory=images.memory,
            timeout=images.timeout,
            bounds=Bounds(images.max_source, images.max_pixels, images.max_side),
        )
        folder = (Path(settings.local.directory) if local else state) / KEPT_AT
        self.variants = Variants(folder, images.cache, wall)
        self.pictures = Pictures(images, self.pool, self.variants, originals, self._fetcher, wall=wall)

    async def start(self) -> None:
        if self._fetcher is not None:
            await self._fetcher.start()
        await self.pictures.open()

    async def close(self) -> None:
        await self.pictures.close()
        if self._fetcher is not None:
            await self._fetcher.close()

    def covers(self, path: str) -> bool:
        """Whether a raw path is a picture's."""
        return path.startswith(self.path)

    def source(self, text: str) -> PictureSource:
        """What people mean by a path or a URL: the URLs of this CDN's files are its files.

        Invalid: neither; SourceBlocked: a URL that is not among `cdn.images.sources`.
        """
        if self._files is not None:
            for beginning in (f"{self._base}{self._files}", self._files):
                if text.startswith(beginning):
                    return PictureSource(path=text.removeprefix(beginning).partition("?")[0])
        source = source_of(text)
        if source.url is not None:
            self._check(source.url)
        elif self._files is None:
            raise Invalid("this CDN keeps no files here: a picture's source must be a URL")
        elif text.startswith("/"):
            raise Invalid(f"{text} is not below {self._files}, where the files of this CDN are")
        return source

    def url(self, source: str, options: ImageOptions, expires: datetime | None = None) -> OptimizedImage:
        """Where a picture is. Raises what `source` does, and Invalid for options out of bounds."""
        seconds = None if expires is None else int(expires.timestamp())
        until = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
        return OptimizedImage(self.links.url(self.source(source), options, seconds), options, MAKER, until)

    async def render(self, source: str, options: ImageOptions) -> RenderedImage:
        """Make a picture now, and keep it. Raises what `url` and `Pictures.picture` do."""
        self.url(source, options)  # within bounds
        return await self.pictures.render(self.source(source), options)

    async def forget(self, concerns: Concerns | None = None) -> int:
        """Throw away what was made of what is meant: paths of files without a slash before them, or URLs."""
        return await self.pictures.forget(concerns)

    async def forget_files(self, paths: Sequence[str]) -> int:
        """The same of these files."""
        files = frozenset(paths)
        return await self.pictures.forget(lambda source, tags: source in files)

    def _check(self, url: str) -> None:
        try:
            self._sources.read(url)
        except NoSource as error:
            path = url.partition("://")[2].partition("/")[2]
            hint = ""
            if self._files is not None and f"/{path}".startswith(self._files):
                hint = f"; if it is a file of this CDN, give its path: {path.removeprefix(self._files[1:])}"
            raise SourceBlocked(f"{url} {error}{hint}") from None


def _with_own(settings: Cdn, images: CdnImages) -> CdnImages:
    """Files of a CDN that changes no pictures are sources of those that are made here."""
    if settings.provider != "aws" or settings.aws.image_url_style != "none" or not settings.url:
        return images
    return images.model_copy(update={"sources": (*images.sources, f"{settings.url}/")})
