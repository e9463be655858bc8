"""Numbers in as few characters as still tell what matters, for tables on 80 columns. None is a dash."""

from __future__ import annotations

from datetime import datetime

NONE = "-"


def latency(seconds: float | None) -> str:
    """`0.8ms`, `12ms`, `1.5s`, `75s`."""
    if seconds is None:
        return NONE
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"


def rate(per_second: float | None) -> str:
    """`0.4`, `120`, `15k`."""
    if per_second is None:
        return NONE
    return f"{per_second:.1f}" if per_second < 99.95 else count(per_second)


def count(number: float | None) -> str:
    """All digits of up to five, then thousands and so on: `99999`, `123k`, `4.2M`."""
    if number is None:
        return NONE
    if round(number) < 100_000:
        return f"{number:.0f}"
    for size, unit in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        scaled = number / size
        if scaled < 9.95:
            return f"{scaled:.1f}{unit}"
        if scaled < 999.5:
            return f"{scaled:.0f}{unit}"
    return f"{number:.0e}"


def size(number: float | None) -> str:
    """`812 B`, `1.5 KiB`, `64 MiB`."""
    if number is None:
        return NONE
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1023.5:
            break
        number, unit = number / 1024, larger
    return f"{number:.1f} {unit}" if number < 9.95 and unit != "B" else f"{number:.0f} {unit}"


def share(of_one: float | None) -> str:
    """`93%`, and `99.9%` where the rest is what matters."""
    if of_one is None:
        return NONE
    return f"{of_one * 100:.1f}%" if 0.985 < of_one < 1 else f"{of_one * 100:.0f}%"


def age(seconds: float | None) -> str:
    """`45s`, `12m`, `3h`, `5d`: whole units that have passed."""
    if seconds is None:
        return NONE
    whole = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def moment(text: str | None) -> datetime | None:
    """A time as the API writes it (RFC 3339); None for anything else."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def since(then: datetime | None, now: datetime | None) -> float | None:
    """Seconds between two times that the balancer told, so that clocks need not agree."""
    return (now - then).total_seconds() if then is not None and now is not None else None
