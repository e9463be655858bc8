"""URLs of pictures: options and sources in, URLs out."""

import pytest

from balancer.cdn.cloudflare.pictures import image_url
from balancer.cdn.errors import Invalid
from balancer.cdn.types import ImageOptions

BASE = "https://www.example.com"


def url(options: ImageOptions, source: str = "/avatars/7.png", quality: int | None = None) -> str:
    return image_url(BASE, source, options, quality).url.removeprefix(f"{BASE}/cdn-cgi/image/")


def test_a_picture_of_the_zone() -> None:
    found = image_url(BASE, "/avatars/7.png", ImageOptions(320, 240, 80, fit="cover", enlarge=True))
    assert found.url == f"{BASE}/cdn-cgi/image/width=320,height=240,fit=cover,quality=80,format=auto/avatars/7.png"
    assert (found.provider, found.notes) == ("cloudflare", ())


@pytest.mark.parametrize(
    ("options", "spelled"),
    [
        (ImageOptions(), "format=auto"),
        (ImageOptions(320), "width=320,fit=scale-down,format=auto"),
        (ImageOptions(320, enlarge=True), "width=320,fit=contain,format=auto"),
        (ImageOptions(320, 240, fit="cover"), "width=320,height=240,fit=crop,format=auto"),
        (ImageOptions(320, 240, fit="fill"), "width=320,height=240,fit=squeeze,format=auto"),
        (
            ImageOptions(9, 9, fit="pad", background="ff0080"),
            "width=9,height=9,fit=pad,format=auto,background=%23ff0080",
        ),
        (ImageOptions(9, background="ff0080"), "width=9,fit=scale-down,format=auto"),
        (ImageOptions(320, dpr=1.5), "width=320,fit=scale-down,format=auto,dpr=1.5"),
        (ImageOptions(format="webp"), "format=webp"),
        (ImageOptions(format="avif"), "format=avif"),
        (ImageOptions(format="jpeg", quality=1), "quality=1,format=jpeg"),
    ],
)
def test_options_are_spelled_as_cloudflare_has_them(options: ImageOptions, spelled: str) -> None:
    assert url(options) == f"{spelled}/avatars/7.png"


def test_the_configured_quality_is_taken_where_none_is_asked_for() -> None:
    assert url(ImageOptions(10), quality=60) == "width=10,fit=scale-down,quality=60,format=auto/avatars/7.png"
    assert url(ImageOptions(10, quality=90), quality=60).split(",")[2] == "quality=90"


@pytest.mark.parametrize("form", ["png", "gif"])
def test_a_format_that_cloudflare_has_not_is_left_as_it_is_and_told(form: str) -> None:
    found = image_url(BASE, "/a.png", ImageOptions(10, format=form))
    assert found.url.endswith("/image/width=10,fit=scale-down/a.png")
    assert found.notes == (f"format {form}: Cloudflare has none, the source's is kept",)
    with pytest.raises(Invalid, match="changes nothing"):
        image_url(BASE, "/a.png", ImageOptions(format=form))


def test_a_large_avif_may_become_something_else() -> None:
    (note,) = image_url(BASE, "/a.png", ImageOptions(800, format="avif", dpr=2)).notes
    assert "at most 1200 pixels" in note


@pytest.mark.parametrize("options", [ImageOptions(12_001), ImageOptions(height=6001, dpr=2)])
def test_more_pixels_than_cloudflare_makes_are_refused(options: ImageOptions) -> None:
    with pytest.raises(Invalid, match="1 to 12000 pixels"):
        url(options)


@pytest.mark.parametrize(
    ("source", "end"),
    [
        ("/a.png?v=2&w=%20", "/a.png?v=2&w=%20"),
        ("/caf%C3%A9.png", "/caf%C3%A9.png"),
        ("/café b.png", "/caf%C3%A9%20b.png"),
        ("https://www.example.com/a.png", "/a.png"),
        ("https://WWW.example.com/a.png", "/a.png"),
        ("http://www.example.com/a.png", "/a.png"),
        ("https://media.example.org/u/a.png?x=1", "/https://media.example.org/u/a.png?x=1"),
    ],
)
def test_a_source_stands_at_the_end_as_it_is(source: str, end: str) -> None:
    assert url(ImageOptions(), source) == f"format=auto{end}"


def test_pictures_of_other_sites_come_with_what_has_to_be_allowed() -> None:
    (note,) = image_url(BASE, "https://media.example.org/a.png", ImageOptions()).notes
    assert note.startswith("media.example.org has to be among the zone's allowed sources")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "a.png",
        "//evil.example/a.png",
        "ftp://h/a.png",
        "https://user:pw@www.example.com/a.png",
        "https://www.example.com",
        "http://media.example.org/a.png",
        "/a.png#part",
        "/a/../b.png",
        "/a/%2e%2E/b.png",
        "/cdn-cgi/image/w=1/a.png",
        "/%63dn-cgi/trace",
        "/a\\b.png",
        "/a\r\nb.png",
        "/100%.png",
        "javascript:alert(1)",
    ],
)
def test_what_is_no_picture_of_the_web_is_refused(source: str) -> None:
    with pytest.raises(Invalid):
        url(ImageOptions(), source)
