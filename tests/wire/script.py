"""The scripts: text files of cases, read into values. README.md beside this file describes the format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

CASES: Final = Path(__file__).parent / "cases"
SUFFIX: Final = ".wire"
CRLF: Final = b"\r\n"

_REPEAT: Final = re.compile(r"\{([^{}]+?)\*(\d+)\}")
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_PLAIN: Final = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"s": b" ", b"\\": b"\\", b"|": b"|"}


class BadScript(ValueError):
    """A script does not obey the format."""


@dataclass(frozen=True, slots=True)
class Step:
    """One act of a side: `send` with its bytes, or a word such as `pause`, `until`, `close`, `body`."""

    act: str
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the server does about one request, once its `head` or the whole `request` is there."""

    at: str
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Expected:
    """A message that one side must see: `line` is a request line, or the statuses that will do."""

    line: bytes
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    absent: list[bytes] = field(default_factory=list)
    body: bytes | None = None
    cut: bool = False


@dataclass(slots=True)
class Case:
    """One script. `gets` and `sees` are what the server and the client must see, in this order and nothing else."""

    theme: str
    name: str
    kind: str
    site: str
    ref: str = ""
    client: list[Step] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    gets: list[Expected] = field(default_factory=list)
    sees: list[Expected] = field(default_factory=list)
    end: str = ""
    """How the client's connection stands afterwards: kept, closed, or not looked at."""
    gone: bool = False
    """The connection to the server must be closed in the end."""

    @property
    def data(self) -> bytes:
        """All that the client sends."""
        return b"".join(step.data for step in self.client if step.act == "send")

    @property
    def plain(self) -> bool:
        """The client does nothing but send, so that its bytes may be cut up in any way."""
        return all(step.act == "send" for step in self.client)

    @property
    def refused(self) -> bool:
        """Nothing of it may reach a server."""
        return not self.gets


def unescape(text: str) -> bytes:
    """The bytes of a line: `{x*3}` repeats, a backslash escapes, and one at the end stands for no CRLF."""
    text = _REPEAT.sub(lambda match: match[1] * int(match[2]), text)
    data = text.encode("utf-8")
    tail = CRLF
    if data.endswith(b"\\") and not data.endswith(b"\\\\"):
        data, tail = data[:-1], b""

    def one(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes((int(code[1:], 16),))
        if code not in _PLAIN:
            raise BadScript(f"unknown escape \\{code.decode()}")
        return _PLAIN[code]

    return _ESCAPE.sub(one, data) + tail


def _bare(text: str) -> bytes:
    return unescape(text).removesuffix(CRLF) if text else b""


class _Reader:
    """Reads one file; errors name the line."""

    def __init__(self, theme: str, text: str) -> None:
        self.theme = theme
        self.lines = text.split("\n")
        self.kind = ""
        self.site = "plain"

    def cases(self) -> Iterator[Case]:
        at = 0
        while at < len(self.lines):
            line = self.lines[at]
            number = at + 1
            try:
                if line.startswith("@"):
                    word, _, value = line[1:].partition(" ")
                    if word not in ("kind", "site"):
                        raise BadScript(f"expected @kind or @site, not @{word}")
                    setattr(self, word, value.strip())
                elif line.startswith("== "):
                    begin = at + 1
                    at = self._end_of_block(begin)
                    yield self._case(line[3:].strip(), self.lines[begin:at])
                    continue
                elif line.startswith("TABLE"):
                    begin = at + 1
                    at = self._end_of_block(begin)
                    yield from self._rows(self.lines[begin:at])
                    continue
                elif line.strip() and not line.startswith("#"):
                    raise BadScript(f"expected a case, a table or a comment, not {line!r}")
            except BadScript as wrong:
                raise BadScript(f"{self.theme}{SUFFIX}:{number}: {wrong}") from None
            at += 1

    def _end_of_block(self, at: int) -> int:
        while at < len(self.lines) and not self.lines[at].startswith(("== ", "TABLE", "@")):
            at += 1
        return at

    def _rows(self, lines: list[str]) -> Iterator[Case]:
        template = [line for line in lines if not line.startswith("| ")]
        for row in (line for line in lines if line.startswith("| ")):
            name, ref, *values = row[2:].split(" | ")
            filled = list(template)
            for number, value in enumerate(values, 1):
                filled = [line.replace(f"{{{number}}}", value) for line in filled]
            yield self._case(name.strip(), [f"ref: {ref.strip()}", *filled])

    def _case(self, name: str, lines: list[str]) -> Case:
        case = Case(self.theme, name, self.kind, self.site)
        latest: Expected | None = None
        for line in lines:
            if line.startswith(">"):
                case.client.append(Step("send", unescape(line[2:])))
                continue
            if line.startswith("S>"):
                self._serve(case, Step("send", unescape(line[3:])))
                continue
            if not line.strip() or line.startswith("#"):
                continue
            word, _, rest = line.strip().partition(" ")
            rest = rest.strip()
            if word == "ref:":
                case.ref = rest
            elif word == "*":
                act, _, value = rest.partition(" ")
                case.client.append(Step(act, _bare(value)))
            elif word == "S*":
                act, _, value = rest.partition(" ")
                self._serve(case, Step(act, _bare(value)))
            elif word == "S:":
                case.turns.append(Turn(rest, ()))
            elif word == "refused:":
                case.sees.append(Expected(rest.encode()))
                case.end = "closed"
            elif word == "gets:":
                latest = Expected(_bare(rest))
                if rest != "nothing":
                    case.gets.append(latest)
            elif word == "sees:":
                latest = Expected(_bare(rest))
                if rest != "nothing":
                    case.sees.append(latest)
            elif word in ("kept", "closed"):
                case.end = word
            elif word == "gone":
                case.gone = True
            elif latest is not None and word == "with:":
                field_name, _, value = rest.partition(":")
                latest.fields.append((_bare(field_name.strip()).lower(), _bare(value.strip())))
            elif latest is not None and word == "without:":
                latest.absent += [part.strip().lower().encode() for part in rest.split(",")]
            elif latest is not None and word == "body:":
                latest.body = _bare(rest)
            elif latest is not None and word == "cut":
                latest.cut = True
            else:
                raise BadScript(f"{name}: cannot make sense of {line!r}")
        if not case.ref or not case.kind or not case.client:
            raise BadScript(f"{name}: a case needs a reference, a kind and bytes from the client")
        if not (case.end or case.sees or case.gets):
            raise BadScript(f"{name}: a case needs what the client must see")
        return case

    def _serve(self, case: Case, step: Step) -> None:
        if not case.turns:
            case.turns.append(Turn("request", ()))
        case.turns[-1] = replace(case.turns[-1], steps=(*case.turns[-1].steps, step))


def from_text(theme: str, text: str) -> list[Case]:
    """The cases of a file's text; raises BadScript."""
    return list(_Reader(theme, text).cases())


def read(theme: str) -> list[Case]:
    """The cases of one file."""
    return from_text(theme, (CASES / f"{theme}{SUFFIX}").read_text(encoding="utf-8"))


def themes() -> list[str]:
    return sorted(path.stem for path in CASES.glob(f"*{SUFFIX}"))


def all_cases() -> list[Case]:
    return [case for theme in themes() for case in read(theme)]
