"""URLs of pictures as they are given out, and the judgement of those that come back."""

from __future__ import annotations

from collections.abc import Sequence

from balancer.cdn.errors import Invalid, NotFound
from balancer.cdn.images import options as spelling
from balancer.cdn.images.signing import (
    UNSIGNED,
    PictureSource,
    is_signed,
    put_together,
    read_source,
    sign,
    spell_source,
    take_apart,
)
from balancer.cdn.types import ImageOptions
from config.cdn import CdnImages


class NotSigned(Invalid):
    """Nobody has allowed this picture, or no longer."""

    code = "cdn_image_not_signed"


class Links:
    """By the settings of one configuration."""

    def __init__(self, settings: CdnImages, keys: Sequence[bytes], base: str = "") -> None:
        """The first of the keys signs. `base` is what comes before the path: https://cdn.example.com, or nothing."""
        self._settings = settings
        self._keys = tuple(keys)
        self._base = base

    def url(self, source: PictureSource, options: ImageOptions, expires: int | None = None) -> str:
        """Where a picture is; `expires` in Unix time, None: for good. Invalid: options out of bounds."""
        spelled = spelling.spell(self._within(spelling.checked(options)))
        what = spell_source(source)
        signature = sign(self._keys[0], spelled, what, expires) if self._settings.sign else UNSIGNED
        return self._base + self._settings.path + put_together(signature, spelled, what, expires)

    def read(self, rest: str, now: float) -> tuple[PictureSource, ImageOptions, int | None]:
        """What a path below `cdn.images.path` asks for, and until when it may; `now` is Unix time.

        NotSigned: it may not be asked for. Invalid: that is no picture's URL. NotFound: there is no such preset.
        """
        link = take_apart(rest)
        if link.preset is not None:
            return _of_preset(read_source(link.source)), self._preset(link.preset), None
        if (self._settings.sign or link.signature is not None) and not is_signed(link, self._keys):
            raise NotSigned("the signature of this URL is not right: URLs are made by optimize-image")
        if link.expires is not None and link.expires <= now:
            raise NotSigned("this URL has expired")
        return read_source(link.source), self._within(spelling.parse(link.options)), link.expires

    def _preset(self, name: str) -> ImageOptions:
        preset = self._settings.presets.get(name)
        if preset is None:
            raise NotFound(f"there is no preset {name}")
        return ImageOptions(preset.width, preset.height, preset.quality, preset.format, preset.fit)

    def _within(self, options: ImageOptions) -> ImageOptions:
        most = self._settings.max_side
        for name, side in (("w", options.width), ("h", options.height)):
            if side is not None and side * options.dpr > most:
                raise Invalid(
                    f"{name} times dpr must be at most {most} (cdn.images.max_side), not {side * options.dpr:g}"
                )
        return options


def _of_preset(source: PictureSource) -> PictureSource:
    """The source, if nobody can spell one picture's in as many ways as they like: nobody has signed it."""
    if source.url is not None:
        path, query, _ = source.url.partition("?")
        if query:
            raise Invalid("a preset takes URLs without a query: have optimize-image sign those that have one")
        if "//" in path.partition("://")[2]:
            raise Invalid("a preset takes URLs without empty parts in their path: have optimize-image sign others")
    return source
