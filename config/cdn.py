"""The CDN as an operator may write it: which provider, its account, the local one's folder, and pictures."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from config.pool import Model, Positive
from config.problems import Unfit, listed, nearest
from config.rates import Rate
from config.values import Duration, FilePath, Network, Size

ProviderName = Literal["local", "cloudflare", "aws", "bunny"]
PictureFormat = Literal["avif", "webp", "jpeg", "png"]
_FOLDER = r"^/([A-Za-z0-9._~-]+/)+$"
_HOST = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$"
_URL = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9.-]{0,252}(:[0-9]{1,5})?(/[!-~]*)?")
_SOURCE = re.compile(
    r"https?://(?P<star>\*\.)?(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]{0,252})(:(?P<port>[0-9]{1,5}))?(?P<path>/[!-~]*)"
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes whoever reads a host as browsers do take it for an IPv4 address."""
_DOUBTFUL = re.compile(r"(?i)[\\?#]|%(2f|5c|00)|(/|%2f)(\.|%2e){1,2}(/|;|%3b|\Z)")


def _provider(value: object) -> object:
    """Also what was nearly one; all else is for the type to refuse."""
    names = get_args(ProviderName)
    close = nearest(value, names) if isinstance(value, str) and value not in names else None
    if close is not None:
        raise Unfit(f"must be {listed(names)}", value, f': did you mean "{close}"?')
    return value


Provider = Annotated[ProviderName, BeforeValidator(_provider)]
UrlFolder = Annotated[str, Field(pattern=_FOLDER, examples=["/cdn/"])]
Host = Annotated[str, Field(pattern=_HOST, examples=["cdn.example.com"])]


def _url(text: str) -> str:
    if text and not _URL.fullmatch(text):
        raise Unfit("must be a URL such as https://cdn.example.com", text)
    return text.rstrip("/")


def _source(text: str) -> str:
    found = _SOURCE.fullmatch(text)
    if not found:
        raise Unfit(
            "must be the beginning of URLs, such as https://media.example.com/ or https://*.example.org/u/", text
        )
    if (port := found["port"]) is not None and not 0 < int(port) < 65_536:
        raise Unfit("must have a port from 1 to 65535", text)
    host = found["name"].lower()
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise Unfit("must have a host name of letters, digits and hyphens between dots", text)
    if _NUMBER.fullmatch(labels[-1]) and (found["star"] or not _is_address(host)):
        raise Unfit("must have a name, or an address such as 192.0.2.7, as its host", text)
    if _DOUBTFUL.search(found["path"]):
        raise Unfit("must have a path without dot segments, backslashes and encoded slashes, and no query", text)
    return text


def _is_address(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


BaseUrl = Annotated[str, AfterValidator(_url)]
SourcePrefix = Annotated[str, AfterValidator(_source)]


class CdnLocal(Model):
    """The provider that needs no account: files in a folder, served by the balancer."""

    directory: FilePath = "var/cdn"
    """Where files are kept, with what is known of them. Relative paths begin at the working directory."""
    path: UrlFolder = "/cdn/"
    """What the paths of their URLs begin with."""
    quota: Size | None = None
    """Bytes of all files together; null: as many as the disk has."""
    keep_free: Size = 1024 * 1024 * 1024
    """Bytes that are left free on the disk: uploads are refused below."""


class ImagePreset(Model):
    """One size that may be asked for by its name, without a signature."""

    width: Annotated[int, Field(ge=1, le=16_383)] | None = None
    height: Annotated[int, Field(ge=1, le=16_383)] | None = None
    fit: Literal["contain", "cover", "fill", "pad"] = "contain"
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    format: Literal["auto", "avif", "webp", "jpeg", "png"] = "auto"


class CdnImages(Model):
    """Pictures in other sizes and forms, made by the balancer in processes of their own."""

    path: UrlFolder = "/img/"
    """What the paths of their URLs begin with."""
    sign: bool = True
    """Only URLs that the balancer has signed, and presets. false: whoever can reach the site can have it compute."""
    secrets: tuple[str, ...] = ()
    """What URLs are signed with: the first one signs, all of them are believed. None: one is made and kept in the
    folder of `admin.state`."""
    presets: dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$", examples=["thumb", "large-2x"])], ImagePreset
    ] = Field(default_factory=dict)
    """Sizes by name: /img/p/NAME/SOURCE needs no signature."""
    sources: tuple[SourcePrefix, ...] = ()
    """What URLs of pictures elsewhere may begin with; none: only files of the CDN."""
    networks: tuple[Network, ...] = ()
    """Networks that are not public where those sources may be, such as 10.0.0.0/8; none: only public addresses."""
    formats: tuple[PictureFormat, ...] = ("avif", "webp", "jpeg", "png")
    """What `auto` may choose from."""
    quality: Annotated[int, Field(ge=1, le=100)] = 80
    max_source: Size = 20 * 1024 * 1024
    """Bytes of a picture that is taken."""
    max_pixels: Annotated[int, Field(ge=1, le=500_000_000)] = 50_000_000
    """Width by height of a picture that is taken, all of its frames together."""
    max_side: Annotated[int, Field(ge=1, le=16_383)] = 4096
    """Pixels of each side of what is made."""
    engine: Literal["pillow", "vips"] = "pillow"
    """vips takes a quarter less time for PNG and WebP, and needs the extra balancer[vips]."""
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Processes; null: one less than there are processors, one at least."""
    memory: Size = 1024 * 1024 * 1024
    """Bytes that each of them may have."""
    queue: Annotated[int, Field(ge=0, le=10_000)] = 32
    """Pictures that wait for a process; further ones are answered 503."""
    per_client: Rate | None = Rate.of("120/m")
    """Pictures that are made for one client, an IPv4 address or an IPv6 /64; as many as stand before the slash at once.
    Further ones are answered 429; what was made before is not counted. null: as many as it likes."""
    timeout: Positive = 10.0
    """Seconds in which a picture is fetched, and in which it is made; it may wait for either as long."""
    cache: Size = 256 * 1024 * 1024
    """Bytes of pictures made before, on disk; the longest unused go first."""


class CdnCloudflare(Model):
    """An account at Cloudflare. `cdn.api_key` is an API token."""

    zone_id: str = ""
    account_id: str = ""
    email: str | None = None
    """With it, `cdn.api_key` is the Global API Key of this account; null: a token."""
    storage: Literal["r2", "images"] = "r2"
    """Where uploads go; `images` takes pictures only, the rest goes to R2."""
    bucket: str = ""
    """Of R2."""
    access_key_id: str = ""
    """Of R2."""
    secret_access_key: str = ""
    """Of R2."""
    plan: Literal["free", "pro", "business", "enterprise"] = "free"
    """Decides how many purges are sent in what time."""
    batch: Annotated[int, Field(ge=1, le=500)] = 30
    """URLs, prefixes or tags in one call."""


class CdnAws(Model):
    """S3 and CloudFront. `cdn.api_key` is KEYID:SECRET; empty: what boto finds by itself."""

    distribution_id: str = ""
    bucket: str = ""
    region: str = "us-east-1"
    """Of the bucket."""
    prefix: str = ""
    """What all keys in the bucket begin with."""
    image_url_style: str = "none"
    """none: the balancer makes pictures; thumbor: Dynamic Image Transformation is deployed; or a template such as
    {url}?w={width}&h={height}&q={quality}&f={format}."""
    cache_tag_header: str = "x-amz-meta-cache-tag"
    """The field that the distribution reads tags from; empty: none."""
    query_strings: bool = True
    """They are a part of the distribution's cache key: a purge of /a.png then takes two paths, the other is /a.png?*.
    false is cheaper, and right for the policies that AWS recommends for files."""
    free_paths: Annotated[int, Field(ge=0)] = 1000
    """Invalidation paths in a month that cost nothing; four fifths of them are warned of."""
    most_paths: Annotated[int, Field(ge=0)] | None = None
    """Paths in a month beyond which purges are refused; null: none."""


class CdnBunny(Model):
    """A pull zone and a storage zone at Bunny. `cdn.api_key` is the account's API key."""

    pull_zone_id: Annotated[int, Field(ge=1)] | None = None
    storage_zone: str = ""
    storage_password: str = ""
    """The storage zone's own, not the account's key."""
    storage_host: Host = "storage.bunnycdn.com"
    """By its region: uk.storage.bunnycdn.com, ny.storage.bunnycdn.com..."""
    token_key: str = ""
    """Of the pull zone's token authentication; with it, URLs of pictures are signed."""


