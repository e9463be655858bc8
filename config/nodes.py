"""The tree of what was written: values, lists and mappings that know their places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from config.problems import Path, Place, path_text

Plain: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. Only a `plain` (unquoted) one has a type; a quoted one is a string."""

    place: Place
    value: Plain
    text: str = ""
    plain: bool = False
    variables: tuple[str, ...] = ()
    """The variables and files that its value came from; such a value is never shown."""
    broken: bool = False
    """Its problem has been told, or with `variables` its value is not looked at; nothing more is said of it."""
    form: str = ""
    """What was written, where variables or files are in it."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    place: Place
    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, in the order written; every key is text."""

    place: Place
    entries: Mapping[str, Node] = field(default_factory=dict)
    keys: Mapping[str, Place] = field(default_factory=dict)
    """Where each key was written; a key that stands for something shorter has none."""

    def having(self, key: str, node: Node) -> Table:
        """The same table with one entry more, or another."""
        return Table(self.place, {**self.entries, key: node}, self.keys)

    def lacking(self, key: str) -> Table:
        return Table(self.place, {name: node for name, node in self.entries.items() if name != key}, self.keys)

    def table(self, key: str) -> Table:
        """The table under `key`; an empty one when there is none."""
        found = self.entries.get(key)
        return found if isinstance(found, Table) else Table(self.place.child(f"{self.place.path}.{key}".lstrip(".")))


Node: TypeAlias = Scalar | Items | Table


def plain(node: Node) -> object:
    """The tree as mappings, lists and values."""
    if isinstance(node, Table):
        return {key: plain(value) for key, value in node.entries.items()}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return node.value


def tree_of(value: object, file: str, path: Path = ()) -> Node:
    """The tree of plain data that was written nowhere; `file` names its source."""
    place = Place(file, path=path_text(path))
    if isinstance(value, Mapping):
        return Table(place, {key: tree_of(inner, file, (*path, key)) for key, inner in value.items()})
    if isinstance(value, (list, tuple)):
        return Items(place, tuple(tree_of(item, file, (*path, index)) for index, item in enumerate(value)))
    if value is None or isinstance(value, (str, int, float)):
        return Scalar(place, value, "null" if value is None else str(value))
    raise TypeError(f"plain data has no {type(value).__name__}")


def at(node: Node, path: Path) -> Node | None:
    """The node at a path."""
    for piece in path:
        inner: Node | None = None
        if isinstance(node, Table) and isinstance(piece, str):
            inner = node.entries.get(piece)
        elif isinstance(node, Items) and isinstance(piece, int) and piece < len(node.items):
            inner = node.items[piece]
        if inner is None:
            return None
        node = inner
    return node


def without(node: Node, paths: Iterable[Path]) -> Node:
    """The tree without the nodes at these paths; list positions are those of the tree given."""
    cut: dict[str | int, list[Path]] = {}
    for first, *rest in filter(None, paths):
        cut.setdefault(first, []).append(tuple(rest))
    if isinstance(node, Table):
        kept = {key: inner for key, inner in node.entries.items() if () not in cut.get(key, ())}
        return Table(node.place, {key: without(inner, cut.get(key, ())) for key, inner in kept.items()}, node.keys)
    if isinstance(node, Items):
        left = [(position, inner) for position, inner in enumerate(node.items) if () not in cut.get(position, ())]
        return Items(node.place, tuple(without(inner, cut.get(position, ())) for position, inner in left))
    return node


def scalars(node: Node, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Each single value with its path."""
    if isinstance(node, Scalar):
        yield path, node
    elif isinstance(node, Table):
        for key, inner in node.entries.items():
            yield from scalars(inner, (*path, key))
    else:
        for position, inner in enumerate(node.items):
            yield from scalars(inner, (*path, position))


def broken(node: Node) -> Iterator[Path]:
    """The paths of scalars of which nothing more is to be said."""
    return (path for path, scalar in scalars(node) if scalar.broken)


def variables(node: Node) -> tuple[str, ...]:
    """The variables and files that anything in it came from."""
    return tuple(dict.fromkeys(name for _, scalar in scalars(node) for name in scalar.variables))
