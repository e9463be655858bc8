from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.errors import Invalid, NotFound
from balancer.cdn.images import options as spelling
from balancer.cdn.images.accept import chosen, named
from balancer.cdn.images.key_file import signing_keys
from balancer.cdn.images.links import Links, NotSigned
from balancer.cdn.images.signing import PictureSource, read_source, source_of, spell_source, take_apart
from balancer.cdn.types import ImageOptions
from config.cdn import CdnImages, ImagePreset

NOW = 1_800_000_000.0
KEYS = (b"k" * 32, b"o" * 32)
SETTINGS = CdnImages(presets={"small": ImagePreset(width=320, format="webp")})
CAT = PictureSource(path="image/2026/11/ab/abcd-cat.png")

sizes = st.none() | st.integers(1, spelling.LARGEST_SIDE)
options = st.builds(
    ImageOptions,
    width=st.integers(1, spelling.LARGEST_SIDE),
    height=st.integers(1, spelling.LARGEST_SIDE),
    quality=st.none() | st.integers(1, 100),
    format=st.sampled_from(spelling.FORMATS),
    fit=st.sampled_from(spelling.FITS),
    enlarge=st.booleans(),
    dpr=st.integers(10, 400).map(lambda hundredths: hundredths / 100),
    background=st.none() | st.from_regex(r"[0-9a-f]{6}", fullmatch=True),
) | st.builds(ImageOptions, width=sizes, height=sizes)


@given(options)
def test_what_is_spelled_is_read_as_it_was(wanted: ImageOptions) -> None:
    assert spelling.parse(spelling.spell(wanted)) == wanted


@given(options, st.randoms())
def test_of_all_spellings_one_is_taken_and_the_others_name_it(wanted: ImageOptions, rng: object) -> None:
    spelled = spelling.spell(wanted)
    parts = spelled.split(",")
    rng.shuffle(parts)  # type: ignore[attr-defined]  # a Random
    other = ",".join(parts)
    if other != spelled:
        with pytest.raises(Invalid, match="one picture has one URL") as refused:
            spelling.parse(other)
        assert repr(spelled) in str(refused.value)


