from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from balancer.cdn.images.opened import PIECE, Body, OpenPicture
from balancer.cdn.images.pool import Done
from balancer.cdn.images.variants import LEFT_BEHIND, OVERHEAD, TOUCHED, Begun, Variants, key_of

DIGEST = "5a" * 32
ROOM = 10 * (1000 + OVERHEAD)


class Wall:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


def key(name: str) -> str:
    return key_of("sha256:x", name, "webp", "pillow")


async def opened(folder: Path, wall: Wall, room: int = ROOM) -> Variants:
    variants = Variants(folder, room, wall)
    await variants.open()
    return variants


async def begin(
    variants: Variants, name: str, source: str, wall: Wall, size: int = 1000, tags: tuple[str, ...] = ()
) -> tuple[Begun, Done]:
    """A picture as a worker writes it."""
    begun = variants.begin(key(name), source, tags)
    await variants.prepare(begun)
    head = {"source": source, "tags": " ".join(tags), "source_size": 5, "at": wall()}
    head |= {"format": "webp", "width": 3, "height": 2, "size": size, "digest": DIGEST}
    begun.path.write_bytes(json.dumps(head).encode() + b"\n" + name.encode().ljust(size, b"."))
    return begun, Done("webp", 3, 2, size, DIGEST, None)


async def add(
    variants: Variants, name: str, wall: Wall, source: str = "a.png", size: int = 1000, tags: tuple[str, ...] = ()
) -> None:
    begun, done = await begin(variants, name, source, wall, size, tags)
    await variants.keep(begun, 5, done)
    variants.end(begun)


async def read(variants: Variants, name: str) -> Body | None:
    variant = variants.find(key(name))
    return await variants.read(variant) if variant is not None else None


def files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


