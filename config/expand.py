"""Variables and files in a value: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `${file:/path}` and `$$`.

They expand in the tree and not in the text, so that a variable never adds structure and places stay right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from config.compose import typed
from config.nodes import Items, Node, Scalar, Table
from config.problems import Problem

USE = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
_BODY = re.compile(
    r"file:(?P<file>.+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:-|-|:\?|\?)(?P<rest>.*))?", re.DOTALL
)
_FORMS = "must be ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:/path}; a dollar sign is written $$"


@dataclass(slots=True)
class Expansion:
    """Expands trees; `problems` gathers what could not be."""

    environ: Mapping[str, str]
    read: Callable[[str], str]
    """The text of a file by its path; raises OSError or ValueError."""
    problems: list[Problem] = field(default_factory=list)
    look: bool = True
    """False: no file is read and no value taken. What needs one is broken, and its `variables` say by what."""

    def tree(self, table: Table) -> Table:
        """The table with every scalar expanded."""
        entries = {key: self._node(node) for key, node in table.entries.items()}
        if all(entries[key] is node for key, node in table.entries.items()):
            return table
        return Table(table.place, entries, table.keys)

    def _node(self, node: Node) -> Node:
        if isinstance(node, Scalar):
            return self._scalar(node) if "$" in node.text else node
        if isinstance(node, Table):
            return self.tree(node)
        items = tuple(self._node(item) for item in node.items)
        same = all(new is old for new, old in zip(items, node.items, strict=True))
        return node if same else Items(node.place, items)

    def _scalar(self, node: Scalar) -> Scalar:
        """The scalar expanded; a plain one is typed again, a quoted one stays a string."""
        used: list[str] = []

        def value(found: re.Match[str]) -> str:
            if found[0] == "$$":
                return "$"
            body = _BODY.fullmatch(found[1]) if found[2] else None
            # A brace inside would end the outer form early and leave half of it in the value.
            if body is None or "${" in found[1]:
                raise ValueError(_FORMS)
            return self._named(body, used)

        try:
            text = USE.sub(value, node.text)
        except ValueError as error:
            self.problems.append(Problem.at(node.place, str(error)))
            return Scalar(node.place, None, broken=True)
        if used and not self.look:
            return Scalar(node.place, None, broken=True, variables=tuple(used), form=node.text)
        result = typed(text) if node.plain else text
        return Scalar(node.place, result, text, node.plain, tuple(used), form=node.text if "${" in node.text else "")

    def _named(self, body: re.Match[str], used: list[str]) -> str:
        """The value of one form; its name goes to `used` when the value comes from outside of the file."""
        path, name, how, rest = body["file"], body["name"], body["how"] or "", body["rest"] or ""
        if path:
            used.append(path)
            if not self.look:
                return ""
            try:
                return self.read(path)
            except OSError as error:
                raise ValueError(f"needs the file {path}: {error.strerror or error}") from None
        found = self.environ.get(name)
        if found is None or (not found and how.startswith(":")):
            if how.endswith("-"):
                return rest
            missing = f"needs the environment variable {name}"
            if how.endswith("?"):
                raise ValueError(f"{missing}: {rest or 'it is not set'}")
            raise ValueError(f"{missing}, which is not set; ${{{name}:-default}} would give it a default")
        used.append(name)
        if not found.isascii() and any("\ud800" <= char <= "\udfff" for char in found):
            raise ValueError(f"needs the environment variable {name} to be UTF-8 text")
        return found