@pytest.mark.parametrize(
    ("other", "spelled"),
    [
        ("w=0320", "w=320"),
        ("h=240,w=320", "w=320,h=240"),
        ("w=320,fit=contain", "w=320"),
        ("w=320,f=auto", "w=320"),
        ("w=320,dpr=1", "w=320"),
        ("w=320,dpr=2.00", "w=320,dpr=2"),
        ("w=320,enlarge=0", "w=320"),
        ("bg=FFFFFF", "bg=ffffff"),
        ("f=auto", "-"),
    ],
)
def test_a_spelling_with_more_than_it_needs_is_refused_by_the_one_that_is_taken(other: str, spelled: str) -> None:
    with pytest.raises(Invalid, match="one picture") as refused:
        spelling.parse(other)
    assert repr(spelled) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "none"),
        ("w=0", "from 1 to 16383"),
        ("w=16384", "from 1 to 16383"),
        ("w=-1", "whole number"),
        ("w=٣٢٠", "whole number"),
        ("w=1e3", "whole number"),
        ("w=320,w=320", "twice"),
        ("q=101", "from 1 to 100"),
        ("f=svg", "one of auto, avif"),
        ("f=gif", "one of auto, avif"),
        ("fit=cover,w=10", "needs both"),
        ("w=10,h=10,fit=crop", "one of contain"),
        ("dpr=nan", "a number"),
        ("dpr=9", "from 0.1 to 4"),
        ("bg=red", "six hex digits"),
        ("blur=9", "'blur=9' is none"),
        ("w=320," * 100, "at most 200"),
    ],
)
def test_what_is_no_option_is_told(text: str, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        spelling.parse(text)


# Sources.


@given(st.text(min_size=1, max_size=60).filter(lambda text: "\ud800" not in text))
def test_every_path_is_read_as_it_was_spelled(path: str) -> None:
    source = PictureSource(path=path)
    assert read_source(spell_source(source)) == source


@given(st.from_regex(r"https?://[!-~]{1,200}", fullmatch=True))
def test_every_url_that_people_write_is_read_as_it_was_spelled(url: str) -> None:
    source = source_of(url)
    assert read_source(spell_source(source)) == source


@pytest.mark.parametrize(
    ("other", "canonical"),
    [
        ("http://a.example", "http://a.example/"),
        ("http://a.example?", "http://a.example/"),
        ("http://a.example?b", "http://a.example/?b"),
        ("http://A.example:80/a.png", "http://a.example/a.png"),
        ("https://a.example:443/a.png", "https://a.example/a.png"),
        ("https://a.example/a.png#1", "https://a.example/a.png"),
        ("https://a.example/a.png?b=c#1", "https://a.example/a.png?b=c"),
        ("https://a.example/%61.png", "https://a.example/a.png"),
        ("https://a.example/%c3%a9|", "https://a.example/%C3%A9%7C"),
    ],
)
def test_of_all_spellings_of_a_url_one_is_taken_and_the_others_name_it(other: str, canonical: str) -> None:
    assert source_of(other) == PictureSource(url=canonical)
    with pytest.raises(Invalid, match="one picture has one URL") as refused:
        read_source(spell_source(PictureSource(url=other)))
    assert repr(canonical) in str(refused.value)
    assert read_source(spell_source(PictureSource(url=canonical))) == PictureSource(url=canonical)


@pytest.mark.parametrize("url", ["http://a.example/a.png?1", "http://a.example//a.png", "http://a.example/b//a.png"])
def test_a_preset_takes_no_url_that_anybody_could_vary(url: str) -> None:
    links, source = Links(SETTINGS, KEYS), PictureSource(url=url)
    with pytest.raises(Invalid, match="a preset takes URLs without"):
        links.read(f"p/small/{spell_source(source)}", NOW)
    signed = links.url(source, ImageOptions(320)).removeprefix(SETTINGS.path)
    assert links.read(signed, NOW)[0] == source
    plain = PictureSource(url="http://a.example/b/a.png")
    assert links.read(f"p/small/{spell_source(plain)}", NOW)[0] == plain


@pytest.mark.parametrize(
    "text",
    [
        "local/",
        "url/",
        "elsewhere/a.png",
        "local/a%2Fb.png",
        "local/%61.png",
        "local/a b.png",
        "local/%ff.png",
        "url/aHR0cDovL2EvYg==",
        "url/ZmlsZTovLy9ldGMvcGFzc3dk",
        "url/???",
        "url/" + "a" * 4000,
    ],
)
def test_a_source_that_is_none_or_spelled_otherwise_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_source(text)


def test_sources_are_taken_as_people_write_them() -> None:
    assert source_of("image/cat.png") == source_of("/image/cat.png") == PictureSource(path="image/cat.png")
    assert source_of("https://a.example/cat.png") == PictureSource(url="https://a.example/cat.png")
    with pytest.raises(Invalid):
        source_of("file:///etc/passwd")


# Signatures.

LINKS = Links(SETTINGS, KEYS, "https://cdn.example.com")


def below(url: str) -> str:
    return url.partition(SETTINGS.path)[2]


@given(options.filter(lambda wanted: max(wanted.width or 0, wanted.height or 0) * wanted.dpr <= SETTINGS.max_side))
def test_what_was_signed_is_believed(wanted: ImageOptions) -> None:
    assert LINKS.read(below(LINKS.url(CAT, wanted)), NOW) == (CAT, wanted, None)


@given(st.data())
def test_no_letter_of_what_was_signed_can_be_changed(data: st.DataObject) -> None:
    rest = below(LINKS.url(CAT, ImageOptions(320, 240, 80, "webp"), expires=int(NOW) + 60))
    at = data.draw(st.integers(0, len(rest) - 1))
    letter = data.draw(st.sampled_from("aZ09-_~/,=.%").filter(lambda one: one != rest[at]))
    with pytest.raises((Invalid, NotFound)):
        LINKS.read(rest[:at] + letter + rest[at + 1 :], NOW)


def test_a_signature_holds_for_no_other_options_and_no_other_source() -> None:
    signature = below(LINKS.url(CAT, ImageOptions(320))).partition("/")[0]
    for rest in (f"w=640/{spell_source(CAT)}", "w=320/local/image/dog.png"):
        with pytest.raises(NotSigned):
            LINKS.read(f"{signature}/{rest}", NOW)


def test_a_url_is_good_until_it_expires_and_its_time_is_signed() -> None:
    rest = below(LINKS.url(CAT, ImageOptions(320), expires=int(NOW)))
    assert LINKS.read(rest, NOW - 1)[2] == int(NOW)
    with pytest.raises(NotSigned, match="expired"):
        LINKS.read(rest, NOW)
    with pytest.raises(NotSigned, match="not right"):
        LINKS.read(rest.replace(f"~{int(NOW)}", f"~{int(NOW) + 100}"), NOW)
    with pytest.raises(NotSigned, match="not right"):
        LINKS.read(rest.replace(f"~{int(NOW)}", ""), NOW)


def test_the_first_key_signs_and_all_are_believed() -> None:
    old = Links(SETTINGS, KEYS[1:])
    new = Links(SETTINGS, KEYS[:1])
    assert LINKS.read(below(old.url(CAT, ImageOptions(320))), NOW)
    assert new.read(below(LINKS.url(CAT, ImageOptions(320))), NOW)
    with pytest.raises(NotSigned):
        old.read(below(LINKS.url(CAT, ImageOptions(320))), NOW)


def test_nothing_goes_without_a_signature_but_presets() -> None:
    with pytest.raises(NotSigned):
        LINKS.read(f"-/w=320/{spell_source(CAT)}", NOW)
    assert LINKS.read(f"p/small/{spell_source(CAT)}", NOW) == (CAT, ImageOptions(320, format="webp"), None)
    with pytest.raises(NotFound, match="no preset large"):
        LINKS.read(f"p/large/{spell_source(CAT)}", NOW)


def test_where_signatures_are_switched_off_a_hyphen_stands_for_one() -> None:
    open_to_all = Links(CdnImages(sign=False), KEYS)
    url = open_to_all.url(CAT, ImageOptions(320))
    assert url == f"/img/-/w=320/{spell_source(CAT)}"
    assert open_to_all.read(below(url), NOW) == (CAT, ImageOptions(320), None)


def test_what_would_be_larger_than_is_made_is_refused_in_both_directions() -> None:
    with pytest.raises(Invalid, match="max_side"):
        LINKS.url(CAT, ImageOptions(3000, dpr=2.0))
    with pytest.raises(Invalid, match="max_side"):
        Links(CdnImages(sign=False), KEYS).read(f"-/w=5000/{spell_source(CAT)}", NOW)


@pytest.mark.parametrize("rest", ["", "a", "-/w=320", "p/small", "p/Small/local/a.png", "short/w=320/local/a.png"])
def test_what_is_no_pictures_url_is_refused(rest: str) -> None:
    with pytest.raises(Invalid):
        LINKS.read(rest, NOW)


@given(st.text(max_size=80))
def test_whatever_comes_is_taken_apart_or_refused(rest: str) -> None:
    try:
        take_apart(rest)
    except Invalid:
        pass


# Formats.

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        (CHROME, "avif"),
        ("image/webp,*/*", "webp"),
        ("*/*", "plain"),
        ("image/*", "plain"),
        (None, "plain"),
        ("image/avif;q=0, image/webp;q=0.5", "webp"),
        ("IMAGE/WEBP ; q=0.000", "plain"),
        ("text/html, image/avif-sequence", "plain"),
    ],
)
def test_auto_is_the_best_that_is_named(accept: str | None, format_: str) -> None:
    assert chosen("auto", accept, SETTINGS.formats) == format_


