"""Files as they are taken in: whole or not at all, once, within their limits, and nowhere but in their folder."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.cdn.errors import CdnError, Full, Invalid, TooLarge, Unavailable
from balancer.cdn.local.facts import attached
from balancer.cdn.local.store import PIECE, Store
from tests.cdn.local.samples import NOW, in_pieces, paths_in, picture, request, store_in, tarred
from tests.tree import ROOT


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = store_in(tmp_path)
    await store.start()
    yield store
    await store.close()


def incoming(store: Store) -> list[str]:
    return os.listdir(store.folder.incoming)


async def content_of(store: Store, path: str) -> bytes | None:
    opened = await store.open(path)
    if opened is None:
        return None
    content = opened.read(0, opened.size)
    opened.close()
    return content


# What is stored.


async def test_a_file_gets_a_path_made_of_its_content(store: Store) -> None:
    content = picture("PNG")
    digest = sha256(content).hexdigest()
    row, created = await store.upload(request(content, "Mein Bild.JPG", "image", tags=("a", "b")))
    assert row.path == f"image/2026/11/{digest[:2]}/{digest[:16]}-Mein-Bild.png"
    assert created
    assert (row.size, row.facts.sha256_hex, row.facts.content_type) == (len(content), digest, "image/png")
    assert (row.facts.name, row.facts.tags) == ("Mein Bild.JPG", ("a", "b"))
    assert row.facts.cache_control == "public, max-age=31536000, immutable"
    assert await content_of(store, row.path) == content
    assert await store.catalogue.page("", "", 10) == [row]
    assert incoming(store) == []


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
async def test_pieces_of_any_size_make_the_same_file(store: Store, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "x.bin").write_bytes(content)
    sources: list[Any] = [content, tmp_path / "x.bin", in_pieces(content, 1 << 14), in_pieces(content, 2 * PIECE + 3)]
    paths = set()
    for source in sources:
        row, _ = await store.upload(request(source, "x.bin", "other"))
        assert row.size == size
        paths.add(row.path)
    assert len(paths) == 1
    assert await content_of(store, paths.pop()) == content


async def test_the_same_content_is_stored_once(store: Store) -> None:
    first, created = await store.upload(request(tags=("a",)))
    again, created_again = await store.upload(request())
    assert (created, created_again) == (True, False)
    assert again == first
    other, created_other = await store.upload(request(name="other.txt"))
    assert created_other
    assert paths_in(store) == sorted([first.path, other.path])


@pytest.fixture
def told(store: Store) -> list[str]:
    """Paths of which copies are said to be no longer right."""
    told: list[str] = []

    async def changed(path: str) -> None:
        assert not store.catalogue.changing.locked()  # whoever throws copies away may take a while
        told.append(path)

    store.changed = changed
    return told


async def test_tags_that_come_with_a_file_that_is_there_are_added_to_its_own(store: Store, told: list[str]) -> None:
    first, _ = await store.upload(request())
    assert told == []
    again, created = await store.upload(request(tags=("b", "a")))
    assert (again.path, again.facts.tags, created) == (first.path, ("b", "a"), False)
    assert told == [first.path]
    both, _ = await store.upload(request(tags=("a", "c")))
    assert both.facts.tags == ("b", "a", "c")
    assert told == [first.path] * 2
    assert await store.upload(request(tags=("c", "b"))) == (both, False)
    assert len(told) == 2
    assert await store.catalogue.page("", "", 10) == [both]
    opened = await store.open(first.path)
    assert opened is not None
    assert opened.facts == both.facts
    assert opened.modified_ns == first.modified_ns
    opened.close()


async def test_tags_are_added_where_a_disk_keeps_no_attributes(
    store: Store, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("balancer.cdn.local.facts.attach", lambda *args: False)
    await store.upload(request(tags=("a",)))
    row, _ = await store.upload(request(tags=("b",)))
    assert await store.catalogue.page("", "", 10) == [row]
    assert row.facts.tags == ("a", "b")
    assert told == [row.path]


async def test_more_tags_than_a_file_may_have_change_nothing(store: Store, told: list[str]) -> None:
    row, _ = await store.upload(request(tags=tuple(map(str, range(60)))))
    with pytest.raises(Invalid, match=r"is there already and keeps the tags that it has: expected at most 64 tags"):
        await store.upload(request(tags=tuple(map(str, range(50, 65)))))
    assert await store.catalogue.page("", "", 10) == [row]
    assert (told, incoming(store)) == ([], [])


async def test_tags_that_can_not_be_kept_with_a_file_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    row, _ = await store.upload(request(tags=("a",)))
    monkeypatch.setattr("balancer.cdn.local.facts.MOST", 10)
    with pytest.raises(Unavailable, match="no more tags can be kept with it"):
        await store.upload(request(tags=("b",)))
    assert await store.catalogue.page("", "", 10) == [row]


async def test_whoever_keeps_copies_is_told_of_what_is_overwritten_or_deleted(store: Store, told: list[str]) -> None:
    over = {"name": "n.txt", "overwrite": True}
    await store.upload(request(b"a", **over))
    await store.upload(request(b"a", **over))
    assert told == ["document/n.txt"]
    await store.upload(request(b"a", **over, tags=("t",)))  # the same bytes, under other tags
    assert told == ["document/n.txt"] * 2
    await store.delete("document/n.txt")
    assert told == ["document/n.txt"] * 3
    await store.delete("document/../n.txt")
    assert len(told) == 3


async def test_copies_go_also_when_whoever_asked_is_gone(store: Store, told: list[str]) -> None:
    row, _ = await store.upload(request(b"a", "n.txt", overwrite=True))
    told.clear()
    begun, go = asyncio.Event(), asyncio.Event()
    remove = store.catalogue.index.remove

    async def slow(paths: Sequence[str]) -> None:
        begun.set()
        await go.wait()
        await remove(paths)

    store.catalogue.index.remove = slow  # type: ignore[method-assign]
    asked = asyncio.create_task(store.delete(row.path))
    await begun.wait()
    asked.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert told == [row.path]
    assert await store.catalogue.page("", "", 10) == []


async def test_the_same_content_in_another_month_is_the_same_file(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    await store.start()
    first, _ = await store.upload(request())
    await store.close()
    later = Store(store.directory, store.room.limits, lambda: NOW.replace(month=12))
    await later.start()
    assert await later.upload(request()) == (first, False)
    await later.delete(first.path)
    row, created = await later.upload(request())
    assert created
    assert row.path.startswith("document/2026/12/")
    await later.close()


async def test_the_same_file_by_many_at_once_is_new_to_one_of_them(store: Store) -> None:
    answers = await asyncio.gather(*(store.upload(request(in_pieces(b"x" * 9000, 700), "x.txt")) for _ in range(12)))
    assert len({row.path for row, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    assert await store.catalogue.totals() == (1, 9000)
    assert incoming(store) == []


async def test_what_may_be_overwritten_is_exchanged_in_one_step(store: Store) -> None:
    await store.upload(request(b"old", "news.txt", overwrite=True))
    opened = await store.open("document/news.txt")
    assert opened is not None
    row, created = await store.upload(request(b"newer", "news.txt", overwrite=True, tags=("n",)))
    assert (row.path, created, row.facts.cache_control) == ("document/news.txt", True, "no-cache")
    assert opened.read(0, 10) == b"old"
    assert opened.facts is not None
    assert opened.facts.sha256_hex == sha256(b"old").hexdigest()
    opened.close()
    assert await content_of(store, "document/news.txt") == b"newer"
    assert await store.catalogue.totals() == (1, 5)
    _, created = await store.upload(request(b"newer", "news.txt", overwrite=True))
    assert not created


async def test_bytes_and_what_is_said_of_them_belong_together_while_both_change(store: Store) -> None:
    """An ETag of one content with the bytes of another would be kept by caches."""
    texts = [b"a" * 100, b"b" * 5000]
    await store.upload(request(texts[0], "x.txt", overwrite=True))
    done = asyncio.Event()

    async def write() -> None:
        for turn in range(40):
            await store.upload(request(texts[turn % 2], "x.txt", overwrite=True))
        done.set()

    async def read() -> int:
        seen = 0
        while not done.is_set():
            opened = await store.open("document/x.txt")
            assert opened is not None
            assert opened.facts is not None
            assert opened.facts.sha256_hex == await store.reading(opened.digest)
            opened.close()
            seen += 1
        return seen

    _, *seen = await asyncio.gather(write(), read(), read())
    assert all(count and count > 5 for count in seen)


async def test_facts_are_kept_with_the_file(store: Store) -> None:
    row, _ = await store.upload(request())
    fd = os.open(store.folder.files / row.path, os.O_RDONLY)
    try:
        assert attached(fd, os.fstat(fd)) == row.facts
        os.utime(fd, (1, 1))
        assert attached(fd, os.fstat(fd)) is None
    finally:
        os.close(fd)


async def test_where_a_disk_keeps_no_attributes_the_index_knows(store: Store) -> None:
    row, _ = await store.upload(request(tags=("a",)))
    os.removexattr(store.folder.files / row.path, "user.balancer.file")
    opened = await store.open(row.path)
    assert opened is not None
    assert opened.facts is None
    assert await store.known(opened) == row.facts
    opened.close()
    with (store.folder.files / row.path).open("ab") as file:
        file.write(b"more")
    opened = await store.open(row.path)
    assert opened is not None
    assert await store.known(opened) is None
    opened.close()


@pytest.mark.parametrize(
    "change",
    [
        {"content_type": "text/html"},
        {"content_type": "image/png\r\nSet-Cookie: a=b"},
        {"cache_control": "max-age=1\r\nSet-Cookie: a=b"},
        {"tags": ["a\r\nSet-Cookie: a=b"]},
        {"tags": None},
        {"more": 1},
    ],
)
async def test_an_attribute_that_somebody_made_up_is_not_believed(store: Store, change: dict[str, Any]) -> None:
    row, _ = await store.upload(request())
    file = store.folder.files / row.path
    size, modified, fields = orjson.loads(os.getxattr(file, "user.balancer.file"))
    os.setxattr(file, "user.balancer.file", orjson.dumps([size, modified, {**fields, **change}]))
    opened = await store.open(row.path)
    assert opened is not None
    assert opened.facts is None
    opened.close()


async def test_an_upload_that_outlives_its_store_is_in_the_index(store: Store) -> None:
    """The settings have changed meanwhile, and another store is there for the same folder."""
    go = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield b"a"
        await go.wait()

    slow = asyncio.create_task(store.upload(request(waiting())))
    await asyncio.sleep(0)
    await store.close()
    later = Store(store.directory, store.room.limits, lambda: NOW)
    await later.start()
    await later.catalogue.filled()
    go.set()
    row, _ = await slow
    assert await later.catalogue.page("", "", 10) == [row]
    await later.close()


_TEXTS = st.sampled_from([b"a", b"b" * 5000, b""])
_NAMES = st.sampled_from(["x.txt", "y.txt"])
_STEPS = st.one_of(
    st.tuples(st.just("upload"), _NAMES, _TEXTS),
    st.tuples(st.just("overwrite"), _NAMES, _TEXTS),
    st.tuples(st.just("delete"), _NAMES, _TEXTS),
    st.tuples(st.just("restart"), _NAMES, _TEXTS),
    st.tuples(st.just("lose the index"), _NAMES, _TEXTS),
)


@pytest.mark.slow
@settings(max_examples=25)
@given(steps=st.lists(_STEPS, max_size=12))
def test_after_any_steps_folder_index_and_sums_agree(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    asyncio.run(_walked(tmp_path_factory.mktemp("store"), steps))


async def _walked(folder: Path, steps: list[tuple[str, str, bytes]]) -> None:
    expected: dict[str, bytes] = {}
    by_content: dict[tuple[str, bytes], str] = {}
    store = store_in(folder)
    await store.start()
    for step, name, text in steps:
        if step == "upload":
            row, created = await store.upload(request(text, name, "other"))
            assert created == (row.path not in expected)
            by_content[name, text] = row.path
            expected[row.path] = text
        elif step == "overwrite":
            row, created = await store.upload(request(text, name, "other", overwrite=True))
            assert created == (expected.get(row.path) != text)
            expected[row.path] = text
        elif step == "delete":
            for path in (f"other/{name}", by_content.get((name, text), "other/none.txt")):
                assert await store.delete(path) == (expected.pop(path, None) is not None)
        else:
            await store.close()
            if step == "lose the index":
                for file in store.directory.glob("index.sqlite3*"):
                    file.unlink()
            store = store_in(folder)
            await store.start()
            await store.catalogue.filled()
    assert paths_in(store) == sorted(expected)
    assert {row.path: row.size for row in await store.catalogue.page("", "", 100)} == {
        path: len(text) for path, text in expected.items()
    }
    assert await store.catalogue.totals() == (len(expected), sum(map(len, expected.values())))
    for path, text in expected.items():
        assert await content_of(store, path) == text
    assert incoming(store) == []
    await store.close()


# What is not.


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"size_bytes": 4}, "expected 4 bytes, as announced, and 5 came"),
        ({"size_bytes": 6}, "expected 6 bytes, as announced, and 5 came"),
        ({"sha256_hex": "0" * 64}, "with the SHA-256 0000"),
        ({"sha256_hex": "short"}, "64 hex digits"),
        ({"kind": "image"}, "expected an image"),
        ({"kind": "music"}, "expected one of image, video"),
        ({"name": ""}, "expected a name"),
        ({"name": "x" * 1001}, "expected a name"),
        ({"tags": ("a b",)}, "without a comma"),
        ({"tags": ("a,b",)}, "without a comma"),
        ({"tags": ("",)}, "without a comma"),
        ({"tags": ("x\r\nSet-Cookie: a",)}, "without a comma"),
        ({"tags": ("a", "file:image/cat.png")}, "do not begin with file: or source:"),
        ({"tags": ("source:ab",)}, "do not begin with file: or source:"),
        ({"tags": tuple(map(str, range(65)))}, "at most 64 tags"),
        ({"tags": tuple(f"{number:0200}" for number in range(20))}, "2000 characters"),
    ],
)
async def test_a_bad_request_stores_nothing(store: Store, more: dict[str, Any], fault: str) -> None:
    with pytest.raises(Invalid, match=fault):
        await store.upload(request(**more))
    assert paths_in(store) == []
    assert incoming(store) == []


async def test_a_good_sha256_may_be_in_capitals(store: Store) -> None:
    row, _ = await store.upload(request(sha256_hex=sha256(b"hello").hexdigest().upper(), size_bytes=5))
    assert row.size == 5


async def test_a_file_of_the_wrong_kind_is_not_read_to_its_end(store: Store) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(PIECE)

    with pytest.raises(Invalid, match="expected an image"):
        await store.upload(request(endless(), "x.png", "image"))
    assert taken <= 2
    assert incoming(store) == []


async def test_a_source_that_breaks_off_leaves_nothing(store: Store) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2 * PIECE)
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await store.upload(request(broken(), "x.bin", "other"))
    assert paths_in(store) == []
    assert incoming(store) == []


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8, 13, 21])
async def test_an_upload_that_is_given_up_leaves_nothing_open(store: Store, turns: int) -> None:
    await store.catalogue.filled()
    before = len(os.listdir("/proc/self/fd"))
    task = asyncio.create_task(store.upload(request(in_pieces(bytes(4 * PIECE), PIECE), "x.bin", "other")))
    for _ in range(turns):
        await asyncio.sleep(0.001)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    listed = [row.path for row in await store.catalogue.page("", "", 10)]
    assert listed == paths_in(store)
    assert incoming(store) == []
    assert len(os.listdir("/proc/self/fd")) <= before
    row, _ = await store.upload(request())
    assert row.path in paths_in(store)


async def test_a_path_to_upload_from_is_a_file_and_no_link(store: Store, tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("hello")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link.txt", "pipe", "nothing", "."):
        with pytest.raises(Invalid):
            await store.upload(request(tmp_path / name))
    row, _ = await store.upload(request(tmp_path / "real.txt"))
    assert row.size == 5


# Room.


async def test_a_file_that_is_too_large_is_refused_before_it_comes_and_while_it_does(tmp_path: Path) -> None:
    store = store_in(tmp_path, file=1000)
    await store.start()
    with pytest.raises(TooLarge, match=r"cdn\.max_upload"):
        await store.upload(request(in_pieces(b"x" * 10, 10), size_bytes=1001))
    with pytest.raises(TooLarge):
        await store.upload(request(in_pieces(b"x" * 1001, 10)))
    row, _ = await store.upload(request(in_pieces(b"x" * 1000, 10)))
    assert paths_in(store) == [row.path]
    await store.close()


async def test_a_quota_counts_files_and_what_is_coming(tmp_path: Path) -> None:
    store = store_in(tmp_path, most=10_000)
    await store.start()
    first, _ = await store.upload(request(b"a" * 6000))
    with pytest.raises(Full, match=r"6000 of 10000 bytes \(cdn\.local\.quota\)"):
        await store.upload(request(b"b" * 4001))
    go = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield b"c" * 3000
        await go.wait()

    slow = asyncio.create_task(store.upload(request(waiting(), "c.txt")))
    await store.upload(request(b"d" * 4000, "d.txt"))
    await store.delete(first.path)
    go.set()
    await slow
    assert await store.catalogue.totals() == (2, 7000)
    await store.upload(request(b"e" * 3000, "e.txt"))
    with pytest.raises(Full):
        await store.upload(request(b"f", "f.txt"))
    await store.close()


@pytest.mark.parametrize("lost", [False, True], ids=["counted", "while the index is lost"])
async def test_uploads_that_began_together_and_end_one_after_another_share_what_is_left(
    tmp_path: Path, lost: bool
) -> None:
    store = store_in(tmp_path, most=10_000)
    if lost:
        store.directory.mkdir()
        (store.directory / "index.sqlite3").mkdir()
    await store.start()
    ends = [asyncio.Event() for _ in range(6)]

    async def ending(end: asyncio.Event, content: bytes) -> AsyncIterator[bytes]:
        yield content[:1]
        await end.wait()
        yield content[1:]

    uploads = [
        asyncio.create_task(store.upload(request(ending(end, b"%d" % number * 3000), f"{number}.txt")))
        for number, end in enumerate(ends)
    ]
    refused = 0
    for upload, end in zip(uploads, ends, strict=True):
        end.set()
        try:
            await upload
        except Full:
            refused += 1
    assert (len(paths_in(store)), refused) == (3, 3)
    await store.close()


async def test_what_is_deleted_makes_room_for_an_upload_that_is_under_way(tmp_path: Path) -> None:
    store = store_in(tmp_path, most=10_000)
    await store.start()
    first, _ = await store.upload(request(b"a" * 6000))
    go = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield b"c"
        await go.wait()
        yield b"c" * 7999

    slow = asyncio.create_task(store.upload(request(waiting(), "c.txt")))
    await asyncio.sleep(0)
    await store.delete(first.path)
    go.set()
    await slow
    assert await store.catalogue.totals() == (1, 8000)
    await store.upload(request(b"old" * 600, "d.txt", overwrite=True))
    await store.upload(request(b"o" * 200, "d.txt", overwrite=True))  # what it replaces is not counted any longer
    await store.upload(request(b"e" * 1800, "e.txt"))
    await store.close()


async def test_a_disk_that_is_nearly_full_takes_no_more(tmp_path: Path) -> None:
    store = store_in(tmp_path, free=1 << 60)
    await store.start()
    with pytest.raises(Full, match=r"cdn\.local\.keep_free"):
        await store.upload(request())
    assert incoming(store) == []
    await store.close()


# What is planted.


async def test_a_symbolic_link_leads_no_upload_out_of_the_folder(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (store.folder.files / "document").symlink_to(outside)
    with pytest.raises(Unavailable):
        await store.upload(request())
    with pytest.raises(Unavailable):
        await store.upload(request(overwrite=True))
    assert os.listdir(outside) == []


async def test_a_symbolic_link_in_the_place_of_a_file_is_replaced_and_not_written_through(
    store: Store, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    (store.folder.files / "document").mkdir()
    (store.folder.files / "document/hello.txt").symlink_to(outside)
    await store.upload(request(overwrite=True))
    assert outside.read_text() == "mine"
    assert await content_of(store, "document/hello.txt") == b"hello"


async def test_a_link_is_not_deleted_through(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.txt").write_text("mine")
    (store.folder.files / "document").symlink_to(outside)
    for path in ("document/x.txt", "../outside/x.txt", "document/../../outside/x.txt", "/etc/passwd", ""):
        assert not await store.delete(path)
    assert (outside / "x.txt").read_text() == "mine"


async def test_a_folder_of_the_name_is_told(store: Store) -> None:
    (store.folder.files / "document/hello.txt").mkdir(parents=True)
    with pytest.raises(CdnError, match="is a folder"):
        await store.upload(request(overwrite=True))


# Lists, and what is removed.


async def test_files_are_listed_by_their_paths_in_parts(store: Store) -> None:
    for name in ("b.txt", "a.txt", "c.txt"):
        await store.upload(request(name.encode(), name, overwrite=True))
    await store.upload(request(tarred(), "a.tar", "archive", overwrite=True))
    assert [row.path for row in await store.catalogue.page("document/", "", 2)] == ["document/a.txt", "document/b.txt"]
    assert [row.path for row in await store.catalogue.page("document/", "document/b.txt", 2)] == ["document/c.txt"]
    assert (await store.catalogue.page("", "", 1))[0].path == "archive/a.tar"


async def test_a_file_is_deleted_once(store: Store) -> None:
    row, _ = await store.upload(request())
    assert await store.delete(row.path)
    assert not await store.delete(row.path)
    assert await content_of(store, row.path) is None
    assert await store.catalogue.totals() == (0, 0)


# What outlives a balancer.

_SLOW = """
import asyncio, sys
from pathlib import Path
from balancer.cdn.local.room import Limits
from balancer.cdn.local.store import Store
from balancer.cdn.types import UploadRequest

