"""The rules by which a finished request is a product event, compiled from the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from balancer.events.watched import Watched
from balancer.http1.head import RequestHead
from balancer.http1.octets import PERCENT, QUESTION_MARK
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
    telling: int
    """The place at which words differ most: a look at it ends the search for nearly all paths that no rule fits."""
    told: frozenset[bytes]
    """What may stand there."""
    words: Callable[[list[bytes]], Key]
    """What stands at the places of words."""
    names: Callable[[list[bytes]], tuple[bytes, ...]]
    """What stands at the places of names."""
    rules: dict[Key, list[Rule]]


class _Table:
    """All rules for one method."""

    __slots__ = ("below", "exact")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.exact: dict[int, list[_Group]] = {}
        """By the number of segments."""
        self.below: list[_Group] = []
        """Of paths that end in /**."""
        alike: dict[tuple[tuple[int, ...], tuple[int, ...], bool], list[tuple[list[bytes], Rule]]] = {}
        for rule in rules:
            segments = rule.path.encode().split(b"/")
            below = segments[-1] == b"**"
            if below:
                segments.pop()
            names = tuple(place for place, segment in enumerate(segments) if is_capture(segment.decode()))
            words = tuple(place for place in range(len(segments)) if place not in names)
            alike.setdefault((words, names, below), []).append((segments, rule))
        for (words, names, below), some in alike.items():
            group = _group(words, names, some)
            if below:
                self.below.append(group)
            else:
                self.exact.setdefault(group.length, []).append(group)


def _group(words: tuple[int, ...], names: tuple[int, ...], some: Sequence[tuple[list[bytes], Rule]]) -> _Group:
    told = {place: frozenset(segments[place] for segments, _ in some) for place in words}
    telling = max(words, key=lambda place: len(told[place]))  # there is one: what stands before the first slash
    found: Callable[[list[bytes]], Key] = itemgetter(*words)
    rules: dict[Key, list[Rule]] = {}
    for segments, rule in some:
        rules.setdefault(found(segments), []).append(rule)
    return _Group(len(words) + len(names), telling, told[telling], found, _names(names), rules)


_NO_GROUPS: Final[tuple[_Group, ...]] = ()


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
        methods: dict[bytes, list[Rule]] = {}
        every: list[Rule] = []
        self.all: list[Rule] = []
        for name, settings in events.items():
            for match in settings.match:
                rule = Rule(name, match, settings)
                self.all.append(rule)
                if not match.method:
                    every.append(rule)
                for method in rule.methods:
                    methods.setdefault(method, []).append(rule)
        self._methods = {method: _Table([*own, *every]) for method, own in methods.items()}
        self._others = _Table(every) if every else None
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
        if QUESTION_MARK in path:
            path = path.partition(b"?")[0]
        segments = path.split(b"/")
        if PERCENT in path or segments.count(b"") > 1:  # the one before the first slash; else there may be two slashes
            segments = match_path(path).split(b"/")
        watched: Watched | None = None
        length = len(segments)
        for _, telling, told, words, names, rules in table.exact.get(length, _NO_GROUPS):
            if segments[telling] in told and (fit := rules.get(words(segments))) is not None:
                found = names(segments)
                if b"" not in found:  # a name stands for something
                    watched = Watched(head, fit, found, watched)
        for least, telling, told, words, names, rules in table.below:
            if least <= length and segments[telling] in told and (fit := rules.get(words(segments))) is not None:
                found = names(segments)
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
