"""What each provider of a CDN needs, and what it is lacking: by the name of the setting and that of its variable."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Final

from config.cdn import Cdn
from config.cdn_environment import PLAIN, SECRETS
from config.findings import Findings
from config.problems import Path, listed, path_text

SHORTEST_SECRET: Final = 16
"""Characters of what URLs of pictures are signed with: a shorter one is found by trying."""
_VARIABLES: Final = {path: name for name, path in {**PLAIN, **SECRETS}.items()}
_GLOBAL_KEY: Final = re.compile(r"[0-9a-f]{37}")
_KEY_PAIR: Final = re.compile(r"[^\s:]+:[^\s]+")
_CLOUDFLARE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_DISTRIBUTION: Final = re.compile(r"[A-Z0-9]+")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+")
_FIELD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROVIDERS: Final = ("local", "cloudflare", "aws", "bunny")
_LOOPBACK: Final = re.compile(r"http://(127\.[0-9.]+|localhost|\[::1\])(:[0-9]+)?(/.*)?")


def check_needs(cdn: Cdn, found: Findings) -> None:
    needs = _Needs(cdn, found)
    if cdn.provider != "local":
        needs.must(("url",), "where clients reach the CDN")
    {"local": needs.local, "cloudflare": needs.cloudflare, "aws": needs.aws, "bunny": needs.bunny}[cdn.provider]()
    needs.others()
    needs.images()
    needs.endpoints()


class _Needs:
    def __init__(self, cdn: Cdn, found: Findings) -> None:
        self._cdn = cdn
        self._found = found

    def must(self, path: Path, what: str) -> None:
        """A problem, when there is nothing at a path below `cdn`."""
        if self._lacks(path):
            self._found.add(("cdn", *path), f"is needed by {self._cdn.provider}: {what}; {_ways(path)}")

    def without(self, paths: tuple[Path, ...], what: str) -> bool:
        """A warning, when there is nothing at one of them; whether there is not."""
        lacking = [path for path in paths if self._lacks(path)]
        if lacking:
            names = listed([path_text(("cdn", *path)) for path in lacking], "and")
            variables = listed([_VARIABLES[path_text(("cdn", *path))] for path in lacking], "and")
            self._found.warn(("cdn", *lacking[0]), f"without {names} there are no {what}; set it, or {variables}")
        return bool(lacking)

    def _form(self, path: Path, form: re.Pattern[str], expected: str) -> None:
        """A warning, when what is there has another form: the provider says what it takes, and may say otherwise."""
        value: object = self._cdn
        for piece in path:
            value = getattr(value, str(piece))
        if isinstance(value, str) and value and not form.fullmatch(value):
            self._found.warn(("cdn", *path), f"is not {expected}")

    def _lacks(self, path: Path) -> bool:
        value: object = self._cdn
        for piece in path:
            value = getattr(value, str(piece))
        whole = ("cdn", *path)
        return value in ("", None) and not self._found.unseen(whole) and not self._found.lost(whole)

    def local(self) -> None:
        if self._cdn.api_key:
            self._found.warn(("cdn", "api_key"), "has no effect: the local provider needs no account")

    def cloudflare(self) -> None:
        own = self._cdn.cloudflare
        self.without((("api_key",), ("cloudflare", "zone_id")), "purges and statistics")
        for key in ("zone_id", "account_id"):
            self._form(("cloudflare", key), _CLOUDFLARE_ID, "32 hex digits, as ids at Cloudflare are")
        if own.email is None and _GLOBAL_KEY.fullmatch(self._cdn.api_key):
            message = "has the form of a Global API Key: say in cloudflare.email whose it is, or take an API token"
            self._found.warn(("cdn", "api_key"), message)
        if own.storage == "images":
            self.without((("api_key",), ("cloudflare", "account_id")), "uploads")
        elif own.bucket or own.access_key_id or own.secret_access_key:
            for key in ("account_id", "bucket", "access_key_id", "secret_access_key"):
                if not (key == "account_id" and self._cdn.endpoints.storage):
                    self.must(("cloudflare", key), "files are kept in R2")
            self._package("aiobotocore", "aws", "uploads to R2")
        else:
            self.without((("cloudflare", "bucket"),), "uploads")

    def aws(self) -> None:
        own, key = self._cdn.aws, ("cdn", "api_key")
        if self._cdn.api_key and not _KEY_PAIR.fullmatch(self._cdn.api_key):
            self._found.add(key, "must be KEYID:SECRET; empty: what boto finds by itself")
        self.without((("aws", "distribution_id"),), "purges and statistics")
        self.without((("aws", "bucket"),), "uploads")
        self._form(("aws", "distribution_id"), _DISTRIBUTION, "capital letters and digits, such as EDFDVBD632BHDS5")
        self._form(
            ("aws", "bucket"), _BUCKET, "3 to 63 small letters, digits, dots and hyphens, as names of buckets are"
        )
        if not self._cdn.endpoints.storage:
            self._form(("aws", "region"), _REGION, "a region such as eu-central-1")
        if own.cache_tag_header and not _FIELD.fullmatch(own.cache_tag_header):
            message = "must be the name of a header field, such as x-amz-meta-cache-tag"
            self._found.add(("cdn", "aws", "cache_tag_header"), message, came=True)
        if own.image_url_style not in ("none", "thumbor") and "{url}" not in own.image_url_style:
            message = "must be none, thumbor, or a template with {url} in it"
            self._found.add(("cdn", "aws", "image_url_style"), message, came=True)
        self._package("aiobotocore", "aws", "the provider aws")

    def bunny(self) -> None:
        own = self._cdn.bunny
        self.without((("api_key",), ("bunny", "pull_zone_id")), "purges and statistics")
        if own.storage_zone or own.storage_password:
            for name in ("storage_zone", "storage_password"):
                self.must(("bunny", name), "files are kept in a storage zone")
        else:
            self.without((("bunny", "storage_zone"),), "uploads")

    def others(self) -> None:
        """What is said of a provider that is not this one."""
        for name in _PROVIDERS:
            if name == self._cdn.provider or name not in self._found.written("cdn"):
                continue
            # Pictures are the balancer's own work beside any provider, and so is the folder of their originals.
            if name != "local":
                self._found.warn(("cdn", name), f"has no effect: the provider is {self._cdn.provider}")

    def images(self) -> None:
        images, path = self._cdn.images, ("cdn", "images")
        if images is None:
            return
        for position, secret in enumerate(images.secrets):
            if len(secret) < SHORTEST_SECRET:
                message = f"must have at least {SHORTEST_SECRET} characters: openssl rand -hex 32 makes a good one"
                self._found.add((*path, "secrets", position), message)
        if not images.sign:
            message = "is false: whoever can reach the site can have it compute any picture in any size"
            self._found.warn((*path, "sign"), message)
        if not images.formats and not self._found.lost((*path, "formats")):
            self._found.add((*path, "formats"), "must have one at least")
        for name, preset in images.presets.items():
            if preset.fit != "contain" and (preset.width is None or preset.height is None):
                message = f"{preset.fit} needs both width and height: with one of them there is no box to fit"
                self._found.add((*path, "presets", name, "fit"), message)
        for position, source in enumerate(images.sources):
            if source.startswith("http://") and not _LOOPBACK.fullmatch(source):
                message = "is http://: pictures can be read and changed on the way"
                self._found.warn((*path, "sources", position), message)
        local = self._cdn.local.path
        if self._cdn.provider == "local" and (images.path.startswith(local) or local.startswith(images.path)):
            self._found.add((*path, "path"), f"must not begin as {local}, where files are, nor the other way round")
        if images.engine == "vips":
            self._package("pyvips", "vips", "pictures by vips")

    def endpoints(self) -> None:
        for name in ("api", "storage", "statistics"):
            url = getattr(self._cdn.endpoints, name)
            if url.startswith("http://") and not _LOOPBACK.fullmatch(url):
                self._found.warn(("cdn", "endpoints", name), "is http://: credentials can be read on the way")

    def _package(self, module: str, extra: str, what: str) -> None:
        if find_spec(module) is None:
            self._found.warn(("cdn", "provider"), f"cannot have {what} here: install balancer[{extra}]")


def _ways(path: Path) -> str:
    name = path_text(("cdn", *path))
    return f"set it, or {_VARIABLES[name]}"
