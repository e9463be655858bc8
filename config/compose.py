"""The YAML layer: text to a tree of nodes that know where they were written, by YAML 1.2 and within bounds.

PyYAML's loader takes duplicate keys silently and reads `on` as true, 012 as 10 and 1:30 as 90; so only its
parser is used, and what a scalar means is decided here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

import yaml

from config.nodes import Items, Node, Plain, Scalar, Table
from config.problems import ConfigError, Path, Place, Problem, path_text

DEPTH = 64
NODES = 200_000
"""Aliases count as often as they are used, so a small file cannot stand for a huge tree."""
SIZE = 4 * 2**20

_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: Mapping[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# What YAML takes (its section 5.1), but for a byte order mark anywhere else than at the beginning.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")
_COLLECTION_TAGS = {"!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


def typed(text: str) -> Plain:
    """What a plain scalar means: YAML 1.2's core schema, but only decimal and finite numbers."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def compose(content: bytes | str, file: str) -> tuple[Table, list[Problem]]:
    """The tree of a file, and the problems that leave the rest of it readable.

    Raises ConfigError when there is no tree: bad syntax, or more than the bounds allow.
    """
    text = _decoded(content, file)
    composer = _Composer(text, file)
    try:
        return composer.document(), composer.problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        raise ConfigError([*composer.problems, Problem.at(place, _syntax(error, text, place))]) from None


def _syntax(error: yaml.MarkedYAMLError, text: str, place: Place) -> str:
    """What the parser complains of; the mistakes that people make most, in their words."""
    what = " ".join(part for part in (error.problem, error.context) if part)
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "cannot start any token" in what:
        found = line[place.column - 1 : place.column]
        if found == "\t":
            return "must be indented with spaces, not with a tab"
        return f"must be in quotes: YAML gives {found} a meaning of its own"
    if "mapping values are not allowed" in what:
        return 'has a ": " inside of a value: put the value in quotes, or mend the indentation'
    if "flow mapping" in what and re.search(r"[^\s{\[,:]\{", line[: place.column]):
        return 'must have a value with braces in quotes when it is between braces: {path: "/{id}"}'
    return f"is not YAML: {what}"


def _decoded(content: bytes | str, file: str) -> str:
    if len(content) > SIZE:
        raise _refusal(file, "", 0, "must be at most 4 MiB")
    if isinstance(content, bytes):
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = content[: error.start].decode("utf-8-sig")
            raise _refusal(file, before, len(before), "must be UTF-8 text") from None
    else:
        text = content.removeprefix("\ufeff")
    if bad := _UNPRINTABLE.search(text):
        raise _refusal(file, text, bad.start(), f"must not hold the character U+{ord(bad[0]):04X}")
    return text


def _refusal(file: str, text: str, position: int, message: str) -> ConfigError:
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return ConfigError([Problem(file, line, column, "", message)])


