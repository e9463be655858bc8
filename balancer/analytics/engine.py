"""What keeps events and answers reports on them: one interface, whichever database is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from balancer.analytics.event import Event
from balancer.analytics.source import Asked, Row


class StoreError(Exception):
    """What was to be stored is not, or what was asked can not be read; nothing else has changed."""


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """What is kept."""

    events: int
    """Raw ones."""
    bytes: int | None
    """None where the database does not tell."""
    oldest: int | None
    """Of raw events: milliseconds since 1970."""
    newest: int | None
    unclean: int | None
    """The store was not closed by the run before: events after this moment may be missing. None: it was."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the raw events."""

    events: Sequence[Event]
    after: int
    """To be given for the next page."""
    more: bool


class Engine(Protocol):
    """A store. It lives in the worker's process, and all of it may take its time there."""

    @property
    def zone(self) -> str:
        """In whose days users are counted: an IANA name."""
        ...

    async def open(self) -> None:
        """Make or find it, and bring it up to the last version of its schema. Raises StoreError."""
        ...

    async def write(self, run: str, batches: Sequence[tuple[int, Sequence[Event]]]) -> None:
        """All of these batches with all that follows from them, or nothing; what was stored before is not again.

        `run` is who numbers them, each higher than the last. Raises StoreError.
        """
        ...

    async def rows(self, query: str, asked: Asked) -> list[Row]:
        """See `balancer.analytics.source`. Raises SourceError."""
        ...

    async def page(self, after: int, since: int, until: int, count: int) -> Page:
        """Raw events of a time (milliseconds), in the order in which they were stored; `after` is 0 at first."""
        ...

    async def forget(self, user: int) -> int:
        """Nothing says any more what this user did; how many rows that took."""
        ...

    async def prune(self, now: int) -> int:
        """What is older than is to be kept goes; how many raw events that were."""
        ...

    async def figures(self) -> StoreFigures: ...

    async def close(self, *, clean: bool) -> None:
        """`clean`: whatever there was to store has been stored; else the next `figures` say since when it may not."""
        ...
