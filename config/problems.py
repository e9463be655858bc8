"""What is wrong with a configuration, and where it was written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PIECE = re.compile(r'(?P<dot>\.)?(?P<key>[^.\[\]"]+)|\["(?P<quoted>[^"]*)"\]|\[(?P<position>[0-9]{1,9})\]')
Path = tuple[str | int, ...]
"""Keys and list positions, from the top of the configuration."""


class Place(NamedTuple):
    """Where a value was written: a position in a file, or (line 0) the variable whose name stands for it.

    `path` is in the words of whoever wrote it: `listen`, and not `listeners.main.address` that it stands for.
    """

    file: str
    line: int = 0
    column: int = 0
    path: str = ""

    def child(self, path: str) -> Place:
        """The same place, for something that stands for more than was written."""
        return self._replace(path=path)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, as an operator reads it. Its text is one line and holds no secret."""

    file: str
    line: int
    column: int
    path: str
    message: str

    @classmethod
    def at(cls, place: Place, message: str) -> Problem:
        return cls(place.file, place.line, place.column, place.path, _one_line(message))

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(_one_line(part) for part in (where, self.path, self.message) if part)


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` lists everything found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:
        return ConfigError, (self.problems,)


class Unfit(ValueError):
    """A value that is not what its place takes.

    `expected` says what the place takes without repeating what came, which may be secret; `hint` does repeat it.
    """

    def __init__(self, expected: str, came: object, hint: str = "") -> None:
        super().__init__(f"{expected}{hint}, not {came!r}")
        self.expected = expected
        self.hint = hint


def _one_line(text: str) -> str:
    """Text without control characters, by which a file could write lines of its own into a log."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, files before variables, from top to bottom."""
    unique = dict.fromkeys(problems)
    return tuple(sorted(unique, key=lambda problem: (not problem.line, problem.file, problem.line, problem.column)))


def path_text(path: Path) -> str:
    """`("pools", "app", "servers", "10.0.0.1:80", 2)` as `pools.app.servers["10.0.0.1:80"][2]`."""
    text = ""
    for piece in path:
        if isinstance(piece, int):
            text += f"[{piece}]"
        elif _PLAIN_KEY.fullmatch(piece):
            text += f".{piece}" if text else piece
        else:
            shown = _one_line(piece[:80]).replace('"', "?")
            text += f'["{shown}"]'
    return text


def path_of(text: str, there: object = None) -> Path:
    """What `path_text` writes, as pieces again. ValueError when it is not of that form.

    `there` is what the path leads into, if that is known: names in it may have dots and stand without quotes.
    """
    pieces: list[str | int] = []
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        names = there if isinstance(there, Mapping) else {}
        start = at + (text[at] == "." and bool(pieces))
        if found is None or found["key"] not in names:
            named = [name for name in names if text.startswith(name, start) and _ends(text, start + len(name))]
            if named and (start > at or not pieces):
                pieces.append(name := max(named, key=len))
                there, at = names[name], start + len(name)
                continue
        if found is None or (found["dot"] is None) == (bool(pieces) and found["key"] is not None):
            raise ValueError(f'must be such as pools.app.servers["10.0.0.1:80"].weight, not {text[:200]!r}')
        quoted, position = found["quoted"], found["position"]
        pieces.append(int(position) if position else found["key"] if quoted is None else quoted)
        there = names.get(pieces[-1])
        at = found.end()
    return tuple(pieces)


def _ends(text: str, at: int) -> bool:
    """Whether a piece of a path ends there."""
    return text[at : at + 1] in ("", ".", "[")


def json_pointer(path: Path) -> str:
    """The path as RFC 6901 has it: `/pools/app/servers/10.0.0.1:80`."""
    # A name may be as long as the body; nobody has to have the whole of it repeated.
    return "".join("/" + str(piece)[:200].replace("~", "~0").replace("/", "~1") for piece in path)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None."""
    from difflib import get_close_matches  # only ever needed to explain a mistake

    by_fold = {name.lower().replace("_", "-"): name for name in known}
    found = get_close_matches(word.lower().replace("_", "-"), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def meant(word: str, known: Sequence[str]) -> str:
    """`did you mean "port"?`, or the list of what is known."""
    close = nearest(word, known)
    if close is not None:
        return f'did you mean "{close}"?'
    return f"expected {listed(known)}" if known else "nothing is known here"


def listed(words: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end
