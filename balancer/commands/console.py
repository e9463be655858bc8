"""Where a command reads its environment and writes: data to stdout, everything else to stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from typing import TextIO

COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "bold": 1, "dim": 2}


class Console:
    """The three things around a command, so that tests can hand it others."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        output: TextIO | None = None,
        messages: TextIO | None = None,
    ) -> None:
        self.environ = os.environ if environ is None else environ
        self._output = _lenient(output or sys.stdout)
        self._messages = _lenient(messages or sys.stderr)

    def out(self, text: str) -> None:
        """Data, with a line break after it."""
        print(text, file=self._output, flush=True)

    def draw(self, text: str) -> None:
        """Text and control sequences, as they are."""
        self._output.write(text)
        self._output.flush()

    def say(self, text: str) -> None:
        """A message to whoever typed the command. It may quote what came from far away."""
        print("\n".join(map(printable, text.split("\n"))), file=self._messages, flush=True)

    def progress(self, text: str) -> None:
        """A line of messages over the last one; an empty text takes that away."""
        self._messages.write(f"\r{printable(text)}\x1b[K")
        self._messages.flush()

    @property
    def shows_progress(self) -> bool:
        """Whether somebody watches the messages on a terminal where a line can be written over."""
        return self._messages.isatty() and self.environ.get("TERM", "") not in ("", "dumb")

    @property
    def redraws(self) -> bool:
        """Whether stdout is a terminal where the cursor can be moved."""
        return self._output.isatty() and self.environ.get("TERM", "") not in ("", "dumb")

    @property
    def colours(self) -> bool:
        """Whether stdout is a terminal that shows colours and whose user wants them (no-color.org)."""
        return self.redraws and not self.environ.get("NO_COLOR")

    @property
    def size(self) -> tuple[int, int] | None:
        """Columns and lines of the terminal; None where lines may be as long as they like."""
        if not self._output.isatty():
            return None
        try:
            columns, lines = os.get_terminal_size(self._output.fileno())
        except OSError:
            columns, lines = 0, 0
        return columns or 80, lines or 24  # a terminal that nobody told its size has none


def paint(text: str, colour: str) -> str:
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def printable(text: str) -> str:
    """The text on one line, without what a terminal would take for commands: much of it is from far away."""
    return "".join(char if char.isprintable() else "?" for char in text)


def counted(count: int, noun: str) -> str:
    """`1 server`, `2 servers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _lenient(stream: TextIO) -> TextIO:
    """The stream, which shows a ? where its encoding lacks a character, instead of failing."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return stream
