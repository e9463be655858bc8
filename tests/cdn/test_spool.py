"""An upload that is read once, known, and read again."""

import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from balancer.cdn.errors import Full, Invalid, TooLarge
from balancer.cdn.spool import IN_MEMORY, Source, spooled

MOST = 3 * IN_MEMORY


async def drops(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 60_001):
        yield content[start : start + 60_001]


def source(form: str, content: bytes, folder: Path) -> Source:
    if form == "bytes":
        return content
    if form == "iterator":
        return drops(content)
    file = folder / "upload"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("form", ["bytes", "iterator", "path"])
@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, MOST])
async def test_it_is_known_by_its_content_and_read_as_often_as_one_likes(form: str, size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    kept = tmp_path / "kept" / "here"
    async with spooled(source(form, content, tmp_path), kept, MOST) as spool:
        assert (spool.size, spool.sha256_hex) == (size, sha256(content).hexdigest())
        assert spool.head == content[:4096]
        assert b"".join([piece async for piece in spool.pieces()]) == content
        assert b"".join([piece async for piece in spool.pieces()]) == content
        assert not kept.exists() or list(kept.iterdir()) == []


@pytest.mark.parametrize("form", ["bytes", "iterator", "path"])
async def test_more_than_is_taken_is_refused_and_a_source_is_not_read_further(form: str, tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match=f"more than {MOST} bytes"):
        async with spooled(source(form, bytes(MOST + 1), tmp_path), tmp_path, MOST):
            pass


async def test_what_the_source_raises_is_raised_as_it_is(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(IN_MEMORY + 1)
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError, match="the client is gone"):
        async with spooled(broken(), tmp_path, MOST):
            pass
    assert os.listdir(tmp_path) == []


async def test_a_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(Full, match=r"can not be kept in .*taken"):
        async with spooled(drops(bytes(IN_MEMORY + 1)), tmp_path / "taken", MOST):
            pass


async def test_a_file_that_changes_meanwhile_is_found_out(tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(b"before")
    async with spooled(file, tmp_path, MOST) as spool:
        file.write_bytes(b"after!")
        with pytest.raises(Invalid, match="changed while it was read"):
            assert [piece async for piece in spool.pieces()]


async def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "link"):
        with pytest.raises(Invalid, match="can not be read"):
            async with spooled(path, tmp_path, MOST):
                pass
