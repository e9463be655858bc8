"""Short forms to the long form that the schema describes: a list of servers, one host, `maintenance: true`.

Widening never changes a meaning: what is long already stays as it is, and what cannot be widened is left for
the schema to complain of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel

from config.addresses import server_address
from config.cdn import CdnImages
from config.masking import came
from config.nodes import Items, Node, Scalar, Table, variables
from config.problems import Place, Problem, Unfit, listed
from config.schema import (
    AccessLog,
    ActiveChecks,
    Admin,
    AdminRateLimit,
    ApiKey,
    AppDatabase,
    Cache,
    Cdn,
    Compress,
    Database,
    EventMatch,
    HashKey,
    HeaderEdits,
    Listener,
    Maintenance,
    Match,
    Metrics,
    PassiveChecks,
    Pool,
    RateLimit,
    Redirect,
    Redis,
    RequireCdn,
    Respond,
    Rewrite,
    RouteLimit,
    Scanners,
    SecurityHeaders,
    Server,
    Sticky,
    Webhook,
)
from config.shapes import Shape, fields

SHORT: Mapping[type[BaseModel], str] = {
    AccessLog: "to",
    ActiveChecks: "path",
    Admin: "listen",
    AdminRateLimit: "rate",
    AppDatabase: "url",
    ApiKey: "hash",
    Cache: "enabled",
    Cdn: "provider",
    Webhook: "url",
    Database: "url",
    EventMatch: "path",
    HashKey: "key",
    Listener: "address",
    Match: "path",
    Metrics: "listen",
    Pool: "servers",
    Redirect: "to",
    RequireCdn: "mode",
    RateLimit: "rate",
    Redis: "url",
    Respond: "status",
    RouteLimit: "policy",
    Rewrite: "path",
    Server: "url",
    Sticky: "cookie",
}
"""The field that a single value in place of the whole model stands for."""

SWITCHES = frozenset(
    {ActiveChecks, Cdn, CdnImages, Compress, Maintenance, PassiveChecks, Scanners, SecurityHeaders, Sticky}
)
"""Where true stands for all defaults, and false for null."""

_BETWEEN = re.compile(r"[\s,]+")
_SERVERS = "must be servers such as http://10.0.0.11:8000,http://10.0.0.12:8000;weight=2"


class Widening:
    """Walks a tree beside the shapes of the schema; `problems` gathers what the schema would read wrongly."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def node(self, node: Node, shape: Shape) -> Node:
        """The long form of one node."""
        if isinstance(node, Scalar) and (node.broken or (node.value is None and shape.optional)):
            return node
        if shape.kind == "model" and shape.model is not None:
            return self._model(node, shape.model, shape)
        if shape.kind == "map" and shape.inner is not None and isinstance(node, Table):
            held = {key: self.node(value, shape.inner) for key, value in node.entries.items()}
            return Table(node.place, held, node.keys)
        if shape.kind == "list" and shape.inner is not None:
            if isinstance(node, Table) and shape.inner.model is not None and _named(node, shape.inner.model):
                return self._broken(Scalar(node.place, None), f"must be a list, such as [{example(shape.inner.model)}]")
            if isinstance(node, Scalar) or (isinstance(node, Table) and shape.inner.kind == "model"):
                node = Items(node.place, (node,))
            if isinstance(node, Items):
                return Items(node.place, tuple(self.node(item, shape.inner) for item in node.items))
        return self._scalar(node, shape) if isinstance(node, Scalar) else node

    def _model(self, node: Node, model: type[BaseModel], shape: Shape) -> Node:
        if isinstance(node, Scalar):
            if node.value is None:
                return Table(node.place)
            if isinstance(node.value, bool) and model in SWITCHES:
                return Table(node.place) if node.value else Scalar(node.place, None)
            if node.value is False and model is AccessLog:
                node = Scalar(node.place, "none")
        if not isinstance(node, Table):
            if model not in SHORT or (isinstance(node, Items) and model is not Pool):
                return node
            node = Table(node.place, {SHORT[model]: node})
        if model is HeaderEdits and _only_values(node):
            node = Table(node.place, {"set": node})
        entries: dict[str, Node] = {}
        for name, value in node.entries.items():
            inner = fields(model).get(name)
            if inner is None:
                entries[name] = value
            elif _says_nothing(value, inner):
                continue  # a key whose lines below are all commented out
            elif model is Pool and name == "servers":
                entries[name] = self.node(self._servers(value), inner)
            elif model is Server and name == "url" and isinstance(value, Scalar):
                entries[name] = _url(value)
            elif model is SecurityHeaders and isinstance(value, Scalar) and isinstance(value.value, bool):
                entries[name] = self._careful(name, value)
            else:
                entries[name] = self.node(value, inner)
        return Table(node.place, entries, node.keys)

    def _scalar(self, node: Scalar, shape: Shape) -> Node:
        if shape.kind == "text" and isinstance(node.value, bool) and (shape.optional or shape.file):
            # Text of a switch is what nobody means: false would be the name of a file, or of a field.
            examples = [f'"{one}"' for one in shape.examples]
            like = f" such as {listed(examples)}" if examples else ""
            null = ", or null for none" if shape.optional else ""
            return self._broken(node, f"must be {'a path' if shape.file else 'text'}{like}{null}{came(node, ())}")
        if shape.kind == "text" and node.plain and not isinstance(node.value, str):
            # As written: 1.10 is a version and no number, and an empty variable is an empty text.
            return node if node.value is None and node.text else _texted(node)
        if shape.kind == "flag" and not isinstance(node.value, bool):
            # Inside of braces a variable has to be in quotes.
            if node.value in ("true", "false"):
                return replace(node, value=node.value == "true", plain=True)
            return self._broken(node, f"must be true or false{came(node, ())}")
        if shape.kind in ("whole", "number") and isinstance(node.value, bool):
            return self._broken(node, "must be a number, not true or false")
        return node

    def _careful(self, name: str, node: Scalar) -> Scalar:
        """A field for browsers that is switched on, which is its default, or off."""
        if node.value is False:
            return Scalar(node.place, None)
        default = SecurityHeaders.model_fields[name].default
        if default is None:
            return self._broken(node, "must be the field's value, as it has no default, or null")
        return Scalar(node.place, default, default)

    def _broken(self, node: Scalar, message: str) -> Scalar:
        self.problems.append(Problem.at(node.place, message))
        return Scalar(node.place, None, broken=True)

    def _servers(self, node: Node) -> Node:
        """A table of servers from a list, which names each by host and port, or from comma-separated text."""
        if isinstance(node, Scalar) and isinstance(node.value, str) and not node.broken:
            node = Items(node.place, tuple(self._written(node, part) for part in _BETWEEN.split(node.value) if part))
        if not isinstance(node, Items):
            return node
        named: dict[str, Node] = {}
        for position, item in enumerate(node.items, 1):
            name = _name(item) or f"number-{position}"
            if name in named:
                first = _spot(named[name].place)
                called = "like that of" if variables(item) else f"named {name}, like"
                message = f"is a second server {called} {first}: write `servers` with a name for each"
                self.problems.append(Problem.at(item.place, message))
            else:
                named[name] = item
        return Table(node.place, named)

    def _written(self, whole: Scalar, part: str) -> Node:
        """One server of a comma-separated text: an address, and after semicolons `weight=2` and `backup`."""
        url, *options = part.split(";")
        server: dict[str, Node] = {"url": Scalar(whole.place, url, url, False, whole.variables)}
        for option in options:
            name, _, value = option.partition("=")
            if name == "backup" and not value:
                server["backup"] = Scalar(whole.place, True)
            elif name == "weight" and re.fullmatch(r"[0-9]{1,9}", value):
                server["weight"] = Scalar(whole.place, int(value), value, True, whole.variables)
            else:
                return self._broken(whole, f"{_SERVERS}; after a semicolon comes weight=2 or backup")
        return Table(whole.place, server)


