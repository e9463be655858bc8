"""URLs of pictures that Bunny makes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from balancer.cdn.bunny.pictures import image_url, signature
from balancer.cdn.errors import Invalid
from balancer.cdn.types import Fit, ImageOptions
from tests.cdn.golden import same_as

BASE = "https://shop.b-cdn.net"
HOSTS = ("shop.b-cdn.net", "cdn.example.com")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()

CASES: dict[str, tuple[str, ImageOptions]] = {
    "nothing": ("/a.png", ImageOptions()),
    "width": ("/a.png", ImageOptions(width=320)),
    "contain": ("/a.png", ImageOptions(320, 240, 80, "webp")),
    "cover": ("/a.png", ImageOptions(320, 240, fit="cover", format="jpeg")),
    "cover-of-one-side": ("/a.png", ImageOptions(320, fit="cover")),
    "enlarged": ("/a.png", ImageOptions(320, enlarge=True)),
    "twice-as-dense": ("/a.png", ImageOptions(320, 240, dpr=2.0)),
    "avif": ("/a.png", ImageOptions(320, format="avif")),
    "small-avif": ("/a.png", ImageOptions(320, 240, format="avif")),
    "with-a-query": ("/a.png?v=2&x=", ImageOptions(320)),
    "by-url": ("https://CDN.example.com/ä b/c.png", ImageOptions(320)),
    "encoded": ("/a%20b/c%2Fd.png", ImageOptions(320)),
}


def test_urls_are_what_they_were() -> None:
    lines = []
    for name, (source, options) in CASES.items():
        made = image_url(BASE, HOSTS, source, options)
        lines.append(f"{name}: {made.url}" + "".join(f"\n    {note}" for note in made.notes))
    same_as("bunny/pictures.txt", "\n".join(lines) + "\n")


def test_signed_urls_are_what_they_were() -> None:
    lines = []
    for name, (source, options) in CASES.items():
        made = image_url(BASE, HOSTS, source, options, token_key="k", now=NOW)
        assert made.expires_at == datetime(2026, 12, 1, tzinfo=UTC)
        lines.append(f"{name}: {made.url}")
    same_as("bunny/signed-pictures.txt", "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("parameters", "token"),
    [
        ({}, "HS256-o10JRWlsAItyAsdKS6jJKjabHN4FrFsplDHPV1idcX4"),
        ({"limit": "1000"}, "HS256-DAVapqNNED3Z7JkjRTYX0UOIHNtbHEuuhRNEc4A7mMQ"),
        ({"token_countries": "CA,US"}, "HS256-i5s3Uv7mnrFfN5nznwU2BxhILpnipYeE18TapV0WNFM"),
    ],
)
def test_signatures_are_those_that_bunny_has_published(parameters: dict[str, str], token: str) -> None:
    """The values of BunnyWay/BunnyCDN.TokenAuthentication, e2e/vectors.json."""
    assert signature("SecurityKey", "/300kb.jpg", 1598024587, parameters) == token


def test_all_that_is_signed_on_one_day_is_one_url() -> None:
    def made(hour: int, day: int = 23) -> str:
        now = datetime(2026, 11, day, hour, tzinfo=UTC).timestamp()
        return image_url(BASE, HOSTS, "/a.png", ImageOptions(320), token_key="k", now=now).url

    assert made(0) == made(23)
    assert made(0) != made(0, 24)


@pytest.mark.parametrize("fit", ["fill", "pad"])
def test_what_bunny_does_not_make_is_refused(fit: Fit) -> None:
    with pytest.raises(Invalid, match=f"fit {fit}: Bunny has no"):
        image_url(BASE, HOSTS, "/a.png", ImageOptions(320, 240, fit=fit))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a.png", "begins with a slash"),
        ("//evil.example/a.png", "begins with a slash"),
        ("https://elsewhere.example/a.png", "is not of it"),
        ("https://user@shop.b-cdn.net/a.png", "begins with a slash"),
        ("/a/../b.png", "between slashes"),
        ("/a/%2e%2e/b.png", "between slashes"),
        ("/a.png#top", "after #"),
        ("/a%2.png", "no two hex digits"),
        ("/a.png?width=5", "changed picture already, by width"),
        ("/a\\b.png", "no URL has"),
        ("/a\nb.png", "no URL has"),
    ],
)
def test_sources_that_are_none_are_refused(source: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        image_url(BASE, HOSTS, source, ImageOptions(320))


@pytest.mark.parametrize("options", [ImageOptions(0), ImageOptions(16_384), ImageOptions(9000, dpr=2.0)])
def test_sides_that_no_picture_has_are_refused(options: ImageOptions) -> None:
    with pytest.raises(Invalid, match="expected 1 to 16383 pixels"):
        image_url(BASE, HOSTS, "/a.png", options)
