"""What changes from one configuration to another, value by value."""

from __future__ import annotations

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


def diff(before: Config, after: Config) -> tuple[Change, ...]:
    """Every value that was added, removed or changed, in the order of the file, removed ones last."""
    if before is after:
        return ()
    old = dict(leaves(document(before, mask=False)))
    new = dict(leaves(document(after, mask=False)))
    return tuple(
        Change(path_text(path), _shown(path, old.get(path, _ABSENT)), _shown(path, new.get(path, _ABSENT)))
        for path in {**new, **old}
        if old.get(path, _ABSENT) != new.get(path, _ABSENT)
    )


_ABSENT = object()


def _shown(path: Path, value: object) -> str | None:
    if value is _ABSENT:
        return None
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(masked(path, str(item)) for item in value)}]"
    return masked(path, str(value))
