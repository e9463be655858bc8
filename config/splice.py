"""Edits a configuration's text in place: what is not to change keeps its place, its spelling and its comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import yaml

from config.compose import typed
from config.environment import TOP
from config.nodes import Table
from config.patch import shape_below
from config.problems import Path, Place, Problem, path_text
from config.schema import Pool
from config.shapes import Shape, shape_at
from config.show import dump, escaped, in_a_line
from config.widen import SHORT, name_of

_TO_EDGE = re.compile(r"[ \t]*(#[^\n]*)?(\n|\Z)")
_DASH = re.compile(r"[ \t]*-[ \t]+")
_BARE = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/._*:-]*[A-Za-z0-9/_]")
"""Text that needs no quotes anywhere, as nothing in it has a meaning in YAML."""
_BLOCK = ("|", ">")
_SWITCHES = ("true", "false", "null", "~")
"""What stands for all of a part's defaults, or for nothing, and not for one of its keys."""


class Unsaved(Exception):
    """Changes that can not be written into the file; `problems` say which, why, and where it would have been."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class _Splice(NamedTuple):
    start: int
    end: int
    text: str


class Splicing:
    """Gathers the splices of one text; `written` is the long form of what it says."""

    def __init__(self, text: str, name: str, written: Table) -> None:
        self._text = text
        self._name = name
        self._written = written
        self._splices: list[_Splice] = []
        self._problems: list[Problem] = []
        # The pure loader's marks count characters, whatever the encoding.
        self._root = yaml.compose(text, Loader=yaml.SafeLoader)
        self._repeated = _repeated(self._root)

    def apply(self, patch: Mapping[str, object], shape: Shape) -> str:
        """The text with a patch, as `config.patch.difference` finds it, written into it. Unsaved: it can not be."""
        if self._root is None:
            body = dump(escaped(_said(patch, shape)))
            return self._text + ("" if not self._text or self._text.endswith("\n") else "\n") + body
        if not isinstance(self._root, yaml.MappingNode):
            self._refuse((), self._root, "has to be keys and values")
        else:
            self._mapping(self._root, patch, shape, (), self._written)
        if self._problems:
            raise Unsaved(self._problems)
        return self._spliced()

    # One node after the other.

    def _mapping(
        self, node: yaml.MappingNode, patch: Mapping[str, object], shape: Shape, path: Path, written: object
    ) -> None:
        if id(node) in self._repeated:
            self._refuse(path, node, "is written once and repeated with &: a change of one would be one of all")
            return
        held = {key.value: (key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
        added: dict[str, object] = {}
        gone = []
        for key, value in patch.items():
            short = TOP.get(key) if not path else None
            inner, below = shape_at(shape, short) if short is not None else shape_below(shape, key), (*path, key)
            if key not in held:
                if value is not None or inner.optional:
                    added[key] = value
            elif value is None and not inner.optional:
                gone.append(key)
            else:
                self._value(held[key], value, inner, below, _under(written, key))
        if gone and len(gone) == len(node.value) and (node.flow_style or not added):
            self._replaced(node, added, shape, path)
            return
        spans = [(key.start_mark.index, self._end(value)) for key, value in node.value]
        self._cut(node, spans, [index for index, (key, _) in enumerate(node.value) if key.value in gone], path)
        if added:
            self._add(node, {key: _said(one, shape_below(shape, key)) for key, one in added.items()})

    def _value(
        self, entry: tuple[yaml.Node, yaml.Node], value: object, shape: Shape, path: Path, written: object
    ) -> None:
        node = entry[1]
        if id(node) in self._repeated:
            self._refuse(path, node, "is written once and repeated with &: a change of one would be one of all")
        elif isinstance(value, Mapping) and isinstance(node, yaml.MappingNode):
            self._mapping(node, value, shape, path, written)
        elif isinstance(value, Mapping) and path[-1] == "servers" and isinstance(node, yaml.SequenceNode):
            self._servers(node, value, shape, path, written)
        elif isinstance(value, Mapping) and shape.model in SHORT and not _nothing(node):
            self._lengthened(node, value, shape, path, written)
        elif isinstance(value, list) and isinstance(node, yaml.SequenceNode):
            self._items(node, value, shape, path)
        else:
            self._replaced(node, value, shape, path)

    def _lengthened(
        self, node: yaml.Node, value: Mapping[str, object], shape: Shape, path: Path, written: object
    ) -> None:
        """A short form, which has to say more than it can, in its long form."""
        assert shape.model is not None  # the caller has looked
        key = SHORT[shape.model]
        if isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _SWITCHES:
            self._replaced(node, value, shape, path)
            return
        said = value.get(key)
        more = [f"{_flow(name)}: {_flow(one)}" for name, one in value.items() if name != key and one is not None]
        if (
            shape.model is Pool
            and isinstance(node, yaml.SequenceNode)
            and said is not None
            and (node.flow_style or not more)
        ):
            below = shape_below(shape, key)
            self._value((node, node), said, below, (*path, key), _under(written, key))
            if more:
                start, end = node.start_mark.index, node.end_mark.index
                self._splices.insert(0, _Splice(start, start, f"{{{key}: "))
                self._splices.append(_Splice(end, end, f", {', '.join(more)}}}"))
            return
        if not self._one_line(node):
            self._refuse(path, node, f"is a short form over several lines: write `{key}:` before it, and save again")
            return
        own = self._text[node.start_mark.index : node.end_mark.index] if said is None else _flow(said)
        self._put(node, f"{{{', '.join([f'{key}: {own}', *more])}}}")

    def _servers(
        self, node: yaml.SequenceNode, value: Mapping[str, object], shape: Shape, path: Path, written: object
    ) -> None:
        """Servers in a list, which the long form has by their names, in the same order."""
        names = list(written.entries) if isinstance(written, Table) else []
        if len(names) != len(node.value):
            self._refuse(path, node, "can not be told apart: write `servers` with a name for each")
            return
        items = dict(zip(names, node.value, strict=True))
        new = {name: change for name, change in value.items() if change is not None}
        if all(name in value and value[name] is None for name in names):
            self._replaced(node, new, shape, path)
            return
        assert shape.inner is not None  # servers are a map
        self._cut_items(node, [name in value and value[name] is None for name in names], path)
        for name, change in value.items():
            if name not in items:
                self._append(node, change, name, path)
            elif change is not None:
                item = items[name]
                self._value((item, item), change, shape.inner, (*path, name), _under(written, name))

    def _append(self, node: yaml.SequenceNode, server: object, name: str, path: Path) -> None:
        assert isinstance(server, Mapping)  # a new server has a URL at least
        if name_of(str(server.get("url"))) != name:
            message = f"is a list, in which no server can be named {name}: write `servers` with a name for each"
            self._refuse((*path, name), node, message)
            return
        said = {key: one for key, one in server.items() if one is not None}
        self._append_item(node, said["url"] if said.keys() == {"url"} else said, path)

    def _items(self, node: yaml.SequenceNode, value: list[object], shape: Shape, path: Path) -> None:
        """A list: single values that come or go, or else the whole of it."""
        plain = [item.value for item in node.value if isinstance(item, yaml.ScalarNode) and "$" not in item.value]
        texts = [str(one) for one in value if isinstance(one, str | int) and not isinstance(one, bool)]
        kept = [one for one in plain if one in texts]
        simple = len(plain) == len(node.value) and len(texts) == len(value) == len(set(texts)) and bool(kept)
        if not simple or node.flow_style or texts[: len(kept)] != kept or len(set(plain)) != len(plain):
            self._replaced(node, value, shape, path)
            return
        self._cut_items(node, [item.value not in texts for item in node.value], path)
        for one in value[len(kept) :]:
            self._append_item(node, one, path)

    def _replaced(self, node: yaml.Node, value: object, shape: Shape, path: Path) -> None:
        if isinstance(node, yaml.ScalarNode) and node.style in _BLOCK:
            self._refuse(path, node, "is text over several lines")
        elif isinstance(node, yaml.CollectionNode) and self._has_comments(node):
            self._refuse(path, node, "has comments in it that would be lost")
        elif isinstance(node, yaml.CollectionNode) and any("${" in one.value for one in _scalars(node)):
            self._refuse(path, node, "holds ${...}, which would be lost")
        else:
            self._put(node, _flow(_said(value, shape)))

    # The text.

    def _put(self, node: yaml.Node, text: str) -> None:
        start, end = node.start_mark.index, self._end(node)
        if start == end:  # a key with nothing after it
            text = f" {text}"
        self._splices.append(_Splice(start, end, text))

    def _add(self, node: yaml.MappingNode, added: Mapping[str, object]) -> None:
        if node.flow_style:
            more = ", ".join(f"{_flow(key)}: {_flow(value)}" for key, value in added.items())
            if node.value:
                last = self._end(node.value[-1][1])
                self._splices.append(_Splice(last, last, f", {more}"))
            else:
                self._put(node, f"{{{more}}}")
            return
        indent = " " * node.value[0][0].start_mark.column
        lines = dump(escaped(added)).splitlines()
        self._insert_lines(node, [indent + line for line in lines])

    def _append_item(self, node: yaml.SequenceNode, value: object, path: Path) -> None:
        if node.flow_style or not node.value:
            last = self._end(node.value[-1]) if node.value else node.start_mark.index + 1
            self._splices.append(_Splice(last, last, (", " if node.value else "") + _flow(value)))
            return
        first = self._line_start(node.value[0].start_mark.index)
        dash = _DASH.match(self._text, first)
        if dash is None or dash.end() != node.value[0].start_mark.index:
            self._refuse(path, node, "is a list whose first item is not at the beginning of a line")
            return
        self._insert_lines(node, [f"{dash[0]}{_flow(value)}"])

    def _insert_lines(self, node: yaml.CollectionNode, lines: Sequence[str]) -> None:
        """After the last line of what a block has."""
        last = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
        edge = self._edge(self._end(last))
        if edge is None:
            self._refuse((), last, "is followed by something on the same line")
            return
        before = "" if edge == 0 or self._text[edge - 1] == "\n" else "\n"
        self._splices.append(_Splice(edge, edge, before + "".join(f"{line}\n" for line in lines)))

    def _cut_items(self, node: yaml.SequenceNode, gone: Sequence[bool], path: Path) -> None:
        spans = [(item.start_mark.index, self._end(item)) for item in node.value]
        self._cut(node, spans, [index for index, out in enumerate(gone) if out], path)

    def _cut(
        self, node: yaml.CollectionNode, spans: Sequence[tuple[int, int]], gone: Sequence[int], path: Path
    ) -> None:
        """Take out some of the members of a collection, which are at these spans; not all of a flow's."""
        if not node.flow_style:
            mark = "-" if isinstance(node, yaml.SequenceNode) else ""
            for index in gone:
                start, edge = spans[index][0], self._edge(spans[index][1])
                line = self._line_start(start)
                if self._text[line:start].strip() != mark or edge is None:
                    self._refuse(path, node, "has something to be taken out that is not on lines of its own")
                    return
                self._splices.append(_Splice(line, edge, ""))
            return
        kept = [index for index in range(len(spans)) if index not in gone]
        cuts = [] if not kept or kept[0] == 0 else [(spans[0][0], spans[kept[0]][0])]
        # Each run of others goes with the comma before it.
        cuts += [(spans[a][1], spans[b - 1][1]) for a, b in pairwise([*kept, len(spans)]) if b - a > 1]
        if any("#" in self._text[start:end] for start, end in cuts):
            self._refuse(path, node, "has comments among what would be taken out")
            return
        self._splices += [_Splice(start, end, "") for start, end in cuts]

    def _end(self, node: yaml.Node) -> int:
        """Where the text of a node ends; a block's mark is at what comes after it."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._end(last[1] if isinstance(node, yaml.MappingNode) else last)
        end: int = node.end_mark.index
        return end

    def _edge(self, end: int) -> int | None:
        """The beginning of the next line, if nothing but a comment is left on this one."""
        if end and self._text[end - 1] == "\n":
            return end  # behind text over several lines
        found = _TO_EDGE.match(self._text, end)
        return found.end() if found is not None else None

    def _line_start(self, position: int) -> int:
        return self._text.rfind("\n", 0, position) + 1

    def _one_line(self, node: yaml.Node) -> bool:
        if isinstance(node, yaml.ScalarNode):
            return node.style not in _BLOCK and node.start_mark.line == node.end_mark.line
        if not isinstance(node, yaml.CollectionNode):
            return False
        return bool(node.flow_style) and node.start_mark.line == node.end_mark.line

    def _has_comments(self, node: yaml.Node) -> bool:
        """Whether a # in it begins a comment: one inside of a scalar does not."""
        inside = [(one.start_mark.index, one.end_mark.index) for one in _scalars(node)]
        start, end = node.start_mark.index, self._end(node)
        return any(
            not any(first <= found.start() < last for first, last in inside)
            for found in re.finditer("#", self._text[:end])
            if found.start() >= start
        )

    def _spliced(self) -> str:
        text, edge = self._text, len(self._text) + 1
        # Those at one place stay in their order: the last is put in first.
        for position in sorted(range(len(self._splices)), key=lambda at: (self._splices[at].start, at), reverse=True):
            splice = self._splices[position]
            if splice.end > edge:
                raise Unsaved([Problem(self._name, 0, 0, "", "has changes too close to each other to be written")])
            text = text[: splice.start] + splice.text + text[splice.end :]
            edge = splice.start
        return text

    def _refuse(self, path: Path, node: yaml.Node, message: str) -> None:
        mark = node.start_mark
        place = Place(self._name, mark.line + 1, mark.column + 1, path_text(path))
        self._problems.append(Problem.at(place, message))


def _under(written: object, key: str) -> object:
    return written.entries.get(key) if isinstance(written, Table) else None


def _nothing(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index


def _flow(value: object) -> str:
    """A value on one line, in any surroundings."""
    if isinstance(value, str) and _BARE.fullmatch(value) and isinstance(typed(value), str):
        return value
    return in_a_line(escaped(value))


def _said(value: object, shape: Shape) -> object:
    """A value to be written anew: a null that only takes out says nothing where there is nothing."""
    if not isinstance(value, Mapping):
        return value
    inner = {key: (one, shape_below(shape, key)) for key, one in value.items()}
    return {key: _said(one, below) for key, (one, below) in inner.items() if one is not None or below.optional}


def _scalars(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield from _scalars(value)


def _repeated(root: yaml.Node | None) -> frozenset[int]:
    """The nodes that are in the tree more than once, and those below them."""
    seen: set[int] = set()
    repeated: set[int] = set()
    waiting = [root] if root is not None else []
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            repeated.add(id(node))
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += [inner for pair in node.value for inner in pair]
    return frozenset(repeated)
