"""The purges that all balancers on one Redis have to know of: a log there, and what is known of it here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from secrets import token_bytes
from typing import Final, NamedTuple

from balancer.cache.entry import NEVER, Entry
from balancer.cache.purges import EVERYTHING, KINDS, Purge
from balancer.redis_gateway import Gateway, Unavailable
from balancer.redis_script import Script

ID: Final = 8
"""Bytes of the random number that names a purge. Counters would begin anew after an eviction, and revive the dead."""
RECENT: Final = 1024
"""Purges in the log; a balancer that has missed more than that drops what it has in memory."""
WIDE: Final = 256
"""Purges in the log of those that can not be looked up by key. What is older than all of them counts as purged."""
LATEST: Final = 64
"""An answer from before the log's beginning is still held against that many: they may be under way."""
OWED: Final = 1024
"""Purges that Redis has yet to be told; beyond, it is told to drop everything."""
TRIES: Final = 3

_ROOT: Final = b"r"

# Purging must be possible when Redis is full, hence allow-oom (Redis 7, Valkey).
_BEGIN: Final = """#!lua flags=allow-oom
if redis.call('EXISTS', KEYS[1], KEYS[2]) < 2 then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('LPUSH', KEYS[1], ARGV[1])
  redis.call('LPUSH', KEYS[2], ARGV[1])
end
"""
"""A log of which a part was evicted is begun anew as a whole, so that nobody goes on with a part that others lack."""
_APPEND: Final = Script(
    _BEGIN
    + """
local head = redis.call('LINDEX', KEYS[1], 0)
redis.call('LPUSH', KEYS[1], ARGV[2])
redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[4]) - 1)
if ARGV[3] == '1' then
  redis.call('LPUSH', KEYS[2], ARGV[2])
  redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[5]) - 1)
end
return string.sub(head, 1, 8)
"""
)
"""Add a purge to the log, and to the wide ones if it is one; gives the one before."""

_NEWER: Final = Script(
    _BEGIN
    + """
local recent = redis.call('LRANGE', KEYS[1], 0, -1)
local newer = {}
for _, item in ipairs(recent) do
  if string.sub(item, 1, 8) == ARGV[2] then return {newer} end
  newer[#newer + 1] = item
end
return {newer, redis.call('LRANGE', KEYS[2], 0, -1)}
"""
)
"""What is newer than a purge; if that is not in the log: all of it, and all of the wide ones."""


class Logged(NamedTuple):
    """An element of the log."""

    name: bytes
    purge: Purge | None
    """None: it is where the log begins."""
    at: float
    """Wall-clock time."""


class Mark(NamedTuple):
    """A moment in the life of what is known of the log, taken when something begins that purges may overtake."""

    of: SharedPurges
    """Who counts like this: after a reload it may be another one."""
    sequence: int
    own: int


class _Known:
    """The end of a log: ids by when they were heard of, the newest last."""

    __slots__ = ("_most", "items", "sequences")

    def __init__(self, most: int) -> None:
        self._most = most
        self.items: deque[tuple[int, Logged]] = deque()
        self.sequences: dict[bytes, int] = {}

    def add(self, sequence: int, logged: Logged) -> None:
        if len(self.items) >= self._most:
            _, oldest = self.items.popleft()
            del self.sequences[oldest.name]
        self.items.append((sequence, logged))
        self.sequences[logged.name] = sequence

    def since(self, sequence: int) -> Iterator[Logged]:
        """Those after it, the newest first."""
        for number, logged in reversed(self.items):
            if number <= sequence:
                return
            yield logged

    @property
    def last(self) -> bytes:
        return self.items[-1][1].name if self.items else b""

    @property
    def first(self) -> int:
        """The sequence of the oldest."""
        return self.items[0][0] if self.items else 0


