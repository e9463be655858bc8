"""Which entries should make room: hit ratios and costs of eviction policies, `python -m bench.cache_policy`.

The product's is `balancer.cache.policy.Policy`. The others live here, to be held against it; what came out is in
CACHE_POLICY.md beside this file.
"""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from random import Random
from time import perf_counter
from typing import Final, NamedTuple, Protocol

from balancer.cache.entry import Entry
from balancer.cache.policy import Policy as Product
from balancer.cache.policy import Ring

_OBJECTS: Final = 50_000
_REQUESTS: Final = 400_000
_SMALL: Final = 4096  # bytes of an object where all are alike


class Policy(Protocol):
    """What the store asks of a policy. `hit` is what a hit costs beside finding the entry."""

    def hit(self, entry: Entry) -> None: ...

    def insert(self, entry: Entry) -> None: ...

    def remove(self, entry: Entry) -> None: ...

    def victim(self) -> Entry | None: ...


class Chosen(Product):
    """The product's, with the hit as a call; there it is one assignment in the place where an entry is served."""

    __slots__ = ()

    def __init__(self, _limit: int) -> None:
        super().__init__()

    def hit(self, entry: Entry) -> None:
        """Spare it once."""
        entry.visited = True

    def victim(self, _serial: int = 0) -> Entry | None:
        """Nothing has been purged."""
        return super().victim(0)

    def insert(self, entry: Entry) -> None:
        """Not as it was when it left."""
        entry.main = False
        super().insert(entry)


class Lru(Ring):
    """The one asked for longest ago goes."""

    __slots__ = ()

    def __init__(self, _limit: int) -> None:
        super().__init__()

    def hit(self, entry: Entry) -> None:
        """It is the newest again."""
        self.remove(entry)
        self.insert(entry)

    def victim(self) -> Entry | None:
        """The oldest."""
        return None if self.oldest is self.root else self.oldest


class Sieve(Ring):
    """SIEVE (Zhang and others, NSDI 2024): a hand goes from the oldest to the newest and spares what was asked for
    since it was there last, which stays where it is."""

    __slots__ = ("hand",)

    def __init__(self, _limit: int) -> None:
        super().__init__()
        self.hand = self.root

    def hit(self, entry: Entry) -> None:
        """Spare it once."""
        entry.visited = True

    def remove(self, entry: Entry) -> None:
        """Leave one out."""
        if self.hand is entry:
            self.hand = entry.previous  # type: ignore[assignment]  # it is in the ring
        super().remove(entry)

    def victim(self) -> Entry | None:
        """The first that the hand does not spare."""
        entry = self.hand
        while True:
            if entry is self.root:
                entry = self.oldest
            if not entry.visited:
                break
            entry.visited = False
            entry = entry.previous  # type: ignore[assignment]  # it is in the ring
        self.hand = entry
        return None if entry is self.root else entry


class S3Fifo:
    """As its paper has it: hits are counted to three, and each round in the main queue takes one of them.

    `checked` says the queue, `hits` counts."""

    def __init__(self, limit: int) -> None:
        self.small = Ring()
        self.main = Ring()
        self.in_small = 0
        self.most_small = limit // 10
        self.stored = 0
        self.ghosts: OrderedDict[int, None] = OrderedDict()

    def hit(self, entry: Entry) -> None:
        """Count it."""
        if entry.hits < 3:
            entry.hits += 1

    def insert(self, entry: Entry) -> None:
        """Into the small queue, or the main one if it left the small one lately."""
        self.stored += 1
        entry.hits = 0
        if self.ghosts.pop(hash(entry.key), self) is None:
            entry.checked = 1
            self.main.insert(entry)
        else:
            entry.checked = 0
            self.small.insert(entry)
            self.in_small += entry.size

    def remove(self, entry: Entry) -> None:
        """Leave one out."""
        self.stored -= 1
        if entry.checked:
            self.main.remove(entry)
        else:
            self.small.remove(entry)
            self.in_small -= entry.size

    def victim(self) -> Entry | None:
        """Of the small queue while that is too long, else of the main one."""
        while self.stored:
            if self.in_small > self.most_small or self.main.root.previous is self.main.root:
                entry = self._from_small()
            else:
                entry = self._from_main()
            if entry is not None:
                return entry
        return None

    def _from_small(self) -> Entry | None:
        entry = self.small.root.previous
        assert entry is not None
        if entry is self.small.root:
            return None
        if entry.hits:
            self.small.remove(entry)
            self.in_small -= entry.size
            entry.hits = 0
            entry.checked = 1
            self.main.insert(entry)
            return None
        self.ghosts[hash(entry.key)] = None
        if len(self.ghosts) > self.stored:
            self.ghosts.popitem(last=False)
        return entry

    def _from_main(self) -> Entry | None:
        entry = self.main.root.previous
        assert entry is not None
        if entry.hits:
            self.main.remove(entry)
            entry.hits -= 1
            self.main.insert(entry)
            return None
        return entry