def _says_nothing(node: Node, shape: Shape) -> bool:
    """Whether a key with nothing after it may as well not be there."""
    empty = isinstance(node, Scalar) and node.value is None and not node.broken
    return empty and not shape.optional and shape.kind in ("model", "map", "list")


def _named(node: Table, model: type[BaseModel]) -> bool:
    """Whether a table in place of a list has names for its keys: it is not one model without its list."""
    return bool(node.entries) and node.entries.keys().isdisjoint(fields(model))


def example(model: type[BaseModel]) -> str:
    """What a mapping of this kind looks like, by its first keys: `{cert: ..., key: ...}`."""
    return f"{{{', '.join(f'{name}: ...' for name in list(fields(model))[:2])}}}"


def _only_values(node: Table) -> bool:
    """Whether a table of header edits is the short form of its `set`: fields and values, nothing else."""
    values = all(isinstance(value, Scalar) for value in node.entries.values())
    return values and bool(node.entries) and not node.entries.keys() & fields(HeaderEdits).keys()


def _texted(node: Scalar) -> Scalar:
    return replace(node, value=node.text)


def _url(node: Scalar) -> Scalar:
    """The address without the slash that browsers end it with."""
    text = node.value
    if not isinstance(text, str) or not text.startswith("http") or not text.endswith("/"):
        return node
    return replace(node, value=text[:-1])


def _name(server: Node) -> str | None:
    """What a server in a list is called; None without a good URL."""
    url = server.entries.get("url") if isinstance(server, Table) else server
    return name_of(url.value) if isinstance(url, Scalar) and isinstance(url.value, str) else None


def name_of(url: str) -> str | None:
    """Host and port of a URL, or the last part of a socket's path; None when it is not a good one."""
    try:
        address = server_address(url)
    except Unfit:
        return None
    return address.path.rpartition("/")[2] if address.path else str(address)


def _spot(place: Place) -> str:
    return f"line {place.line}" if place.line else place.file