class CdnEndpoints(Model):
    """Where the provider's own interfaces are, in the place of their known addresses."""

    api: BaseUrl = ""
    storage: BaseUrl = ""
    statistics: BaseUrl = ""


class Cdn(Model):
    """What stands in front of the balancer, or in its place, to keep files near to their readers."""

    provider: Provider = "local"
    url: BaseUrl = ""
    """Where clients reach it: https://cdn.example.com. Empty: paths without a host, at the local provider only."""
    hosts: tuple[Host, ...] = ()
    """All host names that it serves, for purges by path; none: that of `url`. The local provider answers on these only,
    and with none on all."""
    api_key: str = ""
    """The provider's credential."""
    max_upload: Size = 100 * 1024 * 1024
    """Bytes of a file."""
    upload_from: tuple[FilePath, ...] = ()
    """Folders of this machine whose files the library may be told to upload by their path; none: no file."""
    tags: bool = True
    """Give the provider the tags of answers (`cache.tags`) in its own field; clients that do not come through it get
    none of them."""
    local: CdnLocal = CdnLocal()
    images: CdnImages | None = CdnImages()
    """true, false, or in detail."""
    cloudflare: CdnCloudflare = CdnCloudflare()
    aws: CdnAws = CdnAws()
    bunny: CdnBunny = CdnBunny()
    timeout: Positive = 10.0
    """Seconds for one call to the provider, uploads apart."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    """Tries of a purge that may be tried again."""
    give_up: Positive = 600.0
    """Seconds after which a purge that has not got through counts as failed."""
    coalesce: Duration = 0.25
    """Purges that come within this time go to the provider together."""
    settle: Duration = 0.0
    """Purge once more after this time, where a provider's inner caches refill from each other; 0s: no."""
    endpoints: CdnEndpoints = CdnEndpoints()


class RequireCdn(Model):
    """What becomes of requests that did not come through the CDNs named in `trusted_proxies`."""

    mode: Literal["log", "refuse"] = "log"
    """log: counted, and told in the access log; refuse: answered 403."""
    allow: tuple[Network, ...] = ()
    """Networks from which connections may come past the CDN all the same: admins, monitors."""
    header: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", examples=["X-Origin-Secret"])] = (
        "X-Origin-Secret"
    )
    """The field that carries `secret`; taken out before servers see it."""
    secret: str | None = None
    """What the CDN is told to send in `header`: others share its addresses, too. null: addresses are enough."""


def secret_fields(required: RequireCdn | None) -> tuple[str, ...]:
    """The fields in which a CDN shows that it is ours, and that nobody behind is told."""
    return (required.header,) if required is not None and required.secret is not None else ()
