"""Pydantic's complaints in our words: what was expected and what came, at the place where it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.environment import KNOWN, TOP
from config.masking import came
from config.nodes import Node, Table, at, variables
from config.problems import Path, Place, Problem, Unfit, listed, meant, path_text
from config.schema import Config, Defaults, Pool, Route
from config.shapes import Shape, fields, shape_at
from config.values import duration_text
from config.widen import SWITCHES, example

INHERITED = ("access", "compress", "refuse_scanners", "security_headers")
"""What routes have from the top, unless they say otherwise."""

_KINDS: Mapping[str, str] = {
    "bool": "must be true or false",
    "date": "must be a date such as 2027-01-31",
    "dict": "must be a mapping of names and values",
    "finite": "must be a finite number",
    "float": "must be a number",
    "frozen": "must be a list",
    "int": "must be a whole number",
    "is": "must be of another kind",
    "list": "must be a list",
    "model": "must be a mapping of keys and values",
    "set": "must be a list",
    "string": "must be text",
    "tuple": "must be a list",
}
"""By the first word of an error's type."""

_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


GUESSES = 100
"""Unknown keys of which it is guessed what was meant: each costs a look at all there are."""


def worded(
    error: ValidationError, tree: Table, model: type[BaseModel], above: Path, gone: set[tuple[Place, str]]
) -> Iterator[tuple[Problem | None, Path]]:
    """Each complaint, with the path of the node to leave out so that the rest can be judged.

    There is no problem to tell where a required value is `gone`: left out of the table of that place, because
    its own problem is told already.
    """
    unfit: dict[Path, tuple[Node, list[str]]] = {}
    for number, detail in enumerate(error.errors(include_url=False)):
        path = _known(tree, detail["loc"])
        node = at(tree, path)
        assert node is not None  # the walk has just been there
        kind = detail["type"]
        if kind == "extra_forbidden":
            yield _unknown_key(tree, path, model, above, guess=number < GUESSES), path
        elif kind == "missing":
            key = str(detail["loc"][-1])
            if (node.place, key) in gone:
                yield None, path
                continue
            wanted = shape_at(Shape("model", model=model), (*path, key))
            yield Problem.at(node.place, f'must have "{key}"{_example(wanted)}'), path
        else:
            of_a_key = detail["loc"][-1] == "[key]"
            shape = shape_at(Shape("model", model=model), path[:-1]).keys if of_a_key else None
            shape = shape or shape_at(Shape("model", model=model), path)
            expected = _expected(detail, shape) + ("" if variables(node) else _hint(detail))
            if of_a_key:  # what is wrong is the key, which no variable makes
                table = at(tree, path[:-1])
                assert isinstance(table, Table)  # only a mapping has keys
                place = table.keys.get(str(path[-1]), node.place)
                yield Problem.at(place, f'{expected}, not "{path[-1]}"'), path
                continue
            unfit.setdefault(path, (node, []))[1].append(expected)
    for path, (node, several) in unfit.items():  # several, where one of several kinds is taken
        expected = ", or ".join([several[0], *(one.removeprefix("must be ") for one in several[1:])])
        yield Problem.at(node.place, expected + came(node, (*above, *path))), path


def _known(tree: Table, loc: tuple[str | int, ...]) -> Path:
    """The part of a location that leads to a node; pydantic adds pieces that are no path, such as `[key]`."""
    path: Path = ()
    for piece in loc:
        if at(tree, (*path, piece)) is None:
            break
        path = (*path, piece)
    return path


def _unknown_key(tree: Table, path: Path, model: type[BaseModel], above: Path, *, guess: bool) -> Problem:
    table, key = at(tree, path[:-1]), str(path[-1])
    assert isinstance(table, Table)  # only a mapping has keys
    holder = shape_at(Shape("model", model=model), path[:-1])
    known = list(fields(holder.model)) if holder.model is not None else []
    if holder.model is Config:
        known = [name for name in (*TOP, "defaults", *known) if name in KNOWN]
    place = table.keys.get(key) or table.entries[key].place.child(path_text((*above, *path)))
    if not guess:
        return Problem.at(place, "is not a known key")
    return Problem.at(place, f"is not a known key: {_elsewhere(key, holder.model) or meant(key, known)}")


def _elsewhere(key: str, model: type[BaseModel] | None) -> str | None:
    """Where a key belongs that stands at the top or under `defaults`, and is one of another place."""
    if model not in (Config, Defaults):
        return None
    below = model is Defaults
    if below and key in KNOWN and key in INHERITED:
        return "it is for all routes, and stands at the top of the file"
    if key in Route.model_fields:
        policies = "; policies are written in `rate_limits` at the top" if key == "rate_limit" else ""
        return f"each route says that for itself: routes.NAME.{key}{policies}"
    if key in Pool.model_fields:
        return f"each pool says that for itself: pools.NAME.{key}"
    return "it stands at the top of the file" if below and key in KNOWN else None


def _expected(detail: ErrorDetails, shape: Shape) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error" and isinstance(context.get("error"), Unfit):
        return str(context["error"].expected)
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        limit = context[key]
        return f"must be {words} {duration_text(limit) if shape.kind == 'other' else limit}"
    if kind == "literal_error":
        return f"must be {context['expected'].replace(chr(39), '')}"
    if kind == "string_pattern_mismatch":
        return f"must{_example(shape, ' look like ') or ' be of another form'}"
    if kind == "model_type" and shape.model is not None:
        switch = "true, false or " if shape.model in SWITCHES else ""
        return f"must be {switch}a mapping of keys and values, such as {example(shape.model)}"
    return _KINDS.get(kind.partition("_")[0], detail["msg"].lower())


def _hint(detail: ErrorDetails) -> str:
    """What was probably meant, made of what came."""
    error = detail.get("ctx", {}).get("error")
    return error.hint if isinstance(error, Unfit) else ""


def _example(shape: Shape, before: str = ", such as ") -> str:
    """The examples that the schema gives for a field, or nothing."""
    examples = shape.examples
    return before + listed(f'"{example}"' for example in examples) if examples else ""
