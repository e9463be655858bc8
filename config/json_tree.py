"""JSON text to a tree of nodes that know where they were written: strict, and within the bounds of YAML's.

YAML is not quite a superset: it takes no tab between tokens and reads escaped surrogates as two characters.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from json import decoder

from config.compose import DEPTH, NODES
from config.nodes import Items, Node, Scalar, Table
from config.problems import ConfigError, Path, Place, Problem, path_text

scanstring = decoder.scanstring  # type: ignore[attr-defined]  # its types leave out what json itself uses
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?P<rest>(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,3})?)")
_WORDS = {"true": True, "false": False, "null": None}
_WORD = re.compile("|".join(_WORDS))


def json_tree(content: bytes, name: str) -> Table:
    """The tree of a JSON object. Raises ConfigError with the place of what is no strict JSON."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(name, 0, 0, "", f"must be UTF-8 text: byte {error.start} is not")]) from None
    return _Reader(text, name).document()


class _Reader:
    """Reads one text from `_at` on; `_count` is how many nodes there are so far."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._at = 0
        self._count = 0
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]

    def document(self) -> Table:
        self._skip()
        start = self._at
        node = self._node((), 1)
        self._skip()
        if self._at < len(self._text):
            raise self._stop("must end after one JSON value")
        if not isinstance(node, Table):
            self._at = start
            raise self._stop("must be an object")
        return node

    def _node(self, path: Path, depth: int) -> Node:
        self._count += 1
        if depth > DEPTH:
            raise self._stop(f"must be nested at most {DEPTH} deep")
        if self._count > NODES:
            raise self._stop(f"must have at most {NODES} values")
        place = self._place(self._at, path)
        first = self._text[self._at : self._at + 1]
        if first == "{":
            return self._table(place, path, depth)
        if first == "[":
            return self._items(place, path, depth)
        if first == '"':
            text = self._string()
            return Scalar(place, text, text)
        if found := _WORD.match(self._text, self._at):
            self._at = found.end()
            return Scalar(place, _WORDS[found[0]], found[0], True)
        if found := _NUMBER.match(self._text, self._at):
            self._at = found.end()
            number = float(found[0]) if found["rest"] else int(found[0])
            if not math.isfinite(number):
                raise self._stop("must be a finite number")
            return Scalar(place, number, found[0], True)
        raise self._stop("must be a JSON value: object, list, text in double quotes, number, true, false or null")

    def _table(self, place: Place, path: Path, depth: int) -> Table:
        entries: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        self._at += 1
        while not self._ends("}", bool(entries)):
            if self._text[self._at : self._at + 1] != '"':
                raise self._stop("must have a name in double quotes here")
            start = self._at
            key = self._string()
            where = self._place(start, (*path, key))
            if key in entries:
                self._at = start
                raise self._stop(f'"{key[:80]}" is there twice, first in line {keys[key].line}')
            self._skip()
            if self._text[self._at : self._at + 1] != ":":
                raise self._stop("must have a colon here")
            self._at += 1
            self._skip()
            entries[key] = self._node((*path, key), depth + 1)
            keys[key] = where
        return Table(place, entries, keys)

    def _items(self, place: Place, path: Path, depth: int) -> Items:
        items: list[Node] = []
        self._at += 1
        while not self._ends("]", bool(items)):
            items.append(self._node((*path, len(items)), depth + 1))
        return Items(place, tuple(items))

    def _ends(self, close: str, more: bool) -> bool:
        """Step over the end, or to the next member."""
        self._skip()
        found = self._text[self._at : self._at + 1]
        if found == close:
            self._at += 1
            return True
        if more:
            if found != ",":
                raise self._stop(f"must have a comma or {close} here")
            self._at += 1
            self._skip()
        return False

    def _string(self) -> str:
        try:
            text: str
            text, self._at = scanstring(self._text, self._at + 1, True)
        except json.JSONDecodeError as error:
            self._at = error.pos
            raise self._stop(f"is no JSON text: {error.msg}") from None
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise self._stop("must be text without half of a surrogate pair")
        return text

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None  # it fits nothing, too
        self._at = found.end()

    def _place(self, position: int, path: Path) -> Place:
        line = bisect_right(self._lines, position)
        return Place(self._name, line, position - self._lines[line - 1] + 1, path_text(path))

    def _stop(self, message: str) -> ConfigError:
        return ConfigError([Problem.at(self._place(self._at, ())._replace(path=""), message)])
