"""Merge patches (RFC 7396) over the tree of a configuration: applying one, and finding the one between two trees.

They speak the long form, in which every server, route and listener has a name to be addressed by.
"""

from __future__ import annotations

from collections.abc import Mapping

from config.nodes import Scalar, Table
from config.schema import Config, Defaults
from config.shapes import Shape, fields

ROOT = Shape("model", model=Config)
_DEFAULTS = Shape("model", model=Defaults)
_ABSENT = object()


def applied(tree: Table, patch: Table, shape: Shape = ROOT) -> Table:
    """The tree with the patch merged in; what is new has the patch's places.

    Null takes a key out, so that its default holds. Where null is itself a value, as in `limits.lag`, it stays
    there as one: the pool's null has to be told from the one that `defaults` would fill in.
    """
    entries = dict(tree.entries)
    for key, node in patch.entries.items():
        inner = shape_below(shape, key)
        under = entries.get(key)
        if isinstance(node, Table):
            entries[key] = applied(under if isinstance(under, Table) else Table(node.place), node, inner)
        elif isinstance(node, Scalar) and node.value is None and not node.broken and not inner.optional:
            entries.pop(key, None)
        else:
            entries[key] = node
    return Table(tree.place, entries, {**tree.keys, **patch.keys})


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object]:
    """The smallest patch that leads from one document to another; documents are trees as plain data."""
    patch: dict[str, object] = {}
    for key, new in after.items():
        old = before.get(key, _ABSENT)
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            if inner := difference(old, new):
                patch[key] = inner
        elif not same(old, new):
            patch[key] = new
    patch.update((key, None) for key in before if key not in after)
    return patch


def same(one: object, other: object) -> bool:
    """Whether two plain values are equal, also in kind: 1 is not true."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def shape_below(shape: Shape, key: str) -> Shape:
    """The shape of what a file has under `key`; "other" where the schema has nothing."""
    if shape.kind == "map" and shape.inner is not None:
        return shape.inner
    if shape.model is Config and key == "defaults":
        return _DEFAULTS
    return (fields(shape.model).get(key) if shape.model is not None else None) or Shape("other")
