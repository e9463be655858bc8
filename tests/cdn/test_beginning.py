"""The beginning of a file is looked at, and stays in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.beginning import beginning
from balancer.cdn.errors import Invalid
from balancer.cdn.local import kinds


async def coming(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("pieces", [[], [b"abc"], [b"a", b"b", b"cdef", b"g"], [b"abcd", b"efg"]])
async def test_what_was_looked_at_is_read_once_more(pieces: list[bytes]) -> None:
    head, source = await beginning(coming([piece for piece in pieces if piece]), 4)
    assert head == b"".join(pieces)[:4]
    assert not isinstance(source, Path | bytes)
    assert b"".join([piece async for piece in source]) == b"".join(pieces)


async def test_of_bytes_and_files_nothing_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcdefg")
    assert await beginning(tmp_path / "a", 4) == (b"abcd", tmp_path / "a")
    assert await beginning(b"abcdefg", 4) == (b"abcd", b"abcdefg")
    with pytest.raises(Invalid, match="can not be read"):
        await beginning(tmp_path / "b", 4)


MAGIC = [
    b"",
    b"\xff\xd8\xff",
    b"OggS",
    b"PK\x03\x04",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"<html>",
    b"<?xml?>",
    b"text",
]


@given(
    st.sampled_from(MAGIC),
    st.binary(max_size=20),
    st.sampled_from(["", "jpg", "ogg", "ogv", "docx", "xls", "csv", "zip", "svg", "html"]),
    st.none() | st.sampled_from(["image/png", "audio/ogg", "text/csv", "application/zip"]),
)
def test_a_file_is_always_taken_as_the_kind_that_it_is(
    magic: bytes, rest: bytes, extension: str, said: str | None
) -> None:
    head = magic + rest
    kinds.judge(kinds.kind_of(extension, head, said), extension, head, said)
