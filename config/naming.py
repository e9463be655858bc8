"""Which setting somebody means who writes its path by hand, as for `--set` and `balancer config why`."""

from __future__ import annotations

from collections.abc import Mapping

from config.environment import TOP
from config.patch import ROOT, shape_below
from config.problems import Path, listed, path_of, path_text
from config.shapes import fields


def setting(text: str, config: Mapping[str, object]) -> Path:
    """The path of a setting in a configuration, a document; ValueError when it is not told apart from others.

    Names that are there need no quotes, whatever is in them, and what is short at the top of a file is taken for what
    it stands for: `strategy` for `pools.app.strategy`, if there is no other pool.
    """
    for short, (group, name, key) in TOP.items():
        if text != short and not text.startswith((f"{short}.", f"{short}[")):
            continue
        members = config.get(group)
        names = list(members) if isinstance(members, Mapping) else []
        if name not in names and len(names) != 1:
            long = path_text((group, names[0] if names else name, key))
            there = f"there are {listed(names, 'and')}" if names else "there is none"
            raise ValueError(f"{short} stands for {group}.{name}.{key}, and {there}: say which, such as {long}")
        text = path_text((group, name if name in names else names[0], key)) + text.removeprefix(short)
    return path_of(text, config)


def quoted(path: Path, config: Mapping[str, object]) -> str | None:
    """How a path has to be written that has been taken apart at the dots of a new name; None when it has not been.

    Of a pool, server or route that is not there yet, and which is followed by no key of it, the name must go on.
    """
    shape, here = ROOT, config
    for index, piece in enumerate(path):
        if not isinstance(piece, str):
            return None
        inner = shape_below(shape, piece)
        if shape.kind == "map" and inner.model is not None and piece not in here:
            known = fields(inner.model)
            rest = [str(one) for one in path[index + 1 :]]
            if not rest or rest[0] in known:
                return None
            end = next((at for at, one in enumerate(rest) if one in known), len(rest))
            return path_text((*path[:index], ".".join((piece, *rest[:end])), *rest[end:]))
        below = here.get(piece)
        shape, here = inner, below if isinstance(below, Mapping) else {}
    return None