async def test_what_was_kept_is_found_with_what_it_is(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    await add(variants, "one", wall)
    found = variants.find(key("one"))
    assert found is not None
    assert (found.source, found.source_size, found.format, found.width, found.height) == ("a.png", 5, "webp", 3, 2)
    assert await read(variants, "one") == b"one".ljust(1000, b".")
    assert await read(variants, "two") is None


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    await add(variants, "one", wall)
    again = await opened(tmp_path, wall)
    assert await read(again, "one") == await read(variants, "one")
    assert again.find(key("one")) == variants.find(key("one"))
    assert again.used == variants.used == 1000 + OVERHEAD


async def test_the_longest_unused_makes_room_and_its_file_goes(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    for number in range(10):
        await add(variants, str(number), wall)
    assert await read(variants, "0") is not None
    await add(variants, "ten", wall)
    assert await read(variants, "1") is None
    assert await read(variants, "0") is not None
    assert (files(tmp_path), variants.used) == (10, ROOM)


async def test_what_was_used_stays_longest_over_a_restart_too(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    for number in range(3):
        await add(variants, str(number), wall)
        os.utime(variants.find(key(str(number))).path, (wall.now + number,) * 2)  # type: ignore[union-attr]  # kept
    wall.now += TOUCHED + 1
    await read(variants, "0")  # its file is touched, by the system's clock
    again = await opened(tmp_path, wall, 2 * (1000 + OVERHEAD))
    oldest_first = [name for name in "012" if again.find(key(name)) is not None]
    assert len(oldest_first) == 2
    assert files(tmp_path) == 2


async def test_a_picture_larger_than_all_room_is_not_kept(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    await add(variants, "one", wall)
    await add(variants, "huge", wall, size=ROOM)
    assert await read(variants, "huge") is None
    assert await read(variants, "one") is not None
    assert files(tmp_path) == 1


async def test_pictures_of_a_source_are_forgotten_with_their_files(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    for name, source in (("1", "a/x.png"), ("2", "a/x.png"), ("3", "a/y.png"), ("4", "b.png")):
        await add(variants, name, wall, source)
    assert await variants.forget(lambda source, tags: source == "a/x.png") == 2
    assert await variants.forget(lambda source, tags: source.startswith("a/")) == 1
    assert await read(variants, "4") is not None
    assert files(tmp_path) == 1
    assert await variants.forget() == 1
    assert (len(variants), variants.used, files(tmp_path)) == (0, 0, 0)


async def test_what_was_begun_before_it_was_forgotten_is_not_kept(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    first, done = await begin(variants, "one", "a.png", wall)
    await variants.forget(lambda source, tags: source == "a.png")
    assert await variants.keep(first, 5, done) is None
    assert files(tmp_path) == 0


async def test_what_was_begun_before_another_one_was_forgotten_is_kept(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    first, done = await begin(variants, "one", "a.png", wall, tags=("summer",))
    await variants.forget(lambda source, tags: "winter" in tags)
    assert await variants.keep(first, 5, done) is not None
    assert await variants.forget(lambda source, tags: "winter" in tags) == 0
    assert await variants.forget(lambda source, tags: "summer" in tags) == 1


async def test_what_is_kept_while_a_purge_looks_at_what_it_means_is_forgotten_as_well(
    tmp_path: Path, wall: Wall
) -> None:
    variants = await opened(tmp_path, wall)
    first, done = await begin(variants, "one", "a.png", wall)
    asked, answers = threading.Event(), threading.Event()

    def concerns(source: str, tags: Collection[str]) -> bool:
        asked.set()
        return answers.wait(20)

    forgetting = asyncio.ensure_future(variants.forget(concerns))
    await asyncio.to_thread(asked.wait, 20)
    assert await variants.keep(first, 5, done) is not None
    variants.end(first)
    answers.set()
    assert await forgetting == 1
    assert (len(variants), files(tmp_path)) == (0, 0)


async def test_tags_of_pictures_outlive_a_restart(tmp_path: Path, wall: Wall) -> None:
    await add(await opened(tmp_path, wall), "one", wall, tags=("file:a.png", "summer"))
    again = await opened(tmp_path, wall)
    assert await again.forget(lambda source, tags: "winter" in tags) == 0
    assert await again.forget(lambda source, tags: "summer" in tags) == 1
    assert files(tmp_path) == 0


async def test_a_file_that_somebody_took_away_or_cut_is_a_miss(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    for name in ("gone", "cut"):
        await add(variants, name, wall)
    variants.find(key("gone")).path.unlink()  # type: ignore[union-attr]  # kept
    with variants.find(key("cut")).path.open("r+b") as file:  # type: ignore[union-attr]  # kept
        file.truncate(500)
    assert await read(variants, "gone") is None
    assert await read(variants, "cut") is None
    assert (len(variants), variants.used) == (0, 0)


async def test_what_is_no_picture_of_ours_is_cleared_away_at_the_start(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    await add(variants, "one", wall)
    folder = tmp_path / "ab"
    folder.mkdir(exist_ok=True)
    (folder / "nonsense").write_bytes(b"nonsense")
    (folder / "begun-old").write_bytes(b"x")
    os.utime(folder / "begun-old", (wall.now - LEFT_BEHIND - 1,) * 2)
    (folder / "begun-now").write_bytes(b"x")
    os.utime(folder / "begun-now", (wall.now,) * 2)
    again = await opened(tmp_path, wall)
    assert len(again) == 1
    assert sorted(path.name for path in folder.iterdir() if len(path.name) < 64) == ["begun-now"]


@pytest.mark.parametrize("digest", [None, "5a", "5A" * 32, "\r\n" * 32, 7])
async def test_a_picture_that_nobody_said_the_digest_of_is_not_there(
    tmp_path: Path, wall: Wall, digest: str | int | None
) -> None:
    variants = await opened(tmp_path, wall)
    await add(variants, "one", wall)
    path = variants.find(key("one")).path  # type: ignore[union-attr]  # kept
    line, _, data = path.read_bytes().partition(b"\n")
    said = {**json.loads(line), "digest": digest}
    if digest is None:
        del said["digest"]
    path.write_bytes(json.dumps(said).encode() + b"\n" + data)
    assert await read(await opened(tmp_path, wall), "one") is None
    assert files(tmp_path) == 0


async def test_a_large_picture_is_read_in_pieces_that_are_its_own_whatever_becomes_of_its_name(
    tmp_path: Path, wall: Wall
) -> None:
    size = 3 * PIECE + 7
    variants = await opened(tmp_path, wall, 4 * size)
    await add(variants, "one", wall, size=size)
    body = await read(variants, "one")
    assert isinstance(body, OpenPicture)
    await variants.forget()
    assert b"".join(body.read(at, PIECE) for at in range(0, size, PIECE)) == b"one".ljust(size, b".")
    descriptors = len(os.listdir("/proc/self/fd"))
    del body
    assert len(os.listdir("/proc/self/fd")) == descriptors - 1


async def test_a_file_that_has_become_another_picture_is_not_taken_for_this_one(tmp_path: Path, wall: Wall) -> None:
    variants = await opened(tmp_path, wall)
    await add(variants, "one", wall)
    path = variants.find(key("one")).path  # type: ignore[union-attr]  # kept
    path.write_bytes(path.read_bytes().replace(DIGEST.encode(), b"a5" * 32))
    assert await read(variants, "one") is None


async def test_a_folder_that_cannot_be_is_no_reason_to_fail(tmp_path: Path, wall: Wall) -> None:
    (tmp_path / "file").write_bytes(b"")
    variants = await opened(tmp_path / "file", wall)
    first = variants.begin(key("one"), "a.png", ())
    await variants.prepare(first)
    assert await variants.keep(first, 5, Done("webp", 3, 2, 1000, DIGEST, None)) is None
    assert await variants.forget() == 0


def test_a_key_is_of_everything_that_makes_a_picture() -> None:
    base = ("sha256:x", "w=1", "webp", "pillow 4096")
    others = {key_of(*(f"{part}!" if at == n else part for at, part in enumerate(base))) for n in range(4)}  # type: ignore[misc]  # four strings
    assert len(others | {key_of(*base)}) == 5
