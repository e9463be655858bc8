"""Periods as they are asked for: from and to, as times or as how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from api.problems import Fault, Problem
from config.values import seconds

MOST_POINTS: Final = 2000
"""Intervals of one answer."""
SHORTEST: Final = 60
"""Seconds of an interval."""
_AGO: Final = re.compile(r"[0-9.]+(ms|s|m|h|d)|0")


def period(from_: str, to: str | None, interval: str, now: datetime) -> tuple[datetime, datetime, int]:
    """Beginning, end and interval in seconds. Problem with everything that is wrong."""
    faults: list[Fault] = []
    begin = _moment("?from", from_, now, faults)
    end = now if to is None else _moment("?to", to, now, faults)
    step = 0
    try:
        step = int(seconds(interval))
    except ValueError:
        pass
    if step < SHORTEST:
        faults.append(Fault(pointer="?interval", message=f"must be a duration such as 5m or 1h, at least {SHORTEST}s"))
    if begin is not None and end is not None and not faults:
        if begin >= end:
            faults.append(Fault(pointer="?from", message="must be before the end of the period"))
        elif (end - begin).total_seconds() / step > MOST_POINTS:
            message = f"must be longer: the period would have more than {MOST_POINTS} of them"
            faults.append(Fault(pointer="?interval", message=message))
    if faults or begin is None or end is None:
        count = "1 field is" if len(faults) == 1 else f"{len(faults)} fields are"
        raise Problem(422, f"{count} not as expected", faults)
    return begin, end, step


def _moment(pointer: str, text: str, now: datetime, faults: list[Fault]) -> datetime | None:
    try:
        if _AGO.fullmatch(text):
            return now - timedelta(seconds=float(seconds(text)))
        # In a query a plus sign is a space.
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        message = "must be a time such as 2026-11-30T12:00:00Z, or how long ago, such as 24h"
        faults.append(Fault(pointer=pointer, message=message))
        return None
