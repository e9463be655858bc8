"""URLs of pictures at AWS: golden forms of each style, and sources and options that have none."""

import pytest

from balancer.cdn.aws.pictures import check_style, image_url
from balancer.cdn.errors import ConfigError, Invalid, Unsupported
from balancer.cdn.types import ImageOptions
from tests.cdn.golden import same_as

BASE = "https://cdn.example.com"
TEMPLATE = "{url}?w={width}&h={height}&q={quality}&f={format}"
OPTIONS = {
    "width": ImageOptions(width=320),
    "box": ImageOptions(width=320, height=240, quality=80, format="webp"),
    "cover": ImageOptions(width=320, height=240, fit="cover", format="avif"),
    "fill": ImageOptions(width=320, height=240, fit="fill", format="png"),
    "pad": ImageOptions(width=320, height=240, fit="pad", background="00ff00", format="jpeg"),
    "enlarged, twice as dense": ImageOptions(width=320, enlarge=True, dpr=2.0, format="gif"),
    "nothing": ImageOptions(),
}


def test_the_urls_are_those_that_somebody_has_looked_at() -> None:
    lines = []
    for style in (
        "thumbor",
        TEMPLATE,
        "https://img.example.com{path}?width={width}&fit={fit}",
        "/resized/{width}{path}",
    ):
        lines.append(f"{style}\n")
        for name, options in OPTIONS.items():
            made = image_url(style, BASE, "/a b/7.png", options)
            lines.append(f"  {name}: {made.url}\n" + "".join(f"    {note}\n" for note in made.notes))
    same_as("aws/pictures.txt", "".join(lines))


def test_aws_has_none_by_itself() -> None:
    with pytest.raises(Unsupported, match=r"cdn\.aws\.image_url_style"):
        image_url("none", BASE, "/a.png", ImageOptions(width=1))


def test_a_quality_is_the_configured_one_unless_one_is_asked_for() -> None:
    assert "quality(70)" in image_url("thumbor", BASE, "/a.png", ImageOptions(), 70).url
    assert "quality(30)" in image_url("thumbor", BASE, "/a.png", ImageOptions(quality=30), 70).url


def test_a_url_of_the_distribution_is_its_path() -> None:
    by_path = image_url("thumbor", BASE, "/a.png", ImageOptions(width=1))
    assert image_url("thumbor", BASE, "https://CDN.example.com/a.png", ImageOptions(width=1)).url == by_path.url


@pytest.mark.parametrize(
    "source",
    [
        "https://elsewhere.example.org/a.png",
        "https://cdn.example.com.evil.example/a.png",
        "//elsewhere.example.org/a.png",
        "a.png",
        "/a/../b.png",
        "/a/%2e%2e/b.png",
        "/a.png?x=1",
        "/a.png#x",
        "/a\\b.png",
        "/a\n.png",
        "/100%.png",
        "/filters:quality(1)/a.png",
    ],
)
def test_a_source_that_is_no_picture_of_the_distribution_has_no_url(source: str) -> None:
    with pytest.raises(Invalid):
        image_url("thumbor", BASE, source, ImageOptions(width=1))


@pytest.mark.parametrize(
    "options", [ImageOptions(width=0), ImageOptions(height=16_384), ImageOptions(width=9000, dpr=2)]
)
def test_a_size_that_no_format_has_is_refused(options: ImageOptions) -> None:
    with pytest.raises(Invalid, match="expected 1 to 16383 pixels"):
        image_url("thumbor", BASE, "/a.png", options)


@pytest.mark.parametrize("style", ["thumb", "{width}", "{url}?{size}", "{url}?w={width", "{url}}"])
def test_a_style_that_can_not_be_filled_in_is_refused(style: str) -> None:
    with pytest.raises(ConfigError, match=r"cdn\.aws\.image_url_style"):
        check_style(style)
