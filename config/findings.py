"""Problems as the checks find them, each put to the place where its value was written."""

from __future__ import annotations

from collections.abc import Collection

from config.masking import came as what_came
from config.nodes import Items, Scalar, Table, at, scalars, variables
from config.problems import Path, Place, Problem, path_text


class Findings:
    """Gathers problems and warnings about a merged tree.

    `whole` is the tree before values that were wrong were left out of it: nothing is said of a name that is
    unknown only because its own problem is told already.
    """

    def __init__(self, tree: Table, whole: Table) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._tree = tree
        self._whole = whole

    def add(self, path: Path, message: str, came: bool = False, hint: str = "") -> None:
        """One problem; with `came`, what was written there is quoted unless it is secret.

        `hint` is a guess at what was meant; there is none where the value came from outside of the file, since
        it would tell something of it.
        """
        node = at(self._tree, path)
        shown = what_came(node, path) if came and isinstance(node, Scalar) else ""
        if came and self.outside(path):
            hint = ""
        self.problems.append(Problem.at(self.place(path), message + shown + (f"; {hint}" if hint else "")))

    def warn(self, path: Path, message: str) -> None:
        self.warnings.append(Problem.at(self.place(path), message))

    def place(self, path: Path) -> Place:
        """Where the value of a path was written, or else the nearest thing above it."""
        for end in range(len(path), 0, -1):
            if (node := at(self._tree, path[:end])) is not None:
                return node.place if end == len(path) else node.place.child(path_text(path))
        return Place(self._tree.place.file, path=path_text(path))

    def spot(self, path: Path) -> str:
        """A place in a few words, for a message about another one."""
        place = self.place(path)
        line = f" (line {place.line})" if place.line else ""
        return path_text(path) + line

    def outside(self, path: Path) -> bool:
        """Whether anything there came from a variable or a file, and so must be in no message, not even in part."""
        node = at(self._tree, path)
        return node is not None and bool(variables(node))

    def unseen(self, path: Path) -> bool:
        """Whether anything there has not been looked at: nothing can be said of what it has a part in."""
        for end in range(len(path), 0, -1):
            node = at(self._whole, path[:end])
            # Above it, only a short form counts: it has not been widened, as it was not looked at.
            if node is not None and (end == len(path) or isinstance(node, Scalar)):
                return any(scalar.broken and scalar.variables for _, scalar in scalars(node))
        return False

    def written(self, *group: str) -> Collection[str]:
        """The names in a group, those with problems of their own too."""
        table = self._whole
        for key in group:
            table = table.table(key)
        return table.entries.keys()

    def lost(self, path: Path) -> bool:
        """Whether there was something at the path that has been left out."""
        node = at(self._whole, path)
        if isinstance(node, Items):
            return bool(node.items)
        return node is not None and not (isinstance(node, Table) and not node.entries)
