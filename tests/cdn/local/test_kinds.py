"""What a file is, by its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.errors import Invalid
from balancer.cdn.local import kinds
from balancer.cdn.types import KINDS, Kind
from tests.cdn.local import samples


@pytest.mark.parametrize(
    ("form", "mime", "extension"),
    [
        ("JPEG", "image/jpeg", "jpg"),
        ("PNG", "image/png", "png"),
        ("GIF", "image/gif", "gif"),
        ("WEBP", "image/webp", "webp"),
        ("AVIF", "image/avif", "avif"),
        ("BMP", "image/bmp", "bmp"),
        ("TIFF", "image/tiff", "tiff"),
        ("ICO", "image/x-icon", "ico"),
        ("PDF", "application/pdf", "pdf"),
    ],
)
def test_what_others_write_is_recognised(form: str, mime: str, extension: str) -> None:
    head = samples.picture(form, (32, 32))[: kinds.HEAD]
    assert kinds.sniff(head) == mime
    kind: Kind = "document" if form == "PDF" else "image"
    assert kinds.judge(kind, "", head) == kinds.Verdict(mime, extension)


@pytest.mark.parametrize(
    ("head", "kind", "extension", "mime"),
    [
        (samples.SVG, "image", "svg", "image/svg+xml"),
        (b"\xef\xbb\xbf  <SVG >", "image", "svg", "image/svg+xml"),
        (b'<!DOCTYPE svg PUBLIC "a" "b" [<!ENTITY x "y">]>\n<svg>', "image", "svg", "image/svg+xml"),
        (samples.sound(), "audio", "wav", "audio/wav"),
        (b"ID3\x04\x00", "audio", "mp3", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio", "mp3", "audio/mpeg"),
        (b"fLaC\x00", "audio", "flac", "audio/flac"),
        (b"OggS\x00", "audio", "ogg", "audio/ogg"),
        (b"OggS\x00", "audio", "opus", "audio/ogg"),
        (b"OggS\x00", "video", "ogv", "video/ogg"),
        (b"\x1aE\xdf\xa3\x01\x00\x42\x82\x84webm", "video", "webm", "video/webm"),
        (b"\x1aE\xdf\xa3\x01\x00\x42\x82\x88matroska", "video", "mkv", "video/x-matroska"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isom", "video", "mp4", "video/mp4"),
        (b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00isom", "audio", "m4a", "audio/mp4"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isom", "audio", "m4a", "audio/mp4"),
        (b"\x00\x00\x00\x18ftypqt  \x00\x00\x00\x00qt  ", "video", "mov", "video/quicktime"),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avif", "image", "avif", "image/avif"),
        (b"wOFF\x00\x01", "font", "woff", "font/woff"),
        (b"wOF2\x00\x01", "font", "woff2", "font/woff2"),
        (b"\x00\x01\x00\x00\x00\x0c", "font", "ttf", "font/ttf"),
        (b"OTTO\x00", "font", "otf", "font/otf"),
        (samples.zipped(), "archive", "zip", "application/zip"),
        (samples.gzipped(), "archive", "gz", "application/gzip"),
        (samples.gzipped(), "archive", "tgz", "application/gzip"),
        (samples.tarred(), "archive", "tar", "application/x-tar"),
        (b"7z\xbc\xaf\x27\x1c", "archive", "7z", "application/x-7z-compressed"),
        (samples.zipped(), "document", "epub", "application/epub+zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "document", "doc", "application/msword"),
        (b"plain words", "document", "txt", "text/plain; charset=utf-8"),
        (b"a,b\n1,2\n", "document", "csv", "text/csv; charset=utf-8"),
        (b'{"a": 1}', "document", "json", "application/json"),
        ("Grüße".encode(), "document", "md", "text/plain; charset=utf-8"),
    ],
)
def test_each_kind_has_its_types(head: bytes, kind: Kind, extension: str, mime: str) -> None:
    assert kinds.judge(kind, extension, head) == kinds.Verdict(mime, extension)


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("image", b"<html><script>alert(1)</script>"),
        ("image", b"plain words"),
        ("image", b""),
        ("image", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isom"),
        ("image", b"%PDF-1.7"),
        ("image", samples.zipped()),
        ("video", samples.SVG),
        ("audio", b"\x89PNG\r\n\x1a\n"),
        ("font", b"\x89PNG\r\n\x1a\n"),
        ("archive", b"plain words"),
        ("document", b"\x89PNG\r\n\x1a\n"),
        ("document", b"<!doctype html><p>"),
    ],
)
def test_bytes_that_are_none_of_the_kind_are_refused(kind: Kind, head: bytes) -> None:
    with pytest.raises(Invalid, match=f"expected an? {kind}"):
        kinds.judge(kind, "png", head)


@pytest.mark.parametrize(
    ("extension", "head"),
    [
        ("html", b"<html><body>"),
        ("txt", b" \n<script>alert(1)</script>"),
        ("xml", b'<?xml version="1.0"?><a xmlns:xlink="x"/>'),
        ("xhtml", b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>'),
        ("html", b"words that are a page by their name"),
        ("js", b"alert(1)"),
        ("css", b"body {}"),
        ("exe", b"MZ\x90\x00\x03"),
        ("", b"\x00\x01\x02"),
    ],
)
def test_what_a_browser_would_run_is_bytes_to_be_saved(extension: str, head: bytes) -> None:
    verdict = kinds.judge("other", extension, head)
    assert verdict.content_type == "application/octet-stream"
    assert not kinds.inline(verdict.content_type)


def test_a_wrong_extension_gives_way_to_that_of_the_bytes() -> None:
    assert kinds.judge("image", "png", samples.picture("JPEG")).extension == "jpg"
    assert kinds.judge("image", "jpeg", samples.picture("JPEG")).extension == "jpeg"
    assert kinds.judge("other", "html", samples.picture("PNG")).extension == "png"


def test_what_the_client_says_counts_only_where_bytes_and_name_say_nothing() -> None:
    assert kinds.judge("document", "", b"a,b\n", "text/csv").content_type == "text/csv; charset=utf-8"
    assert kinds.judge("document", "txt", b"a,b\n", "text/csv").content_type == "text/plain; charset=utf-8"
    assert kinds.judge("image", "", samples.picture("PNG"), "text/html").content_type == "image/png"
    assert kinds.judge("document", "", b"words", "text/html").content_type == "text/plain; charset=utf-8"


def test_a_text_may_end_within_a_character_where_it_is_cut() -> None:
    head = ("ü" * kinds.HEAD).encode()[: kinds.HEAD - 1] + "ü".encode()[:1]
    assert kinds.sniff(head) == kinds.PLAIN
    assert kinds.sniff(head[:-2] + b"\xc3") is None


@given(kind=st.sampled_from(KINDS), extension=st.sampled_from(["", "png", "html", "zip"]), head=st.binary(max_size=300))
def test_nothing_active_ever_comes_out(kind: Kind, extension: str, head: bytes) -> None:
    try:
        verdict = kinds.judge(kind, extension, head)
    except Invalid:
        return
    assert "html" not in verdict.content_type
    assert "javascript" not in verdict.content_type
    assert verdict.content_type not in ("application/xml", "text/xml", "text/css")
