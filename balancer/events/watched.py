"""What a request that may count carries until it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balancer.http1.head import RequestHead, ResponseHead

if TYPE_CHECKING:
    from balancer.events.rules import Rule

Matches = list[tuple["Rule", tuple[bytes, ...]]]


class Watched:
    """The rules whose method and path fit, each with what the path's names stand for.

    `answer` is the head that the app gave to this very request: answers of the cache, or to somebody else's request for
    the same, tell nothing of whoever asks.
    """

    __slots__ = ("answer", "head", "matches")

    def __init__(self, head: RequestHead, matches: Matches) -> None:
        self.head = head
        self.matches = matches
        self.answer: ResponseHead | None = None
