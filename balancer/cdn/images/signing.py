"""The URLs of pictures: /img/SIGNATURE/OPTIONS/SOURCE, signed so that nobody else makes the balancer compute."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from balancer.cdn.errors import Invalid
from balancer.cdn.images.sources import NoSource, spelled
from balancer.cdn.purging.patterns import placed

UNSIGNED: Final = "-"
"""Stands for the signature where none is asked for."""
PRESET: Final = "p"
"""Stands for the signature where the name of a preset stands for the options."""
LONGEST_SOURCE: Final = 3000
"""Letters of a source: base64 of a URL of two thousand."""
LONGEST_URL: Final = 2000

_SIGNATURE: Final = re.compile(r"([A-Za-z0-9_-]{43})(?:~([1-9][0-9]{0,11}))?")
"""All of an HMAC with SHA-256, and when it expires, in Unix time."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_HTTP: Final = re.compile(r"https?://[!-~]+")


@dataclass(frozen=True, slots=True)
class PictureSource:
    """What a picture is made of: a file of the CDN by its path, or what is at a URL."""

    path: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        return self.path if self.path is not None else self.url or ""


def foreign_tag(url: str) -> str:
    """What pictures of a URL can be purged by."""
    return f"source:{_short(url)}"


def path_tag(host: str, path: str) -> str:
    """What pictures of a URL can be purged by, whatever its query is."""
    return f"source-path:{_short(host + path)}"


def host_tag(host: str) -> str:
    """What pictures of all that is on a host can be purged by."""
    return f"source-host:{host}"


def foreign_tags(url: str) -> tuple[str, ...]:
    """All that pictures of a URL can be purged by."""
    host, text = placed(url)
    return foreign_tag(url), path_tag(host, text.partition("?")[0]), host_tag(host)


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Link:
    """The URL of a picture, taken apart and not judged yet."""

    signature: str | None
    """None: it has none, or a preset stands in its place."""
    preset: str | None
    options: str
    """As they are spelled; empty with a preset."""
    source: str
    """As it is spelled."""
    expires: int | None
    """Unix time."""


def take_apart(rest: str) -> Link:
    """What comes after `cdn.images.path` in a path, as it was sent. Invalid: that is no picture's URL."""
    first, _, others = rest.partition("/")
    second, _, source = others.partition("/")
    if not source:
        raise Invalid("a picture's URL is SIGNATURE/OPTIONS/SOURCE or p/PRESET/SOURCE; this one has fewer parts")
    if first == PRESET:
        if not _NAME.fullmatch(second):
            raise Invalid("a preset's name has small letters, digits and hyphens only")
        return Link(None, second, "", source, None)
    if first == UNSIGNED:
        return Link(None, None, second, source, None)
    match = _SIGNATURE.fullmatch(first)
    if match is None:
        raise Invalid("a signature has 43 letters of base64url, and perhaps ~ and the Unix time when it expires")
    return Link(match[1], None, second, source, int(match[2]) if match[2] else None)


def put_together(signature: str, options: str, source: str, expires: int | None = None) -> str:
    """What comes after `cdn.images.path`."""
    return f"{signature}{'' if expires is None else f'~{expires}'}/{options}/{source}"


def sign(key: bytes, options: str, source: str, expires: int | None = None) -> str:
    """The signature of a picture, of both as they are spelled."""
    words = f"v1\n{options}/{source}" + ("" if expires is None else f"\n{expires}")
    return urlsafe_b64encode(hmac.digest(key, words.encode(), "sha256")).rstrip(b"=").decode()


def is_signed(link: Link, keys: Sequence[bytes]) -> bool:
    """Whether one of these keys has signed it. All are tried, whichever fits."""
    given = (link.signature or "").encode()
    fits = [hmac.compare_digest(given, sign(key, link.options, link.source, link.expires).encode()) for key in keys]
    return link.signature is not None and any(fits)


def spell_source(source: PictureSource) -> str:
    """The one spelling of a source."""
    if source.path is not None:
        return "local/" + quote(source.path)
    return "url/" + urlsafe_b64encode((source.url or "").encode()).rstrip(b"=").decode()


def read_source(text: str) -> PictureSource:
    """The source that a text spells. Invalid: none, or it is not spelled as `spell_source` does."""
    if len(text) > LONGEST_SOURCE:
        raise Invalid(f"a source must have at most {LONGEST_SOURCE} letters, not {len(text)}")
    kind, _, rest = text.partition("/")
    if kind == "local" and rest:
        source = PictureSource(path=_path(rest))
    elif kind == "url" and rest:
        source = PictureSource(url=_url(rest))
    else:
        raise Invalid("a source is local/ and the path of a file, or url/ and a URL in base64url")
    canonical = spell_source(source)
    if text != canonical:
        raise Invalid(f"the source has to be spelled {canonical!r}, so that one picture has one URL")
    return source


def source_of(text: str) -> PictureSource:
    """A source as people write it: the path of a file, or a URL. Invalid: neither."""
    if "://" in text:
        return PictureSource(url=_checked(_spelled(_checked(text))))
    return PictureSource(path=text.lstrip("/"))


def _path(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Invalid("the path of a source must be UTF-8, percent-encoded") from None


def _url(text: str) -> str:
    try:
        url = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except (NotBase64, ValueError):
        raise Invalid("the URL of a source must be in base64url: letters, digits, - and _") from None
    canonical = _spelled(_checked(url))
    if url != canonical:
        raise Invalid(f"the URL of a source has to be spelled {canonical!r}, so that one picture has one URL")
    return url


def _spelled(url: str) -> str:
    """Its one spelling. One that is never fetched has none, and is told from others by whoever would fetch it."""
    try:
        return spelled(url)
    except NoSource:
        return url


def _checked(url: str) -> str:
    if len(url) > LONGEST_URL or not _HTTP.fullmatch(url):
        raise Invalid(
            f"the URL of a source must begin with http:// or https://, and have {LONGEST_URL} letters at most"
        )
    return url
