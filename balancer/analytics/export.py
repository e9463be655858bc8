"""Single events as files that other tools read: JSON by lines, CSV, and Parquet where pyarrow is installed."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from balancer.analytics.engine import Page
from balancer.analytics.event import Event

Format = Literal["jsonl", "csv", "parquet"]
TYPES: Final[dict[Format, str]] = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
AT_ONCE: Final = 5_000
"""Events of a page: some milliseconds of the store's process, and less here."""
COLUMNS: Final = ("at", "name", "user", "visitor", "status", "duration_us", "size", "dims")


class NoParquet(Exception):
    """pyarrow is not installed."""


async def exported(
    pages: Callable[[int, int, int, int], Any], since: int, until: int, form: Format
) -> AsyncGenerator[bytes]:
    """The events of a time (milliseconds), piece by piece; `pages` is the store's `page`.

    Raises NoParquet and StoreError.
    """
    writer: Any = None
    if form == "parquet":
        writer = _Parquet()
    elif form == "csv":
        yield _csv_line(COLUMNS)
    after = 0
    while True:
        page: Page = await pages(after, since, until, AT_ONCE)
        after = page.after
        if page.events:
            if writer is not None:
                yield await asyncio.to_thread(writer.add, page.events)
            else:
                made = _lines if form == "jsonl" else _csv_rows
                yield await asyncio.to_thread(made, page.events)
        if not page.more:
            break
    if writer is not None:
        yield await asyncio.to_thread(writer.end)


def _row(event: Event) -> dict[str, object]:
    return {
        "at": datetime.fromtimestamp(event.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "name": event.name,
        "user": _key(event.user),
        "visitor": _key(event.visitor),
        "status": event.status,
        "duration_us": event.duration,
        "size": event.size,
        "dims": event.dims,
    }


def _lines(events: Sequence[Event]) -> bytes:
    return b"".join(json.dumps(_row(event), ensure_ascii=False).encode() + b"\n" for event in events)


def _csv_rows(events: Sequence[Event]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for event in events:
        row = _row(event)
        row["dims"] = json.dumps(event.dims, ensure_ascii=False) if event.dims else ""
        writer.writerow([row[name] if row[name] is not None else "" for name in COLUMNS])
    return out.getvalue().encode()


def _csv_line(names: Sequence[str]) -> bytes:
    return (",".join(names) + "\r\n").encode()


def _key(key: int | None) -> str | None:
    return None if key is None else f"{key & (1 << 64) - 1:016x}"


class _Parquet:
    """A file that is written as it is sent."""

    def __init__(self) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise NoParquet from None
        self._arrow = pyarrow
        self._out = io.BytesIO()
        self._schema = pyarrow.schema(
            [
                ("at", pyarrow.timestamp("ms", tz="UTC")),
                ("name", pyarrow.string()),
                ("user", pyarrow.string()),
                ("visitor", pyarrow.string()),
                ("status", pyarrow.int32()),
                ("duration_us", pyarrow.int64()),
                ("size", pyarrow.int64()),
                ("dims", pyarrow.map_(pyarrow.string(), pyarrow.string())),
            ]
        )
        self._writer = parquet.ParquetWriter(self._out, self._schema, compression="zstd")

    def add(self, events: Sequence[Event]) -> bytes:
        rows = [{**_row(event), "at": event.at, "dims": list(event.dims.items())} for event in events]
        self._writer.write_table(self._arrow.Table.from_pylist(rows, self._schema))
        return self._taken()

    def end(self) -> bytes:
        self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        """What has been written since the last time. The writer looks back at nothing but its own position."""
        found = self._out.getvalue()[self._sent :]
        self._sent += len(found)
        return found

    _sent = 0


def has_parquet() -> bool:
    """Whether Parquet can be written here."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        return False
    return True
