"""The rules by which a finished request is a product event, compiled from the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from balancer.events.watched import Watched
from balancer.http1.head import RequestHead
from balancer.http1.paths import match_path
from config.schema import EventMatch, EventRule

TAKEN_ALWAYS: Final = ("community", "post", "comment", "report")
"""Names in paths that become dimensions by themselves: those of things, not of people."""
LONGEST: Final = 200
"""Characters of a value that are looked at."""
Fields = Mapping[bytes, bytes]
"""Fields of a head that some rule asks for, by lower-cased name; of one that is there twice, the last."""
Take = Callable[[Sequence[bytes], bytes, Fields, Fields], str | None]
"""What a dimension is, from what the path's names stand for, the request's target, and fields of the request and of the
app's answer; None: it is not there."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A field of the request or of the answer that must be there, have a value, or be absent (b"")."""

    of_answer: bool
    field: bytes
    value: bytes | None
    """None: any."""

    def holds(self, asked: Fields, answered: Fields) -> bool:
        found = (answered if self.of_answer else asked).get(self.field)
        if self.value == b"":
            return not found
        return bool(found) if self.value is None else found == self.value


class Rule:
    """One rule; the same event may have several paths, each of which is one of these."""

    __slots__ = ("hosts", "methods", "name", "names", "path", "statuses", "takes", "when")

    def __init__(self, name: str, match: EventMatch, settings: EventRule) -> None:
        self.name = name
        self.path = match.path
        self.methods = tuple(method.encode("ascii") for method in match.method)
        self.hosts = frozenset(host.lower().encode("ascii") for host in match.host)
        self.names = tuple(captures(match.path))
        self.statuses = settings.status.members
        self.when = tuple(condition(field, value) for field, value in settings.when.items())
        sources: dict[str, tuple[str, ...]] = {n: (f"path:{n}",) for n in self.names if n in TAKEN_ALWAYS}
        for dimension, source in settings.take.items():
            # What is taken comes first, and what the path says is for where that is not there.
            sources[dimension] = (source, *sources.get(dimension, ()))
        self.takes: tuple[tuple[str, tuple[Take, ...]], ...] = tuple(
            (dimension, tuple(take(source, self.names) for source in several)) for dimension, several in sources.items()
        )

    def counts(self, status: int, asked: Fields, answered: Fields) -> bool:
        """Whether a request that fits has ended as it must."""
        if status not in self.statuses:
            return False
        for one in self.when:  # noqa: SIM110  # a generator costs more than what it asks
            if not one.holds(asked, answered):
                return False
        return True

    def taken(self, found: Sequence[bytes], target: bytes, asked: Fields, answered: Fields) -> dict[str, str]:
        """The dimensions, as they came."""
        dims = {}
        for dimension, ways in self.takes:
            for way in ways:
                value = way(found, target, asked, answered)
                if value:
                    dims[dimension] = value if len(value) <= LONGEST else value[:LONGEST]
                    break
        return dims


Key = bytes | tuple[bytes, ...]


class _Group(NamedTuple):
    """Rules whose paths have words at the same places: those of a path are found in one look."""

    length: int
    """Segments, the empty one before the first slash included; of a path that ends in /**, those before that."""
    words: Callable[[list[bytes]], Key]
    """What stands at the places of words."""
    names: Callable[[list[bytes]], tuple[bytes, ...]]
    """What stands at the places of names."""
    rules: dict[Key, list[Rule]]


class _Table:
    """All rules for one method."""

    __slots__ = ("_groups", "below", "exact")

    def __init__(self) -> None:
        self.exact: dict[int, list[_Group]] = {}
        """By the number of segments."""
        self.below: list[_Group] = []
        """Of paths that end in /**."""
        self._groups: dict[tuple[tuple[int, ...], tuple[int, ...], bool], _Group] = {}

    def add(self, rule: Rule) -> None:
        segments = rule.path.encode().split(b"/")
        below = segments[-1] == b"**"
        if below:
            segments.pop()
        names = tuple(place for place, segment in enumerate(segments) if is_capture(segment.decode()))
        words = tuple(place for place in range(len(segments)) if place not in names)
        group = self._groups.get((words, names, below))
        if group is None:
            group = self._groups[words, names, below] = _Group(len(segments), itemgetter(*words), _names(names), {})
            if below:
                self.below.append(group)
            else:
                self.exact.setdefault(len(segments), []).append(group)
        group.rules.setdefault(group.words(segments), []).append(rule)


def _names(places: tuple[int, ...]) -> Callable[[list[bytes]], tuple[bytes, ...]]:
    """Reads what stands at these places, always as a tuple."""
    if not places:
        return lambda segments: ()
    if len(places) == 1:
        (place,) = places
        return lambda segments: (segments[place],)
    getter: Callable[[list[bytes]], tuple[bytes, ...]] = itemgetter(*places)
    return getter


