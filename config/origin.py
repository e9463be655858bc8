"""Where each setting in force comes from: a default, a place in the file, a variable, or the API."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from config import overlay as overlays
from config.amend import Basis
from config.diff import shown
from config.document import document, leaves
from config.environment import VARIABLES
from config.load import Loaded
from config.naming import setting
from config.nodes import at, variables
from config.problems import Path, nearest, path_text

Kind = Literal["default", "file", "environment", "api"]


@dataclass(frozen=True, slots=True)
class Written:
    """What the file and its surroundings say of a setting."""

    kind: Kind
    value: str | None
    """Masked; None: nothing."""
    line: int | None = None
    column: int | None = None
    under: str | None = None
    """The path it was written at, where that is another one: `defaults.timeouts.connect`."""
    variables: tuple[str, ...] = ()
    """Variables and files that it came from."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting in force."""

    path: str
    kind: Kind
    value: str | None
    """Masked; None: nothing."""
    below: Written
    """What would hold without the API, which is what holds where it has said nothing."""


class Nowhere(LookupError):
    """A path at which no configuration in force has anything."""


def origins(text: str, basis: Basis) -> tuple[Origin, ...]:
    """That of each value at or below a path, in the order of the file.

    Nowhere: there is none; ValueError: it is no path.
    """
    running, file = document(basis.running, mask=False), document(basis.file.config, mask=False)
    path = setting(text, running)
    now = {found: value for found, value in leaves(running) if found[: len(path)] == path}
    then = {found: value for found, value in leaves(file) if found[: len(path)] == path}
    said = {change.path for change in overlays.describe(basis.file.config, basis.overlay, basis.base.config)}
    if not now and not then:
        raise Nowhere(f"nothing is at {path_text(path)}{_hint(path, running)}")
    told = []
    for one in dict.fromkeys((*now, *then)):
        if one not in now and then[one] in ([], {}) and any(found[: len(one)] == one for found in now):
            continue  # something is in it now
        name, below = path_text(one), _written(one, then, basis.file)
        kind: Kind = "api" if name in said else below.kind
        told.append(Origin(name, kind, shown(one, now[one]) if one in now else None, below))
    return tuple(told)


def _written(path: Path, values: dict[Path, object], file: Loaded) -> Written:
    value = shown(path, values[path]) if path in values else None
    node = at(file.tree, path)
    if node is None or path not in values:
        return Written("default", value)
    place = node.place
    names = variables(node)
    if place.file in VARIABLES and not place.line:
        return Written("environment", value, variables=(place.file,))
    if not place.line:
        return Written("default", value)
    under = place.path if place.path and place.path != path_text(path) else None
    return Written("file", value, place.line, place.column, under, names)


def _hint(path: Path, running: dict[str, object]) -> str:
    """What was probably meant: the first piece that leads nowhere, and what is there in its place."""
    value: object = running
    for index, piece in enumerate(path):
        known: Collection[str] = value.keys() if isinstance(value, dict) else ()
        if not isinstance(value, dict) or piece not in value:
            close = nearest(str(piece), known)
            if close is not None:
                return f": did you mean {path_text((*path[:index], close))}?"
            few = list(_few(known))
            return f": {path_text(path[:index]) or 'the top'} has {', '.join(few)}" if few else ""
        value = value[piece]
    return ""


def _few(names: Collection[str]) -> Iterator[str]:
    for count, name in enumerate(names):
        if count == 20:
            yield "..."
            return
        yield name
