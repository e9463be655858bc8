"""The second level of the cache: answers, leases and purges in Redis, shared by all balancers that use it."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from secrets import token_bytes
from struct import Struct
from time import monotonic
from time import time as wall_time  # noqa: TID251  # other machines know no other clock
from typing import Any, Final, TypeVar

from balancer.cache.entry import NEVER, Entry, Selecting
from balancer.cache.purges import Purge
from balancer.cache.receipts import LevelReceipt
from balancer.cache.record import BadRecord, pack, unpack
from balancer.cache.variants import MOST_VARY, matches, selecting
from balancer.http1.head import RequestHead
from balancer.redis_gateway import Gateway, Unavailable
from balancer.redis_listener import RedisListener
from balancer.redis_script import Script
from balancer.shared_purges import ID, Mark, SharedPurges
from config.schema import Redis

Lane = tuple[bytes | None, ...]
T = TypeVar("T")

EVERY: Final = 5.0
"""Seconds between two looks at the log: a message that was lost is made up for by then."""
GRACE: Final = 600.0
"""Seconds for which an answer is kept beyond its use as it is: to be revalidated, or while no server can be reached."""
LONGEST: Final = 30 * 86400.0
LEASE: Final = 5.0
"""Seconds after which a lease ends whose holder has died."""
PATIENCE: Final = 2.0
"""Seconds that one waits for what another fetches, before fetching it as well."""
SHORTEST_POLL, LONGEST_POLL = 0.02, 0.1
QUEUED: Final = 16 * 1024 * 1024
"""Bytes of answers that wait to be written."""
AT_ONCE: Final = 8
ASIDE: Final = 65536
"""Bytes of a body from which it is packed beside the loop."""
HEAD: Final = 256 * 1024
"""Bytes that a record may unpack to beyond its body: far more than a head, its tags and its groups."""
FULL: Final = 1.0
"""Seconds in which nothing is written after Redis has said that its memory is full."""
SELECTOR: Final = 3600.0
"""Seconds that the names of the selecting fields are kept beyond the variant that they were stored with."""
GENERATION: Final = 2 * ID

_SELECTOR: Final = b"V"  # a record begins with a number far below
_SOFT: Final = Struct(">I")  # seconds of wall-clock time, and a random number after it
_RELEASE: Final = """#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_GENERATIONS: Final = Script(
    """local found = {}
for i, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if not value then
    value = ARGV[i + 1]
    redis.call('SET', key, value, 'PX', ARGV[1])
  elseif redis.call('PTTL', key) < tonumber(ARGV[1]) then
    redis.call('PEXPIRE', key, ARGV[1])
  end
  found[i] = value
end
return found
"""
)
"""The generations of what an answer can be purged by, made where there are none, to be kept as long as the answer."""
_SOFTEN: Final = Script(
    """#!lua flags=allow-oom
local met = 0
for i, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if value then
    redis.call('SET', key, string.sub(value, 1, 8) .. ARGV[i], 'KEEPTTL')
    met = met + 1
  end
end
return met
"""
)
"""A new soft generation beside the old hard one, where there is one."""


class Lease:
    """The right to fetch something for all; without a token there was nobody to ask for it."""

    __slots__ = ("key", "place", "puts", "released", "token")

    def __init__(self, place: tuple[bytes, Lane], key: str, token: bytes | None) -> None:
        self.place = place
        self.key = key
        self.token = token
        self.puts = 0  # answers to it that wait to be written
        self.released = False

    def __bool__(self) -> bool:
        """Whether Redis has granted it."""
        return self.token is not None


@dataclass(slots=True)
class _Put:
    entry: Entry
    mark: Mark
    lease: Lease | None
    size: int


