"""Both engines are held to the same pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, ImageStat

from balancer.cdn.images.engine import (
    Bounds,
    Made,
    Rejected,
    Transformer,
    Wanted,
    Wish,
    check_scans,
    gif_frames,
    plan,
)
from balancer.cdn.images.pillow_engine import PillowEngine
from tests.cdn.images import gallery
from tests.cdn.images.gallery import BLUE, GREEN, RED, YELLOW, as_bytes, gradient, quarters, rotated_with_gps, upright

BOUNDS = Bounds(20 * 1024 * 1024, 50_000_000, 4096)
WEBP = Wish("webp", 90)
EVERY: tuple[Wanted, ...] = ("avif", "webp", "jpeg", "png")
Make = Callable[..., Made]


def _vips() -> Transformer:
    pytest.importorskip("pyvips", reason="the extra balancer[vips] is not installed")
    from balancer.cdn.images.vips_engine import VipsEngine

    return VipsEngine()


@pytest.fixture(params=["pillow", "vips"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    engine = PillowEngine() if request.param == "pillow" else _vips()

    def made(data: bytes, wish: Wish = WEBP, **bounds: int) -> Made:
        return engine.make(gallery.save(tmp_path, "source", data), wish, replace(BOUNDS, **bounds))

    return made


def corners(data: bytes) -> list[tuple[int, ...]]:
    """The middle of each quarter, from the left upper to the right lower one."""
    image = upright(data).convert("RGB")
    width, height = image.size
    places = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    return [image.getpixel(place) for place in places]  # type: ignore[misc]  # RGB has tuples


def near(found: Any, wanted: Any, by: int = 14) -> bool:
    return all(abs(a - b) <= by for a, b in zip(found, wanted, strict=True))


def all_near(data: bytes, wanted: list[tuple[int, int, int]]) -> bool:
    return all(near(a, b) for a, b in zip(corners(data), wanted, strict=True))


def differs(one: Image.Image, other: Image.Image) -> float:
    """By how much a pixel of one differs from that of another, on average."""
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


@pytest.mark.parametrize("kind", EVERY)
def test_a_picture_is_as_large_as_was_asked_for_and_looks_as_before(make: Make, kind: Wanted) -> None:
    made = make(as_bytes(gradient(), "PNG"), Wish(kind, 90, width=160))
    image = upright(made.data)
    assert (made.format, image.format) == (kind, kind.upper())
    assert image.size == (made.width, made.height) == (160, 120)
    assert differs(image, gradient().resize((160, 120), Image.Resampling.LANCZOS)) < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_every_kind_that_is_taken_is_read(make: Make, kind: str) -> None:
    assert all_near(make(as_bytes(quarters(), kind)).data, [RED, GREEN, BLUE, YELLOW])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["contain", "cover"])
def test_a_picture_is_upright_however_the_camera_was_held(make: Make, orientation: int, fit: Any) -> None:
    made = make(rotated_with_gps(orientation), replace(WEBP, width=200, height=150, fit=fit))
    assert (made.width, made.height) == (200, 150)
    assert all_near(made.data, [RED, GREEN, BLUE, YELLOW])


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_nothing_is_left_of_where_and_with_what_it_was_taken(make: Make, kind: Wanted, source: str) -> None:
    data = rotated_with_gps(6, source)
    assert b"CameraMaker" in data
    made = make(data, Wish(kind, 90, width=100))
    image = upright(made.data)
    assert b"CameraMaker" not in made.data
    assert not image.getexif()
    assert not {"exif", "icc_profile", "xmp", "comment"} & image.info.keys()
    assert (made.width, made.height) == (100, 75)


def test_a_comment_in_a_picture_does_not_pass(make: Make) -> None:
    made = make(as_bytes(quarters(), "JPEG", comment=b"taken at home"), Wish("jpeg", 90))
    assert b"taken at home" not in made.data


def test_colours_of_another_profile_are_those_of_srgb_afterwards(make: Make) -> None:
    # A profile like sRGB's in which red and blue have changed places.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red, blue = srgb.index(b"rXYZ", 128), srgb.index(b"bXYZ", 128)
    swapped = bytearray(srgb)
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    made = make(as_bytes(Image.new("RGB", (40, 40), (220, 40, 30)), "PNG", icc_profile=bytes(swapped)))
    assert near(corners(made.data)[0], (30, 40, 220), by=25)


def test_a_profile_that_is_none_does_no_harm(make: Make) -> None:
    assert all_near(make(as_bytes(quarters(), "JPEG", icc_profile=b"no profile" * 20)).data, [RED, GREEN, BLUE, YELLOW])


def test_cmyk_is_seen_in_its_colours(make: Make) -> None:
    made = make(as_bytes(quarters().convert("CMYK"), "JPEG", quality=95), replace(WEBP, width=100))
    found = corners(made.data)
    strongest = [colour.index(max(colour)) for colour in found[:3]]
    assert strongest == [0, 1, 2]


def test_sixteen_bits_of_grey_keep_their_brightness(make: Make) -> None:
    image = upright(make(gallery.sixteen_bit_grey(), Wish("png", 90)).data).convert("RGB")
    assert all(near(image.getpixel((x, 30)), (x, x, x), by=2) for x in (0, 64, 128, 200, 255))


def _holed() -> Image.Image:
    image = quarters().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 200, 150))
    return image


@pytest.mark.parametrize("source", ["rgba", "palette"])
@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_what_one_can_see_through_stays_so(make: Make, source: str, kind: Wanted) -> None:
    image = _holed() if source == "rgba" else _holed().quantize(16)
    alpha = upright(make(as_bytes(image, "PNG"), Wish(kind, 90, width=200)).data).convert("RGBA").getchannel("A")
    assert (alpha.getpixel((50, 30)), alpha.getpixel((150, 120))) == (0, 255)


def test_a_jpeg_has_white_where_one_could_see_through_or_the_colour_that_was_asked_for(make: Make) -> None:
    data = as_bytes(_holed(), "PNG")
    assert near(corners(make(data, Wish("jpeg", 90)).data)[0], (255, 255, 255))
    assert near(corners(make(data, Wish("jpeg", 90, background="102030")).data)[0], (0x10, 0x20, 0x30))


def test_the_plain_format_is_png_only_for_what_one_can_see_through(make: Make) -> None:
    assert make(as_bytes(_holed(), "PNG"), Wish("plain", 90)).format == "png"
    assert make(as_bytes(quarters().convert("RGBA"), "PNG"), Wish("plain", 90)).format == "jpeg"
    assert make(as_bytes(quarters(), "PNG"), Wish("plain", 90)).format == "jpeg"


def test_cover_fills_the_box_with_the_middle(make: Make) -> None:
    made = make(as_bytes(quarters(400, 300), "PNG"), replace(WEBP, width=100, height=200, fit="cover"))
    assert (made.width, made.height) == (100, 200)
    assert all_near(made.data, [RED, GREEN, BLUE, YELLOW])


def test_fill_stretches(make: Make) -> None:
    made = make(as_bytes(quarters(400, 300), "PNG"), replace(WEBP, width=100, height=200, fit="fill"))
    assert (made.width, made.height) == (100, 200)
    assert all_near(made.data, [RED, GREEN, BLUE, YELLOW])


def test_pad_puts_the_colour_around(make: Make) -> None:
    made = make(
        as_bytes(quarters(400, 300), "PNG"), replace(WEBP, width=200, height=200, fit="pad", background="000000")
    )
    image = upright(made.data).convert("RGB")
    assert image.size == (200, 200)
    assert near(image.getpixel((100, 10)), (0, 0, 0))
    assert near(image.getpixel((40, 50)), RED)


def test_nothing_is_enlarged_unless_asked_for(make: Make) -> None:
    small = as_bytes(quarters(40, 30), "PNG")
    assert (lambda made: (made.width, made.height))(make(small, replace(WEBP, width=400))) == (40, 30)
    assert (lambda made: (made.width, made.height))(make(small, replace(WEBP, width=400, enlarge=True))) == (400, 300)


def test_what_is_made_stays_within_the_largest_side(make: Make) -> None:
    made = make(as_bytes(gradient(3000, 20), "PNG"), max_side=1000)
    assert (made.width, made.height) == (1000, 7)


def test_an_avif_of_more_than_four_million_pixels_becomes_webp(make: Make) -> None:
    made = make(as_bytes(Image.new("RGB", (2100, 2000), RED), "PNG"), Wish("avif", 60))
    assert made.format == "webp"


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_what_moves_the_first_picture_is_taken(make: Make, kind: str) -> None:
    made = make(gallery.animated(kind))
    assert getattr(upright(made.data), "n_frames", 1) == 1
    assert near(corners(made.data)[0], RED)


# What is refused.


def reason(make: Make, data: bytes, **bounds: int) -> str:
    with pytest.raises(Rejected) as refused:
        make(data, **bounds)
    return refused.value.reason


def test_a_bomb_is_refused_by_its_header(make: Make) -> None:
    data = gallery.bomb()
    assert len(data) < 200_000
    assert reason(make, data) == "pixels"


def test_a_jpeg_that_is_decoded_over_and_over_is_not_begun(make: Make) -> None:
    assert reason(make, gallery.many_scans()) == "decode"
    assert make(gallery.many_scans(more=0))


def test_pixels_of_all_frames_count_together(make: Make) -> None:
    assert reason(make, gallery.animated("WEBP", 4, (100, 100)), max_pixels=39_999) == "pixels"
    assert make(gallery.animated("WEBP", 4, (100, 100)), max_pixels=40_000)
    assert reason(make, gallery.animated("GIF", 4, (100, 100)), max_pixels=39_999) == "pixels"
    assert make(gallery.animated("GIF", 4, (100, 100)), max_pixels=40_000)


def test_a_gif_without_an_end_of_frames_is_refused_without_decoding_them(make: Make) -> None:
    assert reason(make, gallery.endless_gif(500_000)) == "pixels"


def test_a_file_that_is_too_large_is_refused(make: Make) -> None:
    assert reason(make, as_bytes(quarters(), "PNG"), max_bytes=500) == "bytes"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_picture_that_was_cut_off_is_refused(make: Make, kind: str) -> None:
    data = as_bytes(gallery.photo(400, 300), kind)
    assert reason(make, data[: len(data) // 2]) == "decode"


def test_lines_that_a_png_says_it_has_and_has_not_are_black_if_it_is_taken_at_all(make: Make) -> None:
    try:
        made = make(gallery.lying_png((100, 100), (100, 20)), Wish("png", 90))
    except Rejected:
        return
    below = upright(made.data).convert("RGB").crop((0, 21, 100, 100))
    assert below.getextrema() == ((0, 0), (0, 0), (0, 0)), "what memory held before has come out"


def test_lines_that_a_png_has_and_does_not_say_are_left_out(make: Make) -> None:
    made = make(gallery.lying_png((100, 20), (100, 100)))
    assert (made.width, made.height) == (100, 20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>",
        b"<html><script>alert(1)</script></html>",
        b"%PDF-1.7\n",
        b"II*\x00\x08\x00\x00\x00",
        b"BM" + b"\0" * 60,
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"push graphic-context\nviewbox 0 0 640 480\n",
    ],
)
def test_what_is_no_picture_that_is_taken_is_refused_whatever_libraries_could_do_with_it(
    make: Make, data: bytes
) -> None:
    assert reason(make, data) == "format"


@pytest.mark.parametrize("head", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x10\0\0\0WEBP"])
def test_what_only_begins_as_a_picture_is_refused(make: Make, head: bytes) -> None:
    assert reason(make, head + b"<script>alert(1)</script>" * 4) == "decode"


def test_nothing_of_what_is_hidden_in_a_picture_comes_out_of_it(make: Make) -> None:
    page = b"<script>alert(document.domain)</script>"
    made = make(as_bytes(quarters(), "GIF") + page)
    assert page not in made.data


def test_pillow_and_vips_agree(tmp_path: Path) -> None:
    vips, pillow = _vips(), PillowEngine()
    source = gallery.save(tmp_path, "source", as_bytes(gallery.gradient(1200, 900), "JPEG", quality=92))
    for wish in (
        Wish("png", 80, width=320),
        Wish("png", 80, width=200, height=200, fit="cover"),
        Wish("png", 80, width=200, height=200, fit="pad"),
        Wish("png", 80, width=300, height=100, fit="fill"),
    ):
        one, other = (upright(engine.make(source, wish, BOUNDS).data) for engine in (pillow, vips))
        assert one.size == other.size
        assert differs(one, other) < 4, wish


# Sizes.

sides = st.integers(1, 20_000)
boxes = st.none() | st.integers(1, 5000)
fits = st.sampled_from(["contain", "cover", "fill", "pad"])


@given(source=st.tuples(sides, sides), width=boxes, height=boxes, fit=fits, enlarge=st.booleans())
def test_a_plan_stays_within_the_box_the_source_and_the_bounds(
    source: tuple[int, int], width: int | None, height: int | None, fit: Any, enlarge: bool
) -> None:
    if fit != "contain" and (width is None or height is None):
        return
    found = plan(source, Wish("webp", 80, width, height, fit, enlarge), BOUNDS)
    left, top, right, bottom = found.crop
    assert 0 <= left < right <= source[0] + 1e-6
    assert 0 <= top < bottom <= source[1] + 1e-6
    for at in (0, 1):
        box = (width, height)[at] or BOUNDS.max_side
        assert 1 <= found.size[at] <= min(box, BOUNDS.max_side)
        assert found.size[at] <= found.canvas[at] <= BOUNDS.max_side
        if not enlarge and fit != "pad":
            assert found.canvas[at] <= source[at]


@given(source=st.tuples(st.integers(50, 5000), st.integers(50, 5000)), width=st.integers(50, 4000))
def test_proportions_are_kept(source: tuple[int, int], width: int) -> None:
    found = plan(source, Wish("webp", 80, width), BOUNDS)
    scale = found.size[0] / source[0], found.size[1] / source[1]
    assert abs(scale[0] * source[1] - scale[1] * source[1]) <= 1 + scale[0] * source[1] / found.size[0]


@given(st.binary(max_size=400))
def test_frames_of_whatever_calls_itself_a_gif_are_counted(data: bytes) -> None:
    assert 1 <= gif_frames(b"GIF89a" + data, 10) <= 11


@given(st.integers(1, 12))
def test_frames_are_counted_as_pillow_counts_them(frames: int) -> None:
    data = gallery.animated("GIF", frames)
    assert gif_frames(data, 100) == getattr(Image.open(BytesIO(data)), "n_frames", 1)


@pytest.mark.parametrize("more", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_a_jpeg_as_programs_write_it_has_few_scans_whatever_comes_behind_it(more: dict[str, Any]) -> None:
    data = as_bytes(gallery.photo(200, 150), "JPEG", quality=95, **more)
    check_scans(data + b"\xff\xda\x00\x02" * 1000, "jpeg")


@given(st.binary(max_size=400))
def test_scans_of_whatever_calls_itself_a_jpeg_are_counted(data: bytes) -> None:
    check_scans(b"\xff\xd8\xff" + data, "jpeg")


KINDS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
SAMPLES = {kind: as_bytes(gallery.gradient(48, 36), kind) for kind in KINDS}
SAMPLES["JPEG with place"] = rotated_with_gps(6)
SAMPLES["PNG with alpha"] = as_bytes(_holed().resize((40, 30)), "PNG")


@pytest.fixture(scope="module", params=["pillow", "vips"])
def engine(request: pytest.FixtureRequest) -> Transformer:
    return PillowEngine() if request.param == "pillow" else _vips()


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_picture_with_broken_bytes_is_made_or_refused_and_nothing_else(
    engine: Transformer, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(1, 4))] = data.draw(st.binary(max_size=4))
    try:
        made = engine.make(gallery.save(tmp_path, "source", bytes(content)), Wish("png", 80, width=20), BOUNDS)
    except (Rejected, MemoryError):
        return
    assert 1 <= upright(made.data).size[0] <= 20