async def slowly():
    yield bytes(3 << 20)
    print("begun", flush=True)
    await asyncio.sleep(60)

async def main():
    store = Store(Path(sys.argv[1]), Limits(1 << 30, None, 0))
    await store.start()
    await store.upload(UploadRequest(slowly(), "x.bin", "other"))

asyncio.run(main())
"""


async def begun(directory: Path) -> asyncio.subprocess.Process:
    """A process in the midst of an upload."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SLOW, str(directory), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    return process


@pytest.mark.slow
async def test_a_kill_in_the_midst_of_an_upload_leaves_nothing_to_be_seen(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    process = await begun(store.directory)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert paths_in(store) == []
    assert len(incoming(store)) == 1
    await store.start()
    assert incoming(store) == []
    assert await store.catalogue.page("", "", 10) == []
    await store.close()


@pytest.mark.slow
async def test_a_start_does_not_sweep_what_another_balancer_is_writing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    process = await begun(store.directory)
    try:
        await store.start()
        assert len(incoming(store)) == 1
        await store.close()
    finally:
        process.kill()
        await process.wait()


async def test_files_and_all_that_is_known_of_them_outlive_the_index(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    await store.start()
    rows = [
        (await store.upload(request(f"text {number}".encode(), f"{number}.txt", tags=(f"t{number}",))))[0]
        for number in range(20)
    ]
    await store.close()
    for damage in ("lost", "broken"):
        for file in store.directory.glob("index.sqlite3*"):
            if damage == "lost":
                file.unlink()
            else:
                file.write_bytes(b"this was a database" * 500)
        again = store_in(tmp_path)
        await again.start()
        await again.catalogue.filled()
        assert await again.catalogue.page("", "", 100) == sorted(rows, key=lambda row: row.path)
        assert await again.catalogue.totals() == (20, sum(row.size for row in rows))
        assert again.catalogue.problem is None
        await again.close()


async def test_an_index_that_breaks_while_it_is_used_is_made_anew(store: Store) -> None:
    row, _ = await store.upload(request())
    await store.catalogue.filled()
    with closing(sqlite3.connect(store.directory / "index.sqlite3", isolation_level=None)) as vandal:
        vandal.execute("PRAGMA writable_schema=ON")
        vandal.execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'file'")
        vandal.execute("PRAGMA schema_version=77")
    other, created = await store.upload(request(b"other", "other.txt"))
    assert created
    await store.catalogue.filled()
    assert {found.path for found in await store.catalogue.page("", "", 10)} == {row.path, other.path}
    assert (store.directory / "index.sqlite3.bad").exists()


async def test_a_list_waits_for_an_index_that_is_made_anew(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    await store.start()
    for number in range(30):
        await store.upload(request(str(number).encode(), f"{number}.txt"))
    await store.close()
    for file in store.directory.glob("index.sqlite3*"):
        file.write_bytes(b"this was a database" * 500)
    again = store_in(tmp_path)
    await again.start()
    assert len(await again.catalogue.page("", "", 100)) == 30
    with closing(sqlite3.connect(store.directory / "index.sqlite3", isolation_level=None)) as vandal:
        vandal.execute("PRAGMA writable_schema=ON")
        vandal.execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'file'")
        vandal.execute("PRAGMA schema_version=77")
    assert len(await again.catalogue.page("", "", 100)) == 30
    await again.close()


async def test_the_index_follows_the_folder_at_a_start(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    await store.start()
    kept, _ = await store.upload(request(b"kept", "kept.txt", overwrite=True))
    gone, _ = await store.upload(request(b"gone", "gone.txt", overwrite=True))
    changed, _ = await store.upload(request(b"changed", "changed.txt", overwrite=True))
    await store.close()
    (store.folder.files / gone.path).unlink()
    (store.folder.files / changed.path).write_bytes(b"by hand")
    (store.folder.files / "document/copied.txt").write_bytes(b"copied")
    (store.folder.files / "document/linked.txt").symlink_to("/etc/passwd")
    (store.folder.files / "document/.hidden").write_bytes(b"hidden")
    (store.folder.files / "document/with space.txt").write_bytes(b"nobody can ask for it")
    again = store_in(tmp_path)
    await again.start()
    await again.catalogue.filled()
    rows = {row.path: row for row in await again.catalogue.page("", "", 100)}
    assert set(rows) == {kept.path, changed.path, "document/copied.txt"}
    assert rows[changed.path].facts.sha256_hex == sha256(b"by hand").hexdigest()
    assert rows["document/copied.txt"].facts.content_type == "text/plain; charset=utf-8"
    await again.close()


async def test_an_index_that_can_not_be_written_stops_no_upload(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.directory.mkdir()
    (store.directory / "index.sqlite3").mkdir()  # nothing can be opened there
    await store.start()
    row, created = await store.upload(request())
    assert created
    assert await content_of(store, row.path) == b"hello"
    with pytest.raises(Unavailable, match="they are served all the same"):
        await store.catalogue.page("", "", 10)
    assert store.catalogue.problem is not None
    (store.directory / "index.sqlite3").rmdir()
    assert await store.catalogue.totals() is not None
    await store.catalogue.filled()
    assert await store.catalogue.page("", "", 10) == [row]
    assert store.catalogue.problem is None
    assert await store.delete(row.path)
    await store.close()
