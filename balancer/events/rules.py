"""The rules by which a finished request is a product event, compiled from the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

from balancer.events.watched import Matches, Watched
from balancer.http1.head import RequestHead, ResponseHead
from balancer.http1.paths import match_path
from config.schema import EventMatch, EventRule

TAKEN_ALWAYS: Final = ("community", "post", "comment", "report")
"""Names in paths that become dimensions by themselves: those of things, not of people."""
LONGEST: Final = 200
"""Characters of a value that are looked at."""
Take = Callable[[Mapping[str, bytes], RequestHead, ResponseHead | None], str | None]
"""What a dimension is, from the path's names, the request and the app's answer; None: it is not there."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A field of the request or of the answer that must be there, have a value, or be absent (b"")."""

    of_answer: bool
    field: bytes
    value: bytes | None
    """None: any."""

    def holds(self, head: RequestHead, answer: ResponseHead | None) -> bool:
        found = head.value(self.field) if not self.of_answer else answer.value(self.field) if answer else None
        if self.value == b"":
            return not found
        return bool(found) if self.value is None else found == self.value


class Rule:
    """One rule; the same event may have several paths, each of which is one of these."""

    __slots__ = ("hosts", "methods", "name", "names", "path", "statuses", "takes", "when")

    def __init__(self, name: str, match: EventMatch, settings: EventRule) -> None:
        path = match.path
        self.name = name
        self.path = path
        self.methods = tuple(method.encode("ascii") for method in match.method)
        self.hosts = frozenset(host.lower().encode("ascii") for host in match.host)
        self.names = tuple(captures(path))
        self.statuses = settings.status.members
        self.when = tuple(condition(field, value) for field, value in settings.when.items())
        takes = {name: f"path:{name}" for name in self.names if name in TAKEN_ALWAYS}
        # What is taken comes first, and what the path says is for where that is not there.
        self.takes: tuple[tuple[str, tuple[Take, ...]], ...] = tuple(
            (dimension, tuple(take(source) for source in sources))
            for dimension, sources in {
                **{dimension: (source,) for dimension, source in takes.items()},
                **{
                    dimension: (source, takes[dimension]) if dimension in takes else (source,)
                    for dimension, source in settings.take.items()
                },
            }.items()
        )

    def counts(self, status: int, head: RequestHead, answer: ResponseHead | None) -> bool:
        """Whether a request that fits has ended as it must."""
        if status not in self.statuses:
            return False
        for one in self.when:  # noqa: SIM110  # a generator costs more than what it asks
            if not one.holds(head, answer):
                return False
        return True

    def taken(self, found: Sequence[bytes], head: RequestHead, answer: ResponseHead | None) -> dict[str, str]:
        """The dimensions, as they came."""
        if not self.takes:
            return {}
        names = dict(zip(self.names, found, strict=True))
        dims = {}
        for dimension, ways in self.takes:
            for way in ways:
                value = way(names, head, answer)
                if value:
                    dims[dimension] = value[:LONGEST]
                    break
        return dims


class _Node:
    """A step of paths: as those of routing, but all rules that fit are found."""

    __slots__ = ("any", "below", "here", "literal")

    def __init__(self) -> None:
        self.literal: dict[bytes, _Node] = {}
        self.any: _Node | None = None
        self.here: list[Rule] = []
        self.below: list[Rule] = []

    def add(self, rule: Rule) -> None:
        node = self
        segments = rule.path[1:].encode().split(b"/")
        below = segments[-1] == b"**"
        for segment in segments[:-1] if below else segments:
            if is_capture(segment.decode()):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
        (node.below if below else node.here).append(rule)

    def find(self, segments: list[bytes], at: int, found: list[bytes], matches: Matches) -> None:
        for rule in self.below:
            matches.append((rule, tuple(found)))
        if at == len(segments):
            for rule in self.here:
                matches.append((rule, tuple(found)))
            return
        segment = segments[at]
        literal = self.literal.get(segment)
        if literal is not None:
            literal.find(segments, at + 1, found, matches)
        if self.any is not None and segment:
            found.append(segment)
            self.any.find(segments, at + 1, found, matches)
            found.pop()


