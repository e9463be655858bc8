"""What a request that may count carries until it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from balancer.http1.head import RequestHead, ResponseHead

if TYPE_CHECKING:
    from balancer.events.rules import Rule


class Watched:
    """Rules whose method and path fit, with what the path's names stand for; `more` are those of other paths.

    `answer` is the head that the app gave to this very request: answers of the cache, or to somebody else's request for
    the same, tell nothing of whoever asks.
    """

    __slots__ = ("answer", "found", "head", "more", "rules")

    def __init__(
        self, head: RequestHead, rules: Sequence[Rule], found: tuple[bytes, ...], more: Watched | None = None
    ) -> None:
        self.head = head
        self.rules = rules
        self.found = found
        self.more = more
        self.answer: ResponseHead | None = None
