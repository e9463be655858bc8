"""An answer on its way into the cache, and those who wait for it and read along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from balancer.cache.entry import Entry, Selecting
from balancer.cache.variants import matches, selecting
from balancer.caching.order import Lane, Order
from balancer.http1.framing import chunk

if TYPE_CHECKING:
    from balancer.caching.follower import Follower

UNKNOWN = -1
SMALL: Final = 512
"""Bytes of a piece: on average smaller ones are joined, as a piece takes half a hundred bytes beside its own."""


class Source(Protocol):
    """What fetches the answer."""

    def unwanted(self) -> None:
        """Nobody waits for it or reads along any more."""

    def throttle(self, behind: bool) -> None:
        """Whether some of those who read along have yet to take pieces that are not kept for the cache."""


class Stock(Protocol):
    """What the fill is to become part of."""

    def room(self, fill: Fill, size: int) -> bool:
        """Whether the fill may grow by so many bytes, all that is not complete taken together."""

    def keep(self, fill: Fill) -> None:
        """It is complete, and to be stored."""

    def ended(self, fill: Fill) -> None:
        """Nobody can join it any more."""


class Cache(Protocol):
    """What answers those who have waited."""

    def again(self, order: Order) -> None:
        """What this order waited for is not for it, or is stored by now: it begins anew."""

    def serve(self, order: Order, entry: Entry, verdict: str, fwd_status: int = 0) -> None:
        """Send a stored answer, and count the request."""

    def settle(self, order: Order, entry: Entry, verdict: str, fwd_status: int) -> None:
        """What is stored already will do, if it matches; else the order begins anew."""


class Fill:
    """One answer for one place in the cache.

    Redis is asked for it, then a server. From `begin` on its pieces are kept for the entry, and the followers are
    given them as they come. A body that turns out to be larger than what may be stored is passed on to those who read
    it already, no faster than the slowest of them takes it.
    """

    __slots__ = (
        "_cache",
        "_dropped",
        "_stock",
        "begun",
        "counted",
        "entry",
        "followers",
        "hint",
        "kept",
        "key",
        "lane",
        "lease",
        "length",
        "mark",
        "open",
        "pieces",
        "size",
        "source",
    )

    def __init__(self, stock: Stock, cache: Cache, key: bytes, lane: Lane, hint: Selecting, begun: int) -> None:
        """`hint` is what will probably select the answer, going by others of the same URL."""
        self._stock = stock
        self._cache = cache
        self.key = key
        self.lane = lane
        self.hint = hint
        self.begun = begun  # the last purge when it began: later ones hold for it
        self.mark: object = None  # the same, of Redis
        self.lease: object = None  # of Redis: no other balancer fetches it meanwhile
        self.source: Source | None = None  # None: Redis is being asked
        self.open = True  # others may join
        self.entry: Entry | None = None  # from its head on
        self.kept = False  # it is to be stored, as far as is known
        self.length = UNKNOWN  # bytes of the body as declared
        self.pieces: list[bytes] = []
        self.size = 0
        self.counted = 0  # owner: the stock
        self.followers: dict[Follower, None] = {}  # in the order they came
        self._dropped = 0  # pieces that are gone, of a body that is not kept

    def takes(self, order: Order) -> bool:
        """Whether this is probably what a request wants."""
        if not self.open:
            return False
        if self.entry is not None:
            return matches(self.entry, order.head)
        hint = self.hint
        return not hint or hint == selecting([name for name, _ in hint], order.head)

    # Those who wait.

    def join(self, follower: Follower) -> None:
        self.followers[follower] = None
        if self.entry is not None:
            follower.begin(self.entry)

    def leave(self, follower: Follower) -> None:
        """A follower has what it wanted, or its client has gone."""
        self.followers.pop(follower, None)
        if self.source is not None:
            if not self.followers:
                self.source.unwanted()
            if not self.kept:
                self._trim()

    def dismiss(self, follower: Follower) -> None:
        """It is not what the follower wants, after all."""
        self.leave(follower)
        self._cache.again(follower.order)

    def serve_whole(self, follower: Follower) -> None:
        """Give a follower the answer as it is stored now."""
        assert self.entry is not None
        self._cache.serve(follower.order, self.entry, "collapsed")

    def caught_up(self) -> None:
        """A follower has taken what it was behind with."""
        if not self.kept:
            self._trim()

    def since(self, at: int, most: int | None = None) -> list[bytes]:
        """The pieces from number `at` on: all, or as many as make `most` bytes."""
        pieces, first = self.pieces, at - self._dropped
        if most is None:
            return pieces[first:]
        end, size = first, 0
        while end < len(pieces) and size < most:
            size += len(pieces[end])
            end += 1
        return pieces[first:end]

    # What comes of it.

    def begin(self, entry: Entry, length: int) -> None:
        """The head has come, and may be stored. `length` of the body, or UNKNOWN."""
        self.entry = entry
        self.length = length
        self.kept = True
        for follower in list(self.followers):
            follower.begin(entry)

    def feed(self, pieces: list[bytes]) -> None:
        """The next pieces of the body."""
        grown = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        if self.kept and not self._stock.room(self, grown):
            self.kept = False
            self._stock.ended(self)
        self.size += grown
        if grown < len(pieces) * SMALL:
            pieces = [b"".join(pieces)]
        self.pieces += pieces
        if self.followers:
            data = chunk(pieces) if self.length == UNKNOWN else b"".join(pieces)
            for follower in list(self.followers):
                follower.more(data, len(pieces), grown)
        if not self.kept:
            self._trim()

    def _trim(self) -> None:
        """Of a body that is not kept: let go of what everybody has, and have the server wait for the slowest."""
        end = self._dropped + len(self.pieces)
        least = min((follower.at for follower in self.followers), default=end)
        if least > self._dropped:
            del self.pieces[: least - self._dropped]
            self._dropped = least
        if self.source is not None:
            self.source.throttle(least < end)

    def complete(self) -> None:
        """The body is complete."""
        entry = self.entry
        if entry is not None and not self._dropped:
            entry.body = b"".join(self.pieces)
            entry.encoded = None  # its heads were made for a body of which nobody knew the length
            if self.kept:
                self._stock.keep(self)
        for follower in self._end():
            follower.finish()

    def release(self, *, alone: bool = False) -> None:
        """There is nothing to read along: what is stored will do, or they wait for one of them.

        `alone`: the answer was for one of them only, and each has to ask for itself. The next one would be, too, and
        they would be answered one after the other.
        """
        for follower in self._end():
            follower.order.alone = alone
            self._cache.again(follower.order)

    def settle(self, entry: Entry, verdict: str, fwd_status: int) -> None:
        """What is stored already will do for those who wait, too."""
        for follower in self._end():
            self._cache.settle(follower.order, entry, verdict, fwd_status)

    def failed(self, status: int, reason: str, outcome: str) -> None:
        """No server has answered: asking again for each who waits would help nobody."""
        for follower in self._end():
            follower.fail(status, reason, outcome)

    def broken(self, outcome: str) -> None:
        """The answer broke off in its middle."""
        self.kept = False
        for follower in self._end():
            follower.cut(outcome)

    def _end(self) -> list[Follower]:
        self._stock.ended(self)
        self.source = None  # no cycle is left for the collector
        followers, self.followers = self.followers, {}
        return list(followers)
