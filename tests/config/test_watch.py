"""Changes of a file are seen however they are made, once each, and only when they are complete."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Callable

from config.watch import changes


class Script:
    """A clock that does the next step of a story each time somebody sleeps."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self.slept: list[float] = []

    async def sleep(self, delay: float) -> None:
        self.slept.append(delay)
        if not self.steps:
            raise StopWatchingError
        self.steps.pop(0)()


class StopWatchingError(Exception):
    """The story is over."""


async def seen(path: pathlib.Path, *steps: Callable[[], object]) -> tuple[list[str], list[float]]:
    """The contents that were announced, and how long the watcher slept each time."""
    script = Script(*steps)
    by_digest = {hashlib.sha256(text.encode()).hexdigest(): text for text in ("one", "two", "three", "half")}
    found: list[str] = []
    try:
        async for digest in changes(path, sleep=script.sleep):
            found += [by_digest[digest]]
    except StopWatchingError:
        pass
    return found, script.slept


def nothing() -> None:
    """A second in which nothing happens."""


def replace(path: pathlib.Path, text: str) -> Callable[[], object]:
    def act() -> None:
        new = path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, path)

    return act


async def test_a_file_is_announced_when_it_has_kept_still(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_text("one")
    found, slept = await seen(path, nothing, lambda: path.write_text("half"), replace(path, "two"), nothing, nothing)
    assert found == ["two"]
    assert slept == [1.0, 1.0, 0.3, 0.3, 1.0, 1.0]


async def test_each_of_several_replacements_is_announced(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_text("one")
    found, _ = await seen(path, replace(path, "two"), nothing, replace(path, "three"), nothing)
    assert found == ["two", "three"]


async def test_the_swap_of_a_mounted_folder_s_link_is_seen(tmp_path: pathlib.Path) -> None:
    for name, text in (("v1", "one"), ("v2", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(text)
    link = tmp_path / "data"
    link.symlink_to("v1")

    def swap() -> None:
        (tmp_path / "next").symlink_to("v2")
        os.replace(tmp_path / "next", link)

    found, _ = await seen(link / "f", swap, nothing)
    assert found == ["two"]


async def test_a_file_that_was_only_touched_is_not_announced(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_text("one")
    found, _ = await seen(path, lambda: os.utime(path, ns=(1, 1)), nothing, replace(path, "one"), nothing)
    assert found == []


async def test_a_file_that_is_away_is_no_change_until_another_one_comes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_text("one")
    found, _ = await seen(
        path, path.unlink, nothing, replace(path, "one"), nothing, path.unlink, replace(path, "two"), nothing
    )
    assert found == ["two"]


async def test_a_file_that_was_not_there_at_first_is_announced(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    found, _ = await seen(path, nothing, replace(path, "one"), nothing)
    assert found == ["one"]
