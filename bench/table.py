"""The figures as text for people, and as plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict

from bench.figures import Case, Row, Spread

_TIMES = "\N{MULTIPLICATION SIGN} nginx"


def text(case: Case) -> str:
    """A table of one case, with whether the goal was reached and whether the figures can be trusted."""
    extras = list(dict.fromkeys(name for row in case.rows for name in row.extra))
    lines = [["", "median", "rounds", _TIMES, "rounds", *extras]]
    for row in case.rows:
        extra = [_number(row.extra.get(name, "")) for name in extras]
        lines.append([row.name, *_cells(row.value), *_cells(row.ratio), *extra])
    columns = [column for column in zip(*lines, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    shown = [f"{case.title} ({case.unit})"]
    for name, *cells in zip(*columns, strict=True):
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        shown.append("  ".join(["", name.ljust(widths[0]), *padded]).rstrip())
    if case.errors:
        shown.append(f"  {case.errors} REQUESTS FAILED: these figures are worth nothing")
    verdict = goal(case)
    if verdict is not None:
        shown.append(f"  {verdict}")
    return "\n".join(shown)


def goal(case: Case) -> str | None:
    """Whether the balancer reached the case's goal; None without a goal or without a measured balancer."""
    row: Row | None = next((row for row in case.rows if row.name == "balancer"), None)
    reached = case.goal.reached(row) if case.goal and row else None
    if case.goal is None or reached is None:
        return None
    unit = _TIMES if case.goal.of == "ratio" else case.unit
    verdict = "reached" if reached <= case.goal.most else "MISSED"
    return f"goal: balancer at most {case.goal.most:g} {unit}: {verdict} ({_number(reached)})"


def plain(case: Case) -> dict[str, object]:
    """What goes into the JSON file: everything, the rounds included."""
    values = asdict(case)
    values["rows"] = {row.pop("name"): row for row in values["rows"]}
    values["verdict"] = goal(case)
    return values


def _cells(values: Spread | None) -> tuple[str, str]:
    """The median, and from where to where the rounds went."""
    if values is None:
        return "", ""
    rounds = "" if values.low == values.high else f"{_number(values.low)}..{_number(values.high)}"
    return _number(values.median), rounds


def _number(value: float | str) -> str:
    """Three digits, and no exponent."""
    if isinstance(value, str):
        return value
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