class Rules:
    """All rules of a configuration; a request asks `watch` once."""

    def __init__(self, events: Mapping[str, EventRule]) -> None:
        self._methods: dict[bytes, _Node] = {}
        every: list[Rule] = []
        self.all: list[Rule] = []
        for name, settings in events.items():
            for match in settings.match:
                rule = Rule(name, match, settings)
                self.all.append(rule)
                if not match.method:
                    every.append(rule)
                for method in rule.methods:
                    self._methods.setdefault(method, _Node()).add(rule)
        self._others: _Node | None = None
        if every:
            self._others = _Node()
            for node in (*self._methods.values(), self._others):
                for rule in every:
                    node.add(rule)

    def watch(self, head: RequestHead) -> Watched | None:
        """What is to be carried to the request's end; None: it means nothing."""
        node = self._methods.get(head.method, self._others)
        if node is None:
            return None
        path = head.target
        if b"?" in path:
            path = path[: path.index(b"?")]
        if b"%" in path or b"//" in path:
            path = match_path(path)
        matches: Matches = []
        node.find(path[1:].split(b"/"), 0, [], matches)
        if not matches:
            return None
        return Watched(head, matches)


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


def take(source: str) -> Take:
    """From "path:NAME", "query:NAME" and so on, as `config.analytics` takes them."""
    if source.startswith("="):
        return _constant(source[1:])
    kind, _, name = source.partition(":")
    return _KINDS[kind](name)


def _constant(value: str) -> Take:
    return lambda names, head, answer: value


def _path(name: str) -> Take:
    def taken(names: Mapping[str, bytes], head: RequestHead, answer: ResponseHead | None) -> str | None:
        found = names.get(name)
        return unquote(found.decode("latin-1")) if found is not None else None

    return taken


def _query_value(head: RequestHead, name: str) -> str | None:
    query = head.target.partition(b"?")[2][:4096].decode("latin-1")
    return next((value for key, value in parse_qsl(query, max_num_fields=100) if key == name), None)


def _query(name: str) -> Take:
    def taken(names: Mapping[str, bytes], head: RequestHead, answer: ResponseHead | None) -> str | None:
        try:
            return _query_value(head, name)
        except ValueError:  # more parameters than anybody has
            return None

    return taken


def _query_length(name: str) -> Take:
    value_of = _query(name)

    def taken(names: Mapping[str, bytes], head: RequestHead, answer: ResponseHead | None) -> str | None:
        value = value_of(names, head, answer)
        return str(len(value)) if value is not None else None

    return taken


def _of_request(name: str) -> Take:
    field = name.lower().encode("latin-1")

    def taken(names: Mapping[str, bytes], head: RequestHead, answer: ResponseHead | None) -> str | None:
        value = head.value(field)
        return value.decode("latin-1") if value is not None else None

    return taken


def _of_answer(name: str) -> Take:
    field = name.lower().encode("latin-1")

    def taken(names: Mapping[str, bytes], head: RequestHead, answer: ResponseHead | None) -> str | None:
        value = answer.value(field) if answer is not None else None
        return value.decode("latin-1") if value is not None else None

    return taken


def _location(template: str) -> Take:
    parts = [r"([^/?#]+)" if is_capture(part) else re.escape(part) for part in template.split("/")]
    pattern = re.compile("(?:https?://[^/?#]*)?" + "/".join(parts) + r"(?:[?#].*)?", re.DOTALL)

    def taken(names: Mapping[str, bytes], head: RequestHead, answer: ResponseHead | None) -> str | None:
        value = answer.value(b"location") if answer is not None else None
        found = pattern.fullmatch(value.decode("latin-1")) if value is not None else None
        return unquote(found[1]) if found is not None else None

    return taken


_KINDS: Final[Mapping[str, Callable[[str], Take]]] = {
    "path": _path,
    "query": _query,
    "query-length": _query_length,
    "request-header": _of_request,
    "response-header": _of_answer,
    "location": _location,
}
