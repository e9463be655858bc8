"""The shapes of traffic: which paths there are when what stands for single things is left out, and how often."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MOST: Final = 500
"""Shapes that are remembered; the rarest go for new ones."""
DEEPEST: Final = 12
LONGEST: Final = 300
FAN_OUT: Final = 30
"""Different words at one place of a path from which they are taken for names of things."""
_ID: Final = re.compile(
    rb"[0-9]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16,}|(?=[^0-9]*[0-9])[A-Za-z0-9_-]{16,}"
)
_WORD: Final = re.compile(rb"[a-z][a-z_-]{0,30}(\.[a-z0-9]{1,5})?|v[0-9]{1,2}")
ANY: Final = "*"


@dataclass(slots=True)
class Shape:
    """Requests with the same method whose paths differ in nothing but names of things."""

    method: str
    path: str
    """With `*` for a name."""
    count: int
    with_location: int
    """Answers that said where what they made is."""


class _Words:
    """What stands at one place of paths; with too many, it is names."""

    __slots__ = ("below", "count", "located", "many")

    def __init__(self) -> None:
        self.below: dict[bytes, _Words] = {}
        self.many = False
        self.count = 0
        self.located = 0

    def at(self, segment: bytes) -> _Words:
        if self.many or _ID.fullmatch(segment) or not _WORD.fullmatch(segment):
            segment = b"*"
        elif segment not in self.below and sum(word != b"*" for word in self.below) >= FAN_OUT:
            self._fold()
            segment = b"*"
        found = self.below.get(segment)
        if found is None:
            found = self.below[segment] = _Words()
        return found

    def _fold(self) -> None:
        self.many = True
        star = self.below.setdefault(b"*", _Words())
        for word in [word for word in self.below if word != b"*"]:
            star._take(self.below.pop(word))

    def _take(self, other: _Words) -> None:
        self.count += other.count
        self.located += other.located
        for word, words in other.below.items():
            self.below.setdefault(word, _Words())._take(words)

    def size(self) -> int:
        return 1 + sum(words.size() for words in self.below.values())


class Shapes:
    """Learns from successful requests. Nothing of a name is kept."""

    def __init__(self) -> None:
        self._methods: dict[str, _Words] = {}
        self._places = 0
        self.left_out = 0
        """Requests of shapes for which there was no room."""

    def learn(self, method: str, target: bytes, located: bool) -> None:
        """Take in a request that succeeded."""
        path = target.partition(b"?")[0][:LONGEST]
        segments = path.strip(b"/").split(b"/")
        if len(segments) > DEEPEST:
            return
        words = self._methods.get(method)
        if words is None:
            if len(self._methods) >= 10:
                return
            words = self._methods[method] = _Words()
        if self._places > MOST * 4:
            self._places = sum(each.size() for each in self._methods.values())
            if self._places > MOST * 4:
                self.left_out += 1
                return
        before_it = b""
        for segment in segments:
            before = len(words.below)
            # What follows a word in the plural is one of them, whatever it looks like: /users/jo/follow names nobody.
            below = words.at(b"*" if before_it.endswith(b"s") and len(before_it) > 3 else segment)
            before_it = segment
            self._places += len(words.below) > before
            words = below
        words.count += 1
        words.located += located

    def seen(self) -> list[Shape]:
        """The most frequent first."""
        found = [shape for method, words in self._methods.items() for shape in _shapes(method, words, ())]
        found.sort(key=lambda shape: (-shape.count, shape.method, shape.path))
        return found[:MOST]


def _shapes(method: str, words: _Words, path: tuple[str, ...]) -> Iterator[Shape]:
    if words.count:
        yield Shape(method, "/" + "/".join(path), words.count, words.located)
    for word, below in words.below.items():
        yield from _shapes(method, below, (*path, word.decode("ascii")))