class _Composer:
    """Builds nodes from the parser's events.

    `count` is how many nodes the tree has so far, with aliases taken as often as they are used.
    """

    def __init__(self, text: str, file: str) -> None:
        # The pure Python parser reads the same, some ten times slower.
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)
        self.file = file
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}  # node, nodes in it, height; None while open
        self.count = 0

    def document(self) -> Table:
        root: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._stop(event, (), "must be one document, but a second begins here")
            elif isinstance(event, yaml.NodeEvent):
                root, _ = self._node(event, (), 1)
        if root is None or (isinstance(root, Scalar) and root.value is None and root.plain):
            return Table(Place(self.file))  # of nothing, no line is to blame
        if not isinstance(root, Table):
            raise ConfigError([Problem.at(root.place, "must be keys and values, such as `servers: [...]`")])
        return root

    def _node(self, event: yaml.Event, path: Path, depth: int) -> tuple[Node, int]:
        """The node that begins with `event`, and its height."""
        if depth > DEPTH:
            raise self._stop(event, path, f"must be nested at most {DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path, depth)
        self._counted(event, path, 1)
        begun = self.count
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = None
        height = 1
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            node, height = self._items(event, path, depth)
        else:
            node, height = self._table(event, path, depth)
        if anchor is not None:
            self.anchors[anchor] = node, self.count - begun + 1, height
        return node, height

    def _alias(self, event: yaml.AliasEvent, path: Path, depth: int) -> tuple[Node, int]:
        if event.anchor not in self.anchors:
            raise self._stop(event, path, f"must be an anchor written above: there is no &{event.anchor}")
        known = self.anchors[event.anchor]
        if known is None:
            raise self._stop(event, path, f"must not be inside of what it repeats: &{event.anchor}")
        node, count, height = known
        if depth + height - 1 > DEPTH:
            raise self._stop(event, path, f"must be nested at most {DEPTH} deep, with &{event.anchor} repeated")
        self._counted(event, path, count)
        return node, height

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Scalar:
        place = self._place(event, path)
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            self.problems.append(Problem.at(place, f"must not have a tag, such as {_tag(event.tag)}"))
            return Scalar(place, None, broken=True)
        plain = event.tag is None and event.implicit[0]
        return Scalar(place, typed(event.value) if plain else event.value, event.value, plain)

    def _items(self, event: yaml.Event, path: Path, depth: int) -> tuple[Items, int]:
        self._untagged(event, path)
        items: list[Node] = []
        height = 0
        while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
            item, tall = self._node(inner, (*path, len(items)), depth + 1)
            items.append(item)
            height = max(height, tall)
        return Items(self._place(event, path), tuple(items)), height + 1

    def _table(self, event: yaml.Event, path: Path, depth: int) -> tuple[Table, int]:
        self._untagged(event, path)
        entries: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        merged: list[Table] = []
        merges: Place | None = None
        height = 0
        while not isinstance(key := next(self.events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent) or key.tag not in (None, *_TEXT_TAGS):
                raise self._stop(key, path, "must have text as its keys")
            if key.anchor is not None:
                raise self._stop(key, path, "must not have an anchor on a key")
            name = key.value
            place = self._place(key, (*path, name))
            value, tall = self._node(next(self.events), (*path, name), depth + 1)
            height = max(height, tall)
            merging = name == "<<" and key.implicit[0] and key.tag is None
            first = merges if merging else keys.get(name)
            if first is not None:
                self.problems.append(Problem.at(place, f'"{name}" is written twice, first in line {first.line}'))
            elif merging:
                merges = place
                merged = self._merged(value, place)
            else:
                entries[name] = value
                keys[name] = place
        for table in merged:
            entries = {**table.entries, **entries}
            keys = {**table.keys, **keys}
        return Table(self._place(event, path), entries, keys), height + 1

    def _merged(self, value: Node, place: Place) -> list[Table]:
        """The tables of a merge key; of two with one entry the first has it."""
        tables = value.items if isinstance(value, Items) else (value,)
        if not all(isinstance(table, Table) for table in tables):
            self.problems.append(Problem.at(place, "must be a mapping or a list of mappings, such as `<<: *anchor`"))
        return [table for table in tables if isinstance(table, Table)]

    def _untagged(self, event: yaml.Event, path: Path) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _COLLECTION_TAGS:
            self.problems.append(Problem.at(self._place(event, path), f"must not have a tag, such as {_tag(tag)}"))

    def _counted(self, event: yaml.Event, path: Path, nodes: int) -> None:
        self.count += nodes
        if self.count > NODES:
            raise self._stop(event, path, f"must have at most {NODES} values, with repeated ones counted again")

    def _place(self, event: yaml.Event, path: Path) -> Place:
        mark = event.start_mark
        assert mark is not None  # only events that a program makes up have none
        return Place(self.file, mark.line + 1, mark.column + 1, path_text(path))

    def _stop(self, event: yaml.Event, path: Path, message: str) -> ConfigError:
        return ConfigError([*self.problems, Problem.at(self._place(event, path), message)])


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:40]
