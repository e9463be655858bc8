"""multipart/form-data as clients send it, however it is cut into pieces, and as nobody should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.forms import HEAD, VALUE, Form, Malformed, boundary_of

BOUNDARY = b"----b0undary"
HEADED = b'Content-Disposition: form-data; name="file"; filename="cat.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'


async def _pieces(cut: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in cut:
        yield piece


def read(*cut: bytes, boundary: bytes = BOUNDARY) -> list[tuple[str, str | None, str | None, bytes]]:
    async def whole() -> list[tuple[str, str | None, str | None, bytes]]:
        form = Form(_pieces(cut), boundary)
        found = []
        while (part := await form.next()) is not None:
            content = b"".join([piece async for piece in form.content()])
            found.append((part.name, part.filename, part.content_type, content))
        return found

    return asyncio.run(whole())


def body(*parts: bytes, boundary: bytes = BOUNDARY) -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--%b--\r\n" % boundary


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


@given(content=st.binary(max_size=300), places=st.lists(st.integers(0, 2000), max_size=8), near=st.integers(0, 14))
def test_a_file_comes_out_as_it_went_in_wherever_it_was_cut(content: bytes, places: list[int], near: int) -> None:
    # Content that nearly is the boundary is the hard case.
    content = content.replace(BOUNDARY, b"") + (b"\r\n--" + BOUNDARY)[:near]
    field = b'Content-Disposition: form-data; name="name"\r\n\r\na.jpg'
    whole = body(field, HEADED + content)
    assert read(*cut(whole, places)) == [
        ("name", None, None, b"a.jpg"),
        ("file", "cat.jpg", "image/jpeg", content),
    ]


@given(content=st.binary(max_size=200), names=st.lists(st.text("aä\"\\ %;'=.", min_size=1, max_size=9), max_size=3))
def test_what_another_client_writes_is_read_as_it_was_meant(content: bytes, names: list[str]) -> None:
    """aiohttp's client is the other one."""

    async def written() -> tuple[bytes, bytes]:
        form = aiohttp.FormData(quote_fields=False)
        for name in names:
            form.add_field("file", content, filename=name, content_type="image/png")
        form.add_field("kind", "image")
        whole = form()
        sink = Sink()
        await whole.write(sink)  # type: ignore[arg-type]  # all that it writes with
        return bytes(sink.data), whole.boundary.encode()  # type: ignore[attr-defined]  # of multipart

    if not names:
        return
    data, boundary = asyncio.run(written())
    found = read(data, boundary=boundary)
    assert [(name, file) for name, file, _, _ in found] == [*(("file", name) for name in names), ("kind", None)]
    assert {content_ for name, _, _, content_ in found if name == "file"} == {content}


class Sink:
    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, data: bytes) -> None:
        self.data += data


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('form-data; name="file"; filename="a%22b.jpg"', 'a"b.jpg'),  # browsers
        ('form-data; name="file"; filename="a\\"b.jpg"', 'a"b.jpg'),  # curl
        ("form-data; name=file; filename=a.jpg", "a.jpg"),
        ("form-data; filename*=UTF-8''%c3%a4.jpg; name=\"file\"", "ä.jpg"),
        ('form-data;name="file" ; filename=""', ""),
        ('Form-Data; NAME="file"', None),
    ],
)
def test_the_name_of_a_file_is_read_in_each_spelling(disposition: str, filename: str | None) -> None:
    whole = body(f"Content-Disposition: {disposition}\r\n\r\nx".encode())
    assert read(whole) == [("file", filename, None, b"x")]


GOOD = body(HEADED + b"x")


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "must end with its boundary"),
        (b"nothing of the kind at all, and long enough", "must begin with its boundary"),
        (b"preamble\r\n" + GOOD, "must begin with its boundary"),
        (GOOD[:-4], "must end with its boundary"),
        (GOOD[:-20], "must end with its boundary"),
        (GOOD + b"more", "nothing after its last boundary"),
        (body(b"no colon\r\n\r\nx"), "such as Name: value"),
        (body(b"A: 1\r\na: 2\r\n\r\nx"), "each of them once"),
        (body(b"A: 1\r\n\r\nx"), "each part must say Content-Disposition"),
        (body(b'Content-Disposition: attachment; name="a"\r\n\r\nx'), "each part must say Content-Disposition"),
        (body(b'Content-Disposition: form-data; name="a"; name="b"\r\n\r\nx'), "is not as it should be"),
        (body(b'Content-Disposition: form-data; name="a" nix\r\n\r\nx'), "is not as it should be"),
        (body(b"Content-Transfer-Encoding: base64\r\n" + HEADED + b"eA=="), "in no encoding"),
        (body(b"Content-Encoding: gzip\r\n" + HEADED + b"x"), "in no encoding"),
        (body(HEADED.replace(b"image/jpeg", b"multipart/mixed; boundary=x") + b"x"), "no form of its own"),
        (body(b"A: " + b"a" * HEAD + b"\r\n\r\nx"), "must be at most"),
        (body(HEADED + b"x\r\n--" + BOUNDARY + b"y"), "must be followed by a line break"),
        (body(b"A: \xff\r\n\r\nx"), "must be UTF-8"),
    ],
)
def test_what_is_no_form_is_refused(sent: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read(sent)
    with pytest.raises(Malformed, match=why):
        read(*(sent[at : at + 1] for at in range(len(sent))))


def test_a_field_that_is_no_file_is_bounded_and_text() -> None:
    async def value(content: bytes) -> str:
        form = Form(_pieces([body(b'Content-Disposition: form-data; name="a"\r\n\r\n' + content)]), BOUNDARY)
        await form.next()
        return await form.value()

    assert asyncio.run(value("ä".encode())) == "ä"
    with pytest.raises(Malformed, match="at most"):
        asyncio.run(value(b"a" * (VALUE + 1)))
    with pytest.raises(Malformed, match="UTF-8"):
        asyncio.run(value(b"\xff"))


@pytest.mark.parametrize("given", [{}, {"boundary": ""}, {"boundary": "a" * 71}, {"boundary": "ä"}, {"boundary": "a "}])
def test_a_boundary_must_be_one(given: dict[str, str]) -> None:
    with pytest.raises(Malformed, match="boundary"):
        boundary_of(given)