class Rules:
    """All rules of a configuration; a request asks `watch` once."""

    def __init__(self, events: Mapping[str, EventRule]) -> None:
        self._methods: dict[bytes, _Table] = {}
        every: list[Rule] = []
        self.all: list[Rule] = []
        for name, settings in events.items():
            for match in settings.match:
                rule = Rule(name, match, settings)
                self.all.append(rule)
                if not match.method:
                    every.append(rule)
                for method in rule.methods:
                    self._methods.setdefault(method, _Table()).add(rule)
        self._others: _Table | None = None
        if every:
            self._others = _Table()
            for table in (*self._methods.values(), self._others):
                for rule in every:
                    table.add(rule)
        sources = [source for one in events.values() for source in (*one.take.values(), *one.when)]
        self.request_fields = _named_fields(sources, "request-header:")
        """That some rule asks for."""
        self.answer_fields = _named_fields(sources, "response-header:") | {b"location"}

    def watch(self, head: RequestHead) -> Watched | None:
        """What is to be carried to the request's end; None: it means nothing."""
        table = self._methods.get(head.method, self._others)
        if table is None:
            return None
        path = head.target
        end = path.find(b"?")
        if end >= 0:
            path = path[:end]
        if b"%" in path or b"//" in path:
            path = match_path(path)
        segments = path.split(b"/")
        watched: Watched | None = None
        for group in table.exact.get(len(segments), ()):
            if (fit := group.rules.get(group.words(segments))) is not None:
                found = group.names(segments)
                if b"" not in found:  # a name stands for something
                    watched = Watched(head, fit, found, watched)
        for group in table.below:
            if group.length <= len(segments) and (fit := group.rules.get(group.words(segments))) is not None:
                found = group.names(segments)
                if b"" not in found:
                    watched = Watched(head, fit, found, watched)
        return watched


def captures(path: str) -> list[str]:
    """The names in a template of paths, in their order."""
    return [segment[1:-1] for segment in path.split("/") if is_capture(segment)]


def is_capture(segment: str) -> bool:
    return segment[:1] == "{" and segment[-1:] == "}"


def condition(field: str, value: str) -> Condition:
    """From "response-header:NAME" and its value, "*" for any, "" for none."""
    kind, _, name = field.partition(":")
    wanted = None if value == "*" else value.encode("latin-1", "replace")
    return Condition(kind == "response-header", name.lower().encode("latin-1"), wanted)


def _named_fields(sources: Sequence[str], kind: str) -> frozenset[bytes]:
    return frozenset(one.removeprefix(kind).lower().encode("latin-1") for one in sources if one.startswith(kind))


def take(source: str, names: Sequence[str]) -> Take:
    """From "path:NAME", "query:NAME" and so on, as `config.analytics` takes them; `names` are those of the path."""
    if source.startswith("="):
        constant = source[1:]
        return lambda found, target, asked, answered: constant
    kind, _, name = source.partition(":")
    if kind == "path":
        return _path(list(names).index(name)) if name in names else _nothing
    return _KINDS[kind](name)


def _nothing(found: Sequence[bytes], target: bytes, asked: Fields, answered: Fields) -> None:
    return None


def _path(place: int) -> Take:
    def taken(found: Sequence[bytes], target: bytes, asked: Fields, answered: Fields) -> str | None:
        value = found[place].decode("latin-1")
        return unquote(value) if "%" in value else value

    return taken


def _query_value(target: bytes, name: str) -> str | None:
    query = target.partition(b"?")[2][:4096].decode("latin-1")
    try:
        return next((value for key, value in parse_qsl(query, max_num_fields=100) if key == name), None)
    except ValueError:  # more parameters than anybody has
        return None


def _query(name: str) -> Take:
    return lambda found, target, asked, answered: _query_value(target, name)


def _query_length(name: str) -> Take:
    def taken(found: Sequence[bytes], target: bytes, asked: Fields, answered: Fields) -> str | None:
        value = _query_value(target, name)
        return str(len(value)) if value is not None else None

    return taken


def _of_request(name: str) -> Take:
    field = name.lower().encode("latin-1")
    return lambda found, target, asked, answered: _decoded(asked.get(field))


def _of_answer(name: str) -> Take:
    field = name.lower().encode("latin-1")

    def taken(found: Sequence[bytes], target: bytes, asked: Fields, answered: Fields) -> str | None:
        value = answered.get(field)
        return value.decode("latin-1") if value is not None else None

    return taken


def _decoded(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None


def _location(template: str) -> Take:
    parts = [r"([^/?#]+)" if is_capture(part) else re.escape(part) for part in template.split("/")]
    pattern = re.compile("(?:https?://[^/?#]*)?" + "/".join(parts) + r"(?:[?#].*)?", re.DOTALL)

    def taken(found: Sequence[bytes], target: bytes, asked: Fields, answered: Fields) -> str | None:
        value = answered.get(b"location")
        match = pattern.fullmatch(value.decode("latin-1")) if value is not None else None
        return unquote(match[1]) if match is not None else None

    return taken


_KINDS: Final[Mapping[str, Callable[[str], Take]]] = {
    "query": _query,
    "query-length": _query_length,
    "request-header": _of_request,
    "response-header": _of_answer,
    "location": _location,
}