def test_a_format_that_was_asked_for_is_not_changed_by_who_asks() -> None:
    assert chosen("png", CHROME, SETTINGS.formats) == "png"


def test_auto_chooses_among_those_that_are_configured() -> None:
    assert chosen("auto", CHROME, ("webp", "avif", "jpeg")) == "webp"
    assert chosen("auto", CHROME, ("jpeg",)) == "jpeg"
    assert chosen("auto", "*/*", ("avif", "png")) == "png"


@given(st.text(max_size=200))
def test_every_accept_is_one_of_four_wishes(accept: str) -> None:
    assert named(accept) <= {"avif", "webp"}


@pytest.mark.parametrize("expires", [None, int(NOW) + 60])
def test_who_knows_a_secret_can_sign_as_the_docs_say(tmp_path: Path, expires: int | None) -> None:
    links = Links(CdnImages(), signing_keys(("s3cret",), tmp_path))
    key = hashlib.sha256(b"pictures" + b"s3cret").digest()
    what = "w=320/local/image/cat.png"
    words = f"v1\n{what}" + (f"\n{expires}" if expires is not None else "")
    signature = base64.urlsafe_b64encode(hmac.digest(key, words.encode(), "sha256")).rstrip(b"=").decode()
    signed = f"{signature}{f'~{expires}' if expires is not None else ''}/{what}"
    assert links.read(signed, NOW) == (PictureSource(path="image/cat.png"), ImageOptions(320), expires)
