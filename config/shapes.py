"""What the models of the schema expect at each place, as plainly as a walk over a tree needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from config.problems import Path
from config.values import OF_A_FILE

Kind = Literal["model", "map", "list", "text", "flag", "whole", "number", "other"]
_SCALARS: Mapping[object, Kind] = {str: "text", bool: "flag", int: "whole", float: "number"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What one place takes. "other" is a value with a reading of its own, such as a duration."""

    kind: Kind
    model: type[BaseModel] | None = None
    inner: Shape | None = None
    """What a map or a list holds."""
    keys: Shape | None = None
    """What a map's keys are."""
    optional: bool = False
    """Whether null means something here."""
    examples: tuple[str, ...] = ()
    file: bool = False
    """Whether it is the path of a file."""


def shape_of(annotation: object, metadata: tuple[object, ...] = ()) -> Shape:
    """The shape of a type, as the models write it."""
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = (*metadata, *more)
    if OF_A_FILE in metadata:
        rest = tuple(part for part in metadata if part is not OF_A_FILE)
        return replace(shape_of(annotation, rest), file=True)
    if any(isinstance(part, BeforeValidator) for part in metadata):
        return Shape("other")
    for part in metadata:
        if isinstance(part, FieldInfo) and part.examples:
            return replace(shape_of(annotation), examples=tuple(map(str, part.examples)))
    kind, args = get_origin(annotation), get_args(annotation)
    if kind in (Union, UnionType):
        some = [arg for arg in args if arg is not NoneType]
        one = shape_of(some[0]) if len(some) == 1 else Shape("other")
        return replace(one, optional=len(some) < len(args))
    if kind is dict:
        return Shape("map", inner=shape_of(args[1]), keys=shape_of(args[0]))
    if kind in (tuple, frozenset):
        return Shape("list", inner=shape_of(args[0]))
    if kind is Literal:
        return Shape("text", examples=args) if all(isinstance(arg, str) for arg in args) else Shape("other")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Shape("model", model=annotation)
    return Shape(_SCALARS.get(annotation, "other"))


@cache
def fields(model: type[BaseModel]) -> Mapping[str, Shape]:
    """The shapes of a model's fields."""
    return {name: shape_of(field.annotation, (*field.metadata, field)) for name, field in model.model_fields.items()}


def shape_at(shape: Shape, path: Path) -> Shape:
    """The shape at a path; "other" where the path leads out of the models."""
    for piece in path:
        found: Shape | None = None
        if shape.kind in ("map", "list"):
            found = shape.inner
        elif shape.model is not None and isinstance(piece, str):
            found = fields(shape.model).get(piece)
        if found is None:
            return Shape("other")
        shape = found
    return shape