class SharedPurges:
    """Keeps step with the log, and writes to it.

    Every purge goes to the log first, then generations are changed (by `SecondLevel`), then it is published: whoever
    hears of it and looks finds it in force. `on_purge` is called for each purge of others, possibly twice; `on_gap`
    when purges may have been missed: the log does not know the last one that is known here, because that is long ago,
    or because the log was evicted or flushed.
    """

    def __init__(
        self, gateway: Gateway, prefix: str, on_purge: Callable[[Purge], None], on_gap: Callable[[], None]
    ) -> None:
        self.gaps = 0  # beside the one that every beginning is
        self.owed: dict[
            Purge, tuple[int, float]
        ] = {}  # own ones that Redis does not have yet; number and wall-clock time
        self.channel = f"{prefix}purges".encode()
        self._gateway = gateway
        self._keys = (f"{prefix}{{purges}}recent", f"{prefix}{{purges}}wide")
        self._on_purge = on_purge
        self._on_gap = on_gap
        self._recent = _Known(RECENT)
        self._wide = _Known(WIDE)
        self._sequence = 0
        self._own = 0
        self._mine: dict[bytes, Purge] = {}  # own ones, the newest last
        self._looking: asyncio.Task[None] | None = None

    @property
    def in_step(self) -> bool:
        return bool(self._recent.items)

    @property
    def head(self) -> str:
        """The key whose first element is the newest purge."""
        return self._keys[0]

    # What is known.

    def mark(self) -> Mark:
        return Mark(self, self._sequence, self._own)

    def newest(self) -> bytes:
        """What a record carries that has been held against all that is known."""
        return self._recent.last + self._wide.last

    def overtaken(self, entry: Entry, mark: Mark) -> bool:
        """Whether a purge since the mark meets it, or may do so."""
        if mark.of is not self or not self.in_step or mark.sequence < self._recent.first:
            return True  # what came after the mark is not known, or not any more
        if any(logged.purge is not None and logged.purge.meets(entry) for logged in self._recent.since(mark.sequence)):
            return True
        return any(number > mark.own and purge.meets(entry) for purge, (number, _) in self.owed.items())

    def verdict(self, entry: Entry, newest: bytes) -> float | None:
        """Hold an entry against the purges that its record has not been held against.

        None: none meets it; `NEVER`: it is gone; else it is stale since that wall-clock time.
        """
        wide = self._wide.sequences.get(newest[ID:])
        if wide is None:
            return NEVER
        recent = self._recent.sequences.get(newest[:ID], self._sequence - LATEST)
        since: Iterable[Logged] = chain(
            self._wide.since(wide),
            self._recent.since(recent),
            (Logged(b"", purge, at) for purge, (_, at) in self.owed.items()),
        )
        found = None
        for _, purge, at in since:
            if purge is not None and purge.meets(entry):
                if not purge.soft:
                    return NEVER
                found = at if found is None else min(found, at)
        return found

    # Keeping step.

    async def catch_up(self, head: object) -> None:
        """Know at least what Redis knew when it said that this was the newest; raises `Unavailable`."""
        for _ in range(TRIES):
            if isinstance(head, bytes) and head[:ID] in self._recent.sequences:
                return
            await self.look()
            if head is None:
                break  # there was no log: what came along with that answer can not be judged
        raise Unavailable("out-of-step")

    async def look(self) -> None:
        """Get what is new in the log; raises `Unavailable`. Who asks meanwhile waits for the same answer."""
        looking = self._looking
        if looking is None:
            looking = self._looking = asyncio.get_running_loop().create_task(self._look(), name="redis-purges")
            looking.add_done_callback(self._looked)
        try:
            await asyncio.shield(looking)
        except Unavailable as error:
            raise Unavailable(error.why) from None  # each their own

    def look_soon(self) -> None:
        """The same, with nobody waiting for it."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="redis-purges")
            self._looking.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # the next look finds what this one has not

    async def _look(self) -> None:
        known = self._recent.last
        answer = await _NEWER.run(self._gateway, self._keys, _begun(), known)
        if not isinstance(answer, list) or len(answer) not in (1, 2) or not isinstance(answer[0], list):
            raise Unavailable("nonsense")
        newer = _log(answer[0])
        if len(answer) == 1:
            for logged in newer:
                self._take(logged)
            return
        if known != self._recent.last:
            return  # it has moved on meanwhile; whoever is behind still looks again
        self.gaps += self.in_step
        for purge, at in self._lost(newer):
            self.owe(purge, at)
        self._begin_anew(self._recent, newer)
        self._begin_anew(self._wide, _log(answer[1]))
        self._on_gap()

    def _lost(self, log: list[Logged]) -> list[tuple[Purge, float]]:
        """Own purges that are not in a log which goes on from what is known: a failover to a replica has lost them."""
        sequences = self._recent.sequences
        common = max((sequences[logged.name] for logged in log if logged.name in sequences), default=None)
        if common is None:
            return []  # it has begun anew, or has come so far meanwhile
        since = self._recent.since(common)
        return [(self._mine[logged.name], logged.at) for logged in since if logged.name in self._mine]

    def heard(self, message: bytes) -> None:
        """Something was published: the purge before, and the purge."""
        before, item = message[:ID], message[ID:]
        if len(item) <= ID:
            self.look_soon()
            return
        logged = decoded(item)
        if logged.purge is not None and logged.name not in self._mine:
            self._on_purge(logged.purge)
        if logged.name in self._recent.sequences:
            return
        if before == self._recent.last:
            self._know(logged)
        else:
            self.look_soon()

    def _take(self, logged: Logged) -> None:
        """A purge that the log has."""
        if logged.name in self._recent.sequences:
            return
        if logged.purge is not None and logged.name not in self._mine:
            self._on_purge(logged.purge)
        self._know(logged)

    def _know(self, logged: Logged) -> None:
        self._sequence += 1
        self._recent.add(self._sequence, logged)
        if logged.purge is not None and is_wide(logged.purge):
            self._wide.add(self._sequence, logged)

    def _begin_anew(self, known: _Known, log: list[Logged]) -> None:
        known.items.clear()
        known.sequences.clear()
        for logged in log:
            if logged.name not in known.sequences:
                self._sequence += 1
                known.add(self._sequence, logged)

    async def check(self) -> None:
        """Be in step, and have the log in use, so that it is not what is evicted first. Raises `Unavailable`."""
        last = self._recent.last
        if await self._gateway.run("TOUCH", *self._keys) == len(self._keys):
            head = await self._gateway.run("LINDEX", self.head, 0)
            if not self._goes_back(head, last):
                await self.catch_up(head)
                return
        await self.look()

    def _goes_back(self, head: object, last: bytes) -> bool:
        """Whether the log ends before what was its last: so does one of a replica that had not got it."""
        sequences = self._recent.sequences
        name = head[:ID] if isinstance(head, bytes) else b""
        return name in sequences and last in sequences and sequences[name] < sequences[last]

    # Writing.

    def owe(self, purge: Purge, wall: float) -> int:
        """A purge begins: from now on nothing that it meets is taken from Redis, until Redis has it.

        Gives its number.
        """
        self._own += 1
        if len(self.owed) >= OWED:
            self.owed.clear()
            self.owed[EVERYTHING] = self._own, wall
        self.owed.pop(purge, None)
        self.owed[purge] = self._own, wall
        return self._own

    def paid(self, purge: Purge, number: int) -> None:
        """Redis has it; unless it has been ordered again meanwhile."""
        owed = self.owed.get(purge)
        if owed is not None and owed[0] == number:
            del self.owed[purge]

    async def append(self, purge: Purge, wall: float) -> tuple[bytes, bytes]:
        """Write it to the log; gives what is to be published. Raises `Unavailable`."""
        logged = Logged(token_bytes(ID), purge, wall)
        item = encoded(logged)
        self._mine[logged.name] = purge
        if len(self._mine) > RECENT:
            del self._mine[next(iter(self._mine))]
        before = await _APPEND.run(self._gateway, self._keys, _begun(), item, int(is_wide(purge)), RECENT, WIDE)
        if not isinstance(before, bytes) or len(before) != ID:
            raise Unavailable("nonsense")
        if logged.name not in self._recent.sequences:
            if before == self._recent.last:
                self._know(logged)
            else:
                await self.look()
        return before, item

    async def publish(self, before: bytes, item: bytes) -> int | None:
        """Tell the others; gives how many listen, this one among them. Raises `Unavailable`."""
        heard = await self._gateway.run("PUBLISH", self.channel, before + item)
        return heard if isinstance(heard, int) else None


def is_wide(purge: Purge) -> bool:
    """Whether there is no key in Redis that stands for what it meets."""
    if purge.kind == "url":
        return purge.value.startswith(b"/")
    return purge.kind not in ("tag", "group")


def encoded(logged: Logged) -> bytes:
    """A purge as it stands in the log."""
    purge = logged.purge
    if purge is None:
        return logged.name + _ROOT
    how = b"s" if purge.soft else b"h"
    return b"%b%b%b %d %b" % (logged.name, how, purge.kind.encode(), logged.at, purge.value)


def decoded(item: bytes) -> Logged:
    """An element of the log. What can not be read may be anything: it stands for everything."""
    name, how, rest = item[:ID], item[ID : ID + 1], item[ID + 1 :]
    if how == _ROOT:
        return Logged(name, None, 0.0)
    kind, at, value = (*rest.split(b" ", 2), b"", b"")[:3]
    for known in KINDS:
        if known.encode() == kind and how in (b"s", b"h") and at.isdigit() and len(at) < 12:
            return Logged(name, Purge(known, value, how == b"s"), float(at))
    return Logged(name, EVERYTHING, 0.0)


def _log(answer: object) -> list[Logged]:
    """What Redis has of the log, the oldest first."""
    return [decoded(item) for item in reversed(answer) if isinstance(item, bytes)] if isinstance(answer, list) else []


def _begun() -> bytes:
    """The first element of a log, should it have to be begun."""
    return token_bytes(ID) + _ROOT
