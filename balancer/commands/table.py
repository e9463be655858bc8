"""Rows of text in columns that fit a terminal's width, coloured where that is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from balancer.commands.console import paint

SHORTEST = 8
"""Characters of the first column that are kept however narrow the terminal is."""


class Span(NamedTuple):
    """A piece of a line, and its colour if it has one."""

    text: str
    colour: str | None = None


Line = Sequence[Span]


class Column(NamedTuple):
    """One column: its heading, and which side its texts keep to."""

    heading: str
    right: bool = False


def rendered(line: Line, width: int | None, colours: bool) -> str:
    """A line as text, cut at the width: one that wraps would break a page that is drawn in place."""
    left = width if width is not None else sum(len(span.text) for span in line)
    parts = []
    for text, colour in line:
        shown = text[:left]
        left -= len(shown)
        parts.append(paint(shown, colour) if colours and colour and shown else shown)
    return "".join(parts).rstrip()


def table(columns: Sequence[Column], rows: Sequence[Sequence[Span]], width: int | None) -> Iterable[Line]:
    """The heading and a line for each row, all of one form.

    What is too wide gets less space between the columns, then a shorter first column, then fewer columns.
    """
    widths = [
        max(len(column.heading), *(len(row[place].text) for row in rows)) if rows else len(column.heading)
        for place, column in enumerate(columns)
    ]
    gap = 2
    if width is not None and _total(widths, gap) > width:
        gap = 1
        widths[0] = max(min(widths[0], SHORTEST), widths[0] - max(0, _total(widths, gap) - width))
        while len(widths) > 2 and _total(widths, gap) > width:
            widths.pop()
    headings = [Span(column.heading, "dim") for column in columns]
    for row in (headings, *rows):
        line = []
        for place, (span, wide, column) in enumerate(zip(row, widths, columns, strict=False)):
            text = span.text if len(span.text) <= wide else "…" + span.text[-(wide - 1) :]
            padded = text.rjust(wide) if column.right else text.ljust(wide)
            line.append(Span(padded + " " * (gap if place < len(widths) - 1 else 0), span.colour))
        yield line


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)