class TinyLfu:
    """W-TinyLFU (Einziger and others, 2017): a window of one per cent, and a segmented LRU that takes in only what was
    asked for more often than what would go for it, by a sketch that forgets half of all it knows now and then."""

    _ROWS: Final = 4

    def __init__(self, limit: int) -> None:
        self.segments = (Lru(0), Lru(0), Lru(0))  # window, probation, protected; `checked` says which
        self.bytes = [0, 0, 0]
        self.most_window = max(limit // 100, 1)
        self.most_main = limit - self.most_window
        self.most_protected = limit * 4 // 5
        self.width = 1 << max(12, (limit // _SMALL).bit_length() + 2)
        self.rows = [bytearray(self.width) for _ in range(self._ROWS)]
        self.counted = 0

    def hit(self, entry: Entry) -> None:
        """Count it, and move it where it belongs now."""
        self._count(entry)
        at = entry.checked
        if at != 1:
            self.segments[at].hit(entry)
            return
        self._move(entry, 2)
        while self.bytes[2] > self.most_protected:
            oldest = self.segments[2].victim()
            assert oldest is not None
            self._move(oldest, 1)

    def insert(self, entry: Entry) -> None:
        """Into the window, which passes on what is too much for it while the main part has room."""
        self._count(entry)
        entry.checked = 0
        self.segments[0].insert(entry)
        self.bytes[0] += entry.size
        while self.bytes[0] > self.most_window:
            oldest = self.segments[0].victim()
            assert oldest is not None
            if self.bytes[1] + self.bytes[2] + oldest.size > self.most_main:
                break
            self._move(oldest, 1)

    def remove(self, entry: Entry) -> None:
        """Leave one out."""
        self.segments[entry.checked].remove(entry)
        self.bytes[entry.checked] -= entry.size

    def victim(self) -> Entry | None:
        """Either what the window gives, or what the main part would give for it."""
        theirs = self.segments[1].victim() or self.segments[2].victim()
        ours = self.segments[0].victim()
        if ours is None or (self.bytes[0] <= self.most_window and theirs is not None):
            return theirs
        if theirs is None:
            return ours
        if self._estimate(ours) > self._estimate(theirs):
            self._move(ours, 1)
            return theirs
        return ours

    def _move(self, entry: Entry, to: int) -> None:
        self.remove(entry)
        entry.checked = to
        self.segments[to].insert(entry)
        self.bytes[to] += entry.size

    def _places(self, entry: Entry) -> Iterator[tuple[bytearray, int]]:
        mixed = hash(entry.key)
        for number, row in enumerate(self.rows):
            yield row, (mixed >> (number * 12)) % self.width

    def _count(self, entry: Entry) -> None:
        for row, place in self._places(entry):
            if row[place] < 15:
                row[place] += 1
        self.counted += 1
        if self.counted > 10 * self.width:
            self.counted //= 2
            self.rows = [bytearray(count >> 1 for count in row) for row in self.rows]

    def _estimate(self, entry: Entry) -> int:
        return min(row[place] for row, place in self._places(entry))


POLICIES: Final[dict[str, Callable[[int], Policy]]] = {
    "LRU": Lru,
    "SIEVE": Sieve,
    "S3-FIFO, 2 bits": S3Fifo,
    "S3-FIFO, 1 bit": Chosen,
    "W-TinyLFU": TinyLfu,
}


class Trace(NamedTuple):
    """Requests for objects by number, and the objects' sizes."""

    name: str
    requests: list[int]
    sizes: list[int]


def entry_of(number: int, size: int) -> Entry:
    """An entry with this key and size and nothing else."""
    entry = Entry(b"https://example.com/%d" % number, (), (), 200, b"", ())
    entry.size = size
    return entry


def trace(skew: float, scan: str, *, mixed: bool, rng: Random) -> Trace:
    """Requests by Zipf's law. `scan`: "wonders" makes a third of them one of a kind, "crawls" has somebody walk through
    a site of as many pages again, twice; "drift" makes other objects the popular ones, ten times over."""
    weights = list(accumulate(1 / rank**skew for rank in range(1, _OBJECTS + 1)))
    ranks = rng.choices(range(_OBJECTS), cum_weights=weights, k=_REQUESTS)
    names = list(range(_OBJECTS))
    rng.shuffle(names)
    requests: list[int] = []
    another = _OBJECTS
    for number, rank in enumerate(ranks):
        if scan == "drift" and number % (_REQUESTS // 10) == 0:
            for _ in range(_OBJECTS // 10):
                one, other = rng.randrange(_OBJECTS // 20), rng.randrange(_OBJECTS)
                names[one], names[other] = names[other], names[one]
        if scan == "wonders" and number % 3 == 0:
            requests.append(another)
            another += 1
        elif scan == "crawls" and number in (_REQUESTS // 3, _REQUESTS * 2 // 3):
            requests += range(another, another + _OBJECTS)
            another += _OBJECTS
        else:
            requests.append(names[rank])
    sizes = [min(int(rng.lognormvariate(9, 1.5)) + 1000, 2_000_000) if mixed else _SMALL for _ in range(another)]
    return Trace(f"Zipf {skew}, {scan or 'plain'}{', mixed sizes' if mixed else ''}", requests, sizes)


def hit_ratio(policy: Policy, run: Trace, limit: int) -> tuple[float, float]:
    """Of requests and of bytes, in the part of a trace after its first tenth."""
    entries = [entry_of(number, size) for number, size in enumerate(run.sizes)]
    used = hits = hit_bytes = all_bytes = 0
    start = len(run.requests) // 10
    for number, wanted in enumerate(run.requests):
        entry = entries[wanted]
        size = entry.size
        counted = number >= start
        if counted:
            all_bytes += size
        if entry.next is not None:
            policy.hit(entry)
            if counted:
                hits += 1
                hit_bytes += size
            continue
        while used + size > limit:
            victim = policy.victim()
            assert victim is not None
            policy.remove(victim)
            used -= victim.size
        entry.visited = False
        policy.insert(entry)
        used += size
    return hits / (len(run.requests) - start), hit_bytes / all_bytes


def costs(make: Callable[[int], Policy], rng: Random) -> tuple[float, float]:
    """Seconds of a hit, and of a put that takes another one's place; the least of several rounds."""
    count = 10_000
    policy = make(count * _SMALL)
    entries = [entry_of(number, _SMALL) for number in range(count * 4)]
    for entry in entries[:count]:
        policy.insert(entry)
    least = [1.0, 1.0]
    for turn in range(9):
        asked = [entry for entry in rng.choices(entries, k=count) if entry.next is not None]
        began = perf_counter()
        for entry in asked:
            policy.hit(entry)
        least[0] = min(least[0], (perf_counter() - began) / len(asked))
        new = [entry for entry in entries[(turn % 4) * count : (turn % 4 + 1) * count] if entry.next is None]
        if not new:
            continue
        began = perf_counter()
        for entry in new:
            victim = policy.victim()
            assert victim is not None
            policy.remove(victim)
            entry.visited = False
            policy.insert(entry)
        least[1] = min(least[1], (perf_counter() - began) / len(new))
    return least[0], least[1]


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache_policy", description=__doc__)
    parser.add_argument("--share", type=float, default=0.1, help="of all objects' bytes that the store holds")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(given)
    names = list(POLICIES)
    print(f"Hits of all requests (of all bytes), the store holding {arguments.share:.0%} of what is asked for again\n")
    print("| trace | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for mixed in (False, True):
        for scan in ("", "wonders", "crawls", "drift"):
            for skew in (0.7, 0.9, 1.1):
                run = trace(skew, scan, mixed=mixed, rng=Random(arguments.seed))
                limit = int(sum(run.sizes[:_OBJECTS]) * arguments.share)
                ratios = [hit_ratio(POLICIES[name](limit), run, limit) for name in names]
                cells = " | ".join(f"{of_all:.1%} ({of_bytes:.1%})" for of_all, of_bytes in ratios)
                print(f"| {run.name} | {cells} |", flush=True)
    print("\n| microseconds | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    measured = [costs(POLICIES[name], Random(arguments.seed)) for name in names]
    for number, what in enumerate(("a hit", "a put for another")):
        print(f"| {what} | " + " | ".join(f"{times[number] * 1e6:.2f}" for times in measured) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
