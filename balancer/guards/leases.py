"""What a balancer may let through without asking anybody: tokens of a shared limit, taken from Redis in lots."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

W = TypeVar("W")

SPENT: Final = 0.0
LOW: Final = -1.0
ASK: Final = -2.0

HORIZON: Final = 5.0
"""A lot is for what came of its key in so many seconds."""
LIFE: Final = 10.0
"""Seconds after which what is left of a lot lapses: twice what it was taken for."""
PAUSE: Final = 0.1
"""Seconds in which a limited key is not asked for again, if a quarter of its burst takes that long to come back."""
SMALLEST: Final = 4
"""Lots from that size on are followed by the next before they have run out."""


class Lot(Generic[W]):
    """What is known here of one key, and who waits to hear more."""

    __slots__ = ("asked", "full", "left", "low", "owed", "queue", "quiet", "since", "size", "spent", "until")

    def __init__(self, now: float) -> None:
        self.left = 0  # tokens that are paid for
        self.until = 0.0  # when they lapse
        self.low = -1  # as soon as so few are left, more are asked for
        self.full = 0.0  # when the bucket in Redis will be full, as it was told last; others may have taken since
        self.quiet = 0.0  # until when Redis is not asked, since it had less than it was asked for
        self.size = 0  # tokens of the last lot
        self.spent = 0  # tokens since then
        self.since = now
        self.asked = 0  # tokens that Redis has been asked for and has not answered yet
        self.owed = 0  # tokens that those in the queue need
        self.queue: deque[tuple[int, W]] | None = None


class Leases(Generic[W]):
    """The lots of all keys of one limit: `rate` tokens a second, and `burst` at once, for all balancers together.

    A token is counted in Redis when it is taken from there, and spent here later, or never. A balancer holds at most
    `held` tokens of a key, so with N balancers, and answers from Redis that take no longer than d seconds:

    * in any t seconds all of them together let at most `burst + rate * (t + d) + N * held` through, where the limit
      says `burst + rate * t`;
    * nobody is refused who asks for no more than `burst - 2 * N * held + (rate - N * held / LIFE) * t - rate * d` in
      any t seconds.

    `held` is one and a half of the largest lot. That is a twentieth of the burst or a tenth of a second's worth of the
    rate, whichever is more, but so little that `N * held` is no more than half a burst. (A request that costs c leaves
    up to c - 1 behind when it is refused, if that is more.) A lot is no larger than what came of its key
    in `HORIZON` seconds, and than twice the one before: a key that is seen rarely takes one token at a time and is
    counted exactly. So are all where the largest lot is one token, and all of an `exact` limit.

    Who is refused is refused without asking until the tokens can be there. `exact` is that to the point; otherwise
    Redis is left alone for `PAUSE` seconds, in which no token is lost, since its bucket has the room.
    """

    def __init__(self, rate: float, burst: int, most: int, *, exact: bool = False) -> None:
        """`most`: keys that are remembered. Of the least recently seen one what is left lapses."""
        self.interval = 1 / rate  # seconds in which one token comes back
        self.rate = rate
        self.burst = burst
        self.exact = exact
        self.lots: OrderedDict[str, Lot[W]] = OrderedDict()
        self._depth = burst / rate
        self.most = most
        self._pause = 0.0 if exact else min(PAUSE, self._depth / 4)
        self.largest = 1
        self.share(1)

    @property
    def held(self) -> int:
        """Tokens of a key that are paid for and not spent, at most."""
        return self.largest + self.largest // 2 if self.largest > 1 else 0

    def share(self, instances: int) -> None:
        """So many balancers take from the same buckets."""
        worth = max(self.burst / 20, self.rate / 10)
        self.largest = 1 if self.exact else max(int(min(worth, self.burst / (3 * instances))), 1)

    def lot(self, key: str, now: float) -> Lot[W]:
        """What is known of a key."""
        lots = self.lots
        lot = lots.get(key)
        if lot is None:
            if len(lots) >= self.most:
                lots.popitem(last=False)
            lot = lots[key] = Lot(now)
        else:
            lots.move_to_end(key)
        return lot

    def spend(self, lot: Lot[W], cost: int, now: float) -> float:
        """Take tokens of a lot.

        SPENT: they were there. LOW: so they were, and it is time to ask for more. ASK: Redis has to be asked. Else they
        are refused, and it is the seconds until they can be there.
        """
        if not lot.owed:
            left = lot.left - cost
            if left >= 0 and now < lot.until:
                lot.left = left
                lot.spent += cost
                return LOW if left <= lot.low and not lot.asked and now >= lot.quiet else SPENT
            wait = self._wait(lot, cost - lot.left if now < lot.until else cost, now)
            if wait > 0:
                return wait
        return ASK

    def queue(self, lot: Lot[W], cost: int, who: W) -> None:
        """Have somebody wait for what Redis says. Those that wait are served in turn."""
        if lot.queue is None:
            lot.queue = deque()
        lot.queue.append((cost, who))
        lot.owed += cost

    def order(self, lot: Lot[W], now: float) -> tuple[int, int]:
        """What to ask Redis for, and the least of it that is of use; then `told` or `failed` has to follow."""
        if now >= lot.until:
            lot.left = 0
        needed = lot.owed - lot.left
        if needed < 0:
            needed = 0
        size = 1
        if self.largest > 1 and lot.size:
            came = (lot.spent + needed) * HORIZON / max(now - lot.since, 1e-6)
            size = max(int(min(came, 2 * lot.size, self.largest)), 1)
        lot.size = size
        lot.spent = 0
        lot.since = now
        lot.asked = needed if needed > size else size
        return lot.asked, max(lot.queue[0][0] - lot.left, 1) if lot.queue else 1

    def told(self, lot: Lot[W], granted: int, debt: float, now: float) -> list[tuple[W, float]]:
        """Redis has granted so much, and its bucket will be full in `debt` seconds.

        Gives those who need wait no longer, with SPENT or the seconds that they are refused for. For the others, who
        came later, another question has to be asked.
        """
        short = granted < lot.asked
        lot.asked = 0
        if now >= lot.until:
            lot.left = 0
        if granted:
            lot.left += granted
            lot.until = now + LIFE
            lot.low = lot.size // 2 if lot.size >= SMALLEST else -1
        lot.full = now + debt
        if short:
            lot.quiet = now + self._pause
        return self._settled(lot, short, now) if lot.queue else []

    def _settled(self, lot: Lot[W], short: bool, now: float) -> list[tuple[W, float]]:
        settled: list[tuple[W, float]] = []
        queue = lot.queue
        assert queue is not None
        while queue:
            cost, who = queue[0]
            if cost <= lot.left:
                lot.left -= cost
                lot.spent += cost
                settled.append((who, SPENT))
            elif short and ((wait := self._wait(lot, cost - lot.left, now)) > 0 or not settled):
                settled.append((who, max(wait, self.interval / 2)))
            else:
                break
            queue.popleft()
            lot.owed -= cost
        return settled

    def failed(self, lot: Lot[W]) -> list[tuple[int, W]]:
        """There is no answer: gives all who wait, with what they need."""
        lot.asked = 0
        waiting = list(lot.queue or ())
        lot.queue = None
        lot.owed = 0
        return waiting

    def _wait(self, lot: Lot[W], needed: int, now: float) -> float:
        """Seconds until so many can be there; zero or less: they may be there now."""
        return max(lot.full + needed * self.interval - self._depth, lot.quiet) - now