class SecondLevel:
    """Answers in Redis.

    Nothing here fails for whoever asks: where Redis does not answer by its deadline, or with what it should, an answer
    is a miss, a lease is granted, and what was to be stored is not. `counts` says how often.

    A record is found by its URL and lane, and by what its Vary names in a second step. It carries the newest purges it
    was held against, and the generations of its URL, tags and groups: two random numbers for each, one that a hard
    purge takes away and one that a soft one changes. A record is good if all of them are as they were. They are
    random, and what is missing counts as purged, so that no eviction, flush or restart brings back what was purged.
    """

    def __init__(
        self,
        gateway: Gateway,
        settings: Redis,
        on_purge: Callable[[Purge], None],
        on_gap: Callable[[], None],
        *,
        largest: int = 1024 * 1024,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = wall_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        """`largest`: bytes of a body; larger ones stay in memory alone."""
        self.gateway = gateway
        self.largest = largest
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.purges = SharedPurges(gateway, settings.prefix, on_purge, on_gap)
        self.listener = RedisListener(
            gateway.open,
            gateway.reach.reason,
            self.purges.channel,
            self.purges.heard,
            self._step_soon,
            sleep=sleep,
            rng=rng,
        )
        gateway.on_heal.append(self._step_soon)
        gateway.on_move.append(self.listener.again)
        self._prefix = settings.prefix
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._queue: deque[_Put] = deque()
        self._queued = 0  # bytes
        self._full_until = NEVER
        self._leases: dict[tuple[bytes, Lane], Lease] = {}
        self._writer: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()  # of whatever result
        self._in_step_since: tuple[int, int] | None = None  # how often either connection had failed by then
        self._stepping = False
        self._step_again = False
        self._slow = NEVER  # when looking for an answer last took the better part of the deadline, or all of it

    @property
    def up(self) -> bool:
        """Whether it is worth asking."""
        return self.gateway.up

    @property
    def in_step(self) -> bool:
        """Whether everything that others have purged is known here, but for what is on its way."""
        return self.up and self.listener.hears and self._in_step_since == self._connections()

    def start(self) -> None:
        """Begin to listen for purges; the gateway is the caller's to close."""
        if self._watcher is None:
            self.listener.start()
            self._watcher = asyncio.get_running_loop().create_task(self._watch(), name="second-level")

    async def close(self) -> None:
        """Stop; what was not written yet is not written."""
        watcher, self._watcher = self._watcher, None
        if self._step_soon in self.gateway.on_heal:
            self.gateway.on_heal.remove(self._step_soon)
            self.gateway.on_move.remove(self.listener.again)
        await self.listener.close()
        running = [task for task in (watcher, self._writer, *self._tasks) if task is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        self._queue.clear()
        self._queued = 0

    # Answers.

    async def get(self, key: bytes, lane: Lane, request: RequestHead) -> Entry | None:
        """What is stored for such a request; None also when that is not known."""
        began = self._clock()
        try:
            return await self._get(key, lane, request)
        except Unavailable:
            self.counts["unavailable"] += 1
            return None
        finally:
            now = self._clock()
            if now - began > self.gateway.settings.timeout / 2:
                self._slow = now

    def mark(self) -> Mark:
        """Taken when a fetch begins, for `put`: what is purged meanwhile is not stored."""
        return self.purges.mark()

    def put(self, entry: Entry, mark: object) -> None:
        """Store it soon."""
        if not isinstance(mark, Mark):
            raise TypeError(f"put takes what mark() gave, not {mark!r}")
        now = self._clock()
        size = len(entry.body) + 1024
        if len(entry.body) > self.largest:
            self.counts["too-large"] += 1
        elif not self.up or now < self._full_until:
            self.counts["unavailable"] += 1
        elif self._queued + size > QUEUED:
            self.counts["queue-full"] += 1
        elif useful(entry, now) > 0:
            lease = self._leases.get((entry.key, entry.lane))
            if lease is not None:
                lease.puts += 1
            self._queue.append(_Put(entry, mark, lease, size))
            self._queued += size
            if self._writer is None or self._writer.done():
                self._writer = asyncio.get_running_loop().create_task(self._write(), name="second-level-writer")

    async def _get(self, key: bytes, lane: Lane, request: RequestHead) -> Entry | None:
        names = _Names(self._prefix, key, lane)
        reading = self.gateway.run("MGET", names.record, names.generation)
        head = self.gateway.run("LINDEX", self.purges.head, 0)
        found = await reading
        if not isinstance(found, list) or len(found) != 2:
            await head
            raise Unavailable("nonsense")
        data, generation = found
        await self.purges.catch_up(await head)
        at = names.record
        if isinstance(data, bytes) and data[:1] == _SELECTOR:
            fields = data[1:].split(b",")
            at = names.variant(selecting(fields[:MOST_VARY], request))
            data = await self.gateway.run("GET", at)
        if not isinstance(data, bytes):
            self.counts["miss"] += 1
            return None
        try:
            entry, marks = unpack(data, key, now=self._clock(), wall=self._wall(), most=self.largest + HEAD)
        except BadRecord:
            self._remove(at, "bad")
            return None
        if entry.lane != lane or not matches(entry, request):
            self.counts["miss"] += 1  # two that share a hash, or what selects has changed
            return None
        return await self._held(entry, marks, generation, at)

    async def _held(self, entry: Entry, marks: bytes, generation: object, at: str) -> Entry | None:
        """Hold a record against what was purged."""
        named = list(_named(entry))
        if len(marks) != GENERATION * (2 + len(named)):
            self._remove(at, "bad")
            return None
        newest, own, rest = marks[: 2 * ID], marks[2 * ID : 2 * ID + GENERATION], marks[2 * ID + GENERATION :]
        now_valid = [generation, *await self._generations(named)] if named else [generation]
        were = [own, *(rest[i : i + GENERATION] for i in range(0, len(rest), GENERATION))]
        stale = []  # since when, in wall-clock time
        for was, now in zip(were, now_valid, strict=True):
            if not isinstance(now, bytes) or was[:ID] != now[:ID] or len(now) != GENERATION:
                self._remove(at, "purged")
                return None
            if was != now:
                stale.append(float(_SOFT.unpack_from(now, ID)[0]))
        verdict = self.purges.verdict(entry, newest)
        if verdict == NEVER:
            self._remove(at, "purged")
            return None
        if verdict is not None:
            stale.append(verdict)
        if stale:
            _make_stale(entry, self._clock() - max(self._wall() - min(stale), 0.0))
        self.counts["hit"] += 1
        return entry

    async def _generations(self, named: list[bytes]) -> list[object]:
        """Those of tags and groups, as they are now."""
        buckets = _buckets(named)
        asked = [self.gateway.run("MGET", *(self._tag(digest) for digest in digests)) for digests in buckets]
        values: dict[bytes, object] = {}
        for digests, asking in zip(buckets, asked, strict=True):
            found = await asking
            if not isinstance(found, list) or len(found) != len(digests):
                raise Unavailable("nonsense")
            values.update(zip(digests, found, strict=True))
        return [values[digest] for digest in named]

    def _remove(self, at: str, why: str) -> None:
        """A record that will never be good again."""
        self.counts[why] += 1
        self.gateway.run("UNLINK", at)

    def _tag(self, digest: bytes) -> str:
        """A tag's or group's key: in one of sixteen slots, so that many of them are few commands."""
        name = digest.hex()
        return f"{self._prefix}{{tag-{name[0]}}}{name}"

    # Writing.

    async def _write(self) -> None:
        while self._queue:
            puts = [self._queue.popleft() for _ in range(min(AT_ONCE, len(self._queue)))]
            await asyncio.gather(*(self._store(put) for put in puts))

    async def _store(self, put: _Put) -> None:
        try:
            self.counts[await self._stored(put.entry, put.mark)] += 1
        except Unavailable as error:
            self.counts["unavailable"] += 1
            if error.why == "OOM":
                self._full_until = self._clock() + FULL
        finally:
            self._queued -= put.size
            if put.lease is not None:
                put.lease.puts -= 1
                if put.lease.released:
                    self.release(put.lease)

    async def _stored(self, entry: Entry, mark: Mark) -> str:
        """Generations first, then the log: a purge that this does not see yet will have changed a generation."""
        seconds = useful(entry, self._clock())
        if seconds <= 0:
            return "useless"
        life = max(int(seconds * 1000), 1)
        names = _Names(self._prefix, entry.key, entry.lane)
        named = list(_named(entry))
        buckets = _buckets(named)
        asking = [self._make([names.generation], life)]
        asking += [self._make([self._tag(digest) for digest in digests], life) for digests in buckets]
        (own,), *others = await asyncio.gather(*asking)
        values = {
            digest: value
            for digests, found in zip(buckets, others, strict=True)
            for digest, value in zip(digests, found, strict=True)
        }
        await self.purges.catch_up(await self.gateway.run("LINDEX", self.purges.head, 0))
        if self.purges.overtaken(entry, mark):
            return "overtaken"
        marks = b"".join((self.purges.newest(), own, *(values[digest] for digest in named)))
        now, wall = self._clock(), self._wall()
        if len(entry.body) > ASIDE:
            data = await asyncio.to_thread(pack, entry, now=now, wall=wall, marks=marks)
        else:
            data = pack(entry, now=now, wall=wall, marks=marks)
        if not entry.vary:
            await self.gateway.run("SET", names.record, data, "PX", life)
            return "stored"
        selector = _SELECTOR + b",".join(name for name, _ in entry.vary)
        variant = self.gateway.run("SET", names.variant(entry.vary), data, "PX", life)
        await self.gateway.run("SET", names.record, selector, "PX", life + int(SELECTOR * 1000))
        await variant
        return "stored"

    async def _make(self, keys: list[str], life: int) -> list[bytes]:
        """The generations under these keys, which are of one slot."""
        found = await _GENERATIONS.run(self.gateway, keys, life, *(token_bytes(GENERATION) for _ in keys))
        values = [value for value in found if isinstance(value, bytes)] if isinstance(found, list) else []
        if len(values) != len(keys) or any(len(value) != GENERATION for value in values):
            raise Unavailable("nonsense")
        return values

    # Leases.

    async def lease(self, key: bytes, lane: Lane) -> Lease | None:
        """The right to fetch this for all; None: another has it. With Redis away everybody has it."""
        place = key, lane
        name = _Names(self._prefix, key, lane).lease
        token = token_bytes(ID)
        if self._clock() - self._slow < self.gateway.settings.timeout:
            self.counts["unavailable"] += 1  # whoever asks has just waited for as long as anybody should
            return Lease(place, name, None)
        try:
            granted = await self.gateway.run("SET", name, token, "NX", "PX", int(LEASE * 1000))
        except Unavailable:
            self.counts["unavailable"] += 1
            return Lease(place, name, None)
        if granted is None:
            return None
        lease = self._leases[place] = Lease(place, name, token)
        return lease

    def release(self, lease: object) -> None:
        """Let others fetch; not before an answer is written that was put meanwhile."""
        if not isinstance(lease, Lease):
            raise TypeError(f"release takes what lease() gave, not {lease!r}")
        lease.released = True
        if lease.puts or lease.token is None:
            return
        if self._leases.get(lease.place) is lease:
            del self._leases[lease.place]
        token, lease.token = lease.token, None
        # Sent now, so that who asks for it next is not told that it is taken; if it gets lost, it ends by itself.
        self.gateway.run("EVAL", _RELEASE, 1, lease.key, token)

    async def await_other(
        self, key: bytes, lane: Lane, request: RequestHead, patience: float = PATIENCE
    ) -> Entry | None:
        """What another fetches, once it is stored; None when it will not be, or takes too long."""
        name = _Names(self._prefix, key, lane).lease
        until = self._clock() + patience
        pause = SHORTEST_POLL
        while True:
            # In this order: a lease that is gone means that what was to be stored has been.
            leased = self.gateway.run("EXISTS", name)
            entry = await self.get(key, lane, request)
            if entry is not None:
                return entry
            try:
                if not await leased:
                    return None
            except Unavailable:
                return None
            if self._clock() + pause > until:
                self.counts["patience"] += 1
                return None
            await self._sleep(pause)
            pause = min(1.5 * pause, LONGEST_POLL)

    # Purges.

    async def purge(self, purge: Purge) -> LevelReceipt:
        """Put a purge in force in Redis, and tell the others. If that fails it is tried again until it is done."""
        began = self._clock()
        delivery = self._begin(self._purge(purge, self._owe(purge)))
        await asyncio.wait([delivery])
        why, entries = ("closed", None) if delivery.cancelled() else delivery.result()
        seconds = self._clock() - began
        if why is not None:
            reason = f"Redis did not take it ({why}); it is told again when it can be reached"
            return LevelReceipt("redis", False, None, seconds, reason)
        uncounted = None if entries is not None else "Redis does not know how many it meets"
        return LevelReceipt("redis", True, entries, seconds, uncounted)

    def invalidate(self, key: bytes) -> None:
        """What is stored of a URL is out of date; the others are told if there is anything."""
        self._begin(self._invalidate(key))

    def _owe(self, purge: Purge) -> int:
        return self.purges.owe(purge, self._wall())

    async def _invalidate(self, key: bytes) -> None:
        purge = Purge("url", key)
        number = self._owe(purge)
        try:
            if await self.gateway.run("EXISTS", _Names(self._prefix, key).generation):
                await self._deliver(purge, number)
            else:
                self.purges.paid(purge, number)
        except Unavailable:
            self.counts["unavailable"] += 1

    async def _purge(self, purge: Purge, number: int) -> tuple[str | None, int | None]:
        """Why it is not in force, and what it met."""
        try:
            return None, await self._deliver(purge, number)
        except Unavailable as error:
            return error.why, None

    async def _deliver(self, purge: Purge, number: int) -> int | None:
        """The log, the generations, the others, in this order; gives 0 if nothing was met, None if that is unknown."""
        wall = self._wall()
        before, item = await self.purges.append(purge, wall)
        keys = self._keys_of(purge)
        met = 0
        if purge.soft:
            for key in keys:
                answer = await _SOFTEN.run(self.gateway, [key], _SOFT.pack(int(wall)) + token_bytes(ID - _SOFT.size))
                met += answer if isinstance(answer, int) else 0
        else:
            for removing in [self.gateway.run("UNLINK", key) for key in keys]:
                answer = await removing
                met += answer if isinstance(answer, int) else 0
        await self.purges.publish(before, item)
        self.purges.paid(purge, number)
        return 0 if keys and not met else None

    def _keys_of(self, purge: Purge) -> list[str]:
        """The generations that stand for what it meets; none: it is for the log alone."""
        if purge.kind in ("tag", "group"):
            return [self._tag(_digest(purge.kind.encode(), purge.value))]
        if purge.kind != "url" or purge.value.startswith(b"/"):
            return []
        head, found, _ = purge.value.partition(b"://")
        if found and b"/" not in head:
            return [_Names(self._prefix, purge.value).generation]
        return [_Names(self._prefix, scheme + purge.value).generation for scheme in (b"http://", b"https://")]

    async def _watch(self) -> None:
        me = asyncio.current_task()
        while self._watcher is me:
            self._step_soon()
            await self._sleep(EVERY)

    def _step_soon(self) -> None:
        """Tell what is owed, and learn what was missed: now and then, and as soon as either connection is back.

        Which of the two comes back first cannot be foretold, and with one alone it cannot be done.
        """
        self._step_again = True
        if not self._stepping:
            self._stepping = True
            self._begin(self._step())

    async def _step(self) -> None:
        try:
            while self._step_again and self.up:
                self._step_again = False
                connections, gaps = self._connections(), self.purges.gaps
                for purge, (number, _) in list(self.purges.owed.items()):
                    await self._deliver(purge, number)
                await self.purges.check()
                self._in_step_since = connections
                if self.purges.owed and self.purges.gaps != gaps:
                    self._step_again = True  # a failover has lost what had been told
        except Unavailable:
            pass  # the gateway has counted it; the next turn tries again
        finally:
            self._stepping = False

    def _connections(self) -> tuple[int, int]:
        return self.gateway.state.opened, self.listener.began

    def _begin(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Something that nobody may cancel by leaving."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Names:
    """The keys of one URL and lane; all of a URL are in one slot of a cluster."""

    __slots__ = ("_lane", "_url")

    def __init__(self, prefix: str, key: bytes, lane: Lane = ()) -> None:
        self._url = f"{prefix}{{{_digest(b'url', key).hex()}}}"
        self._lane = _digest(b"lane", *lane).hex()

    @property
    def generation(self) -> str:
        """Of the URL, whatever the lane."""
        return f"{self._url}generation"

    @property
    def record(self) -> str:
        """An answer, or the names of the fields that select one."""
        return f"{self._url}{self._lane}"

    @property
    def lease(self) -> str:
        return f"{self._url}{self._lane}:lease"

    def variant(self, selected: Selecting) -> str:
        return f"{self._url}{self._lane}:{_digest(b'vary', *(part for pair in selected for part in pair)).hex()}"


def useful(entry: Entry, now: float) -> float:
    """For how many seconds an answer may be of any use."""
    until = max(entry.fresh_until, entry.revalidate_until, entry.error_until, now)
    if not entry.strict or entry.etag is not None or entry.last_modified is not None:
        until += GRACE
    return min(until - now, LONGEST)


def _make_stale(entry: Entry, at: float) -> None:
    """End the freshness of an entry at this time; its windows move with it, as they do in memory."""
    early = entry.fresh_until - at
    if early > 0:
        entry.fresh_until = at
        entry.revalidate_until -= early
        entry.error_until -= early


def _named(entry: Entry) -> Iterable[bytes]:
    """Digests of what an answer can be purged by beside its URL."""
    for tag in entry.tags:
        yield _digest(b"tag", tag)
    if entry.groups:
        origin = entry.key[: entry.key.find(b"/", entry.key.find(b"//") + 2)]
        for group in entry.groups:
            yield _digest(b"group", origin + b" " + group)


def _buckets(digests: list[bytes]) -> list[list[bytes]]:
    """Those that are in one slot together."""
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    for digest in dict.fromkeys(digests):
        found[digest[0] >> 4].append(digest)
    return list(found.values())


def _digest(*parts: bytes | None) -> bytes:
    """Sixteen bytes for any parts, no two lists of which are confused."""
    hashed = blake2b(digest_size=16)
    for part in parts:
        hashed.update(b"-" if part is None else b"%d:%b" % (len(part), part))
    return hashed.digest()
