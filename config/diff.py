"""What changes from one configuration to another, value by value."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from config.document import document, leaves
from config.masking import masked
from config.problems import Path, path_text
from config.schema import Config


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs. None means that it is not there; credentials are masked."""

    path: str
    before: str | None
    after: str | None
    stale: bool = False
    """It changes nothing, as what it is about is no longer there."""

    def __str__(self) -> str:
        before = "nothing" if self.before is None else self.before
        after = "nothing" if self.after is None else self.after
        return f"{self.path}: {before} -> {after}" + (" (without effect)" if self.stale else "")


def diff(before: Config, after: Config, unjudged: Collection[Path] = ()) -> tuple[Change, ...]:
    """Every value that was added, removed or changed, in the order of the file, removed ones last.

    Left out is what `Loaded.unjudged` may have a part in.
    """
    if before is after:
        return ()
    old = dict(leaves(document(before, mask=False)))
    new = dict(leaves(document(after, mask=False)))
    found = [path for path in {**new, **old} if old.get(path, _ABSENT) != new.get(path, _ABSENT)]
    filled = {above for path in found for above in (path[:end] for end in range(1, len(path)))}
    return tuple(
        Change(path_text(path), shown(path, old.get(path, _ABSENT)), shown(path, new.get(path, _ABSENT)))
        for path in found
        # A list or a mapping of nothing does not go where something comes into it.
        if not (path in filled and old.get(path, new.get(path)) in ([], {}))
        and not any(_touches(one, path) for one in unjudged)
    )


def _touches(unjudged: Path, path: Path) -> bool:
    """Whether a value that is not known has a part in the one at `path`."""
    group, *rest = unjudged
    inherited = rest[0] if group == "defaults" and rest else rest[1] if group == "pools" and len(rest) > 1 else None
    if inherited is not None and path[0] in ("pools", "routes") and path[2:3] == (inherited,):
        return True  # more than is touched, where one pool's is not known: routes inherit it
    # A required value takes what it belongs to with it, and a server's URL the name that a list gives it.
    if len(unjudged) <= 2:
        whole = unjudged
    elif len(unjudged) > 3 and unjudged[2] == "servers":
        whole = unjudged[:3]
    else:
        whole = unjudged[:-1]
    in_list = next((n for n, piece in enumerate(whole) if isinstance(piece, int)), len(whole))
    return path[:in_list] == whole[:in_list]


_ABSENT = object()


def shown(path: Path, value: object) -> str | None:
    """A value in a few words, masked; None when it is not there."""
    if value is _ABSENT:
        return None
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(masked(path, str(item)) for item in value)}]"
    return masked(path, str(value))
