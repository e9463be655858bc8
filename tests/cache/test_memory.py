"""The store in memory, held against a plain dictionary."""

from __future__ import annotations

import tracemalloc
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from balancer.cache.entry import NEVER, Entry
from balancer.cache.memory import LARGEST, MOST_INVALIDATED, MOST_VARIANTS, Memory
from balancer.cache.policy import LONGEST_SEARCH, Policy
from balancer.cache.purge_log import MOST_EXACT, MOST_WIDE, Purged
from balancer.cache.purges import EVERYTHING, Purge
from balancer.http1.fields import parse_line

LANE = (b"site", b"web")
ROOMY = 1 << 30
LINES = (b"Content-Type: text/html", b'ETag: "one"', b"X_Odd: a, b", b"Date: Tue, 24 Nov 2026 22:00:00 GMT", b"Empty:")


def entry(
    key: bytes = b"https://example.com/",
    *,
    body: int = 0,
    tags: tuple[bytes, ...] = (),
    groups: tuple[bytes, ...] = (),
    lane: tuple[bytes | None, ...] = LANE,
    language: bytes | None = None,
) -> Entry:
    vary = ((b"accept-language", language),) if language else ()
    made = Entry(key, lane, vary, 200, b"HTTP/1.1 200 OK\r\n", tuple(map(parse_line, LINES)))
    made.body = bytes(body)
    made.tags = tags
    made.groups = groups
    made.etag = b'"one"'
    made.fresh_until = 100.0
    made.revalidate_until = 110.0
    made.error_until = 200.0
    return made


def filled(memory: Memory, number: int, **how: Any) -> list[Entry]:
    entries = [entry(b"https://example.com/%d" % each, **how) for each in range(number)]
    for each in entries:
        assert memory.put(each, memory.moment)
    return entries


def reaped(memory: Memory, entries: int = 7) -> None:
    for _ in range(100_000):
        if not memory.reap(entries):
            return
    raise AssertionError("reap never ends")


KEYS = [b"https://example.com/a", b"https://example.com/a/b?c", b"http://example.com/a", b"https://other.example:81/a"]
TAGS = [b"one", b"two", b"three"]
GROUPS = [b"of all", b"of some"]
PURGES = [
    *(("url", key) for key in KEYS),
    *(("url", text) for text in (b"example.com/a", b"/a", b"/a/b?c", b"/nothing")),
    *(("prefix", text) for text in (b"/a", b"https://example.com/", b"example.com/a/")),
    *(("pattern", text) for text in (b"/a/*", b"*example.com/a", b"https://*/a*?c")),
    *(("tag", tag) for tag in TAGS),
    *(("group", b"https://example.com " + group) for group in GROUPS),
    *(("host", text) for text in (b"example.com", b"other.example", b"other.example:81", b"*.example")),
    ("everything", b""),
]


class AgainstADictionary(RuleBasedStateMachine):
    """The model carries every purge out at once and evicts nothing; what the store evicts, its count has to tell."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(8000)
        self.there: dict[tuple[object, ...], Entry] = {}
        self.stale: dict[Entry, float] = {}
        self.history: list[tuple[int, Purge | bytes]] = []
        self.counts: dict[Purged, int] = {}
        self.moments = [0]
        self.evicted = 0
        self.clock = count(1)

    @rule()
    def begin(self) -> None:
        self.moments.append(self.memory.moment)

    @rule(
        key=st.sampled_from(KEYS),
        lane=st.sampled_from([LANE, (*LANE, b"de")]),
        language=st.sampled_from([None, b"de", b"en"]),
        tags=st.sets(st.sampled_from(TAGS)).map(tuple),
        groups=st.sets(st.sampled_from(GROUPS)).map(tuple),
        body=st.sampled_from([0, 10, 500, 2500, 5000]),
        late=st.booleans(),
        data=st.data(),
    )
    def put(self, key, lane, language, tags, groups, body, late, data) -> None:
        begun = data.draw(st.sampled_from(self.moments)) if late else self.memory.moment
        new = entry(key, body=body, tags=tags, groups=groups, lane=lane, language=language)
        since = [what for moment, what in self.history if moment > begun]
        spoiled = any(what == key if isinstance(what, bytes) else not what.soft and what.meets(new) for what in since)
        before = self.memory.bytes
        stored = self.memory.put(new, begun)
        assert stored == (not spoiled and new.weight() <= self.memory.limit // LARGEST)
        assert self.memory.bytes <= max(self.memory.limit, before)
        if stored:
            self.there[key, lane, new.vary] = new
            if any(isinstance(what, Purge) and what.meets(new) for what in since):
                self.stale[new] = new.fresh_until
                assert new.fresh_until < 100.0

    @rule(purge=st.builds(lambda what, soft: Purge(*what, soft), st.sampled_from(PURGES), st.booleans()))
    def purge(self, purge: Purge) -> None:
        now = float(next(self.clock)) / 1000
        receipt = self.memory.purge(purge, now)
        met = {where: each for where, each in self.there.items() if purge.meets(each)}
        self.counts[receipt] = len(met)
        self.history.append((self.memory.moment, purge))
        for where, each in met.items():
            if purge.soft:
                self.stale.setdefault(each, now)
            else:
                del self.there[where]

    @rule()
    def clear(self) -> None:
        self.counts[self.memory.clear()] = len(self.there)
        self.history.append((self.memory.moment, EVERYTHING))
        self.there.clear()

    @rule(key=st.sampled_from(KEYS))
    def invalidate(self, key: bytes) -> None:
        of_key = [where for where in self.there if where[0] == key]
        assert self.memory.invalidate(key) == len(of_key)
        self.history.append((self.memory.moment, key))
        for where in of_key:
            del self.there[where]

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def remove(self, data) -> None:
        where = data.draw(st.sampled_from(list(self.there)))
        self.memory.remove(self.there.pop(where))

    @rule(key=st.sampled_from(KEYS))
    def look(self, key: bytes) -> None:
        current = [each for each in self.memory.find(key) if self.memory.current(each)]
        assert set(current) == {each for where, each in self.there.items() if where[0] == key}
        assert list(self.memory.find(key)) == current
        for each in current:
            assert each.fresh_until == self.stale.get(each, 100.0)

    @rule(data=st.data())
    def hit(self, data) -> None:
        if self.there:
            data.draw(st.sampled_from(list(self.there.values()))).visited = True

    @rule(body=st.sampled_from([100, 3000]), data=st.data())
    def grow(self, body: int, data) -> None:
        if self.there:
            each = data.draw(st.sampled_from(list(self.there.values())))
            before = self.memory.bytes - each.size
            each.encodings = {b"gzip": bytes(body)}
            self.memory.resize(each)
            assert self.memory.bytes <= max(self.memory.limit, before)

    @rule(limit=st.sampled_from([1500, 8000, 20000]))
    def change(self, limit: int) -> None:
        self.memory.limit = limit

    @rule(entries=st.integers(1, 5))
    def reap(self, entries: int) -> None:
        self.memory.reap(entries)

    @rule()
    def reap_all(self) -> None:
        reaped(self.memory)
        assert self.memory.bytes <= self.memory.limit
        self.count_evicted()
        assert self.memory.entries == len(self.there)
        for receipt, expected in self.counts.items():
            assert receipt.done
            assert receipt.entries == expected

    @invariant()
    def count_evicted(self) -> None:
        """What is not there any more without a purge was evicted, and nothing else was."""
        for where, each in list(self.there.items()):
            if each not in self.memory.find(each.key):
                del self.there[where]
                self.evicted += 1
        assert self.memory.figures().evicted == self.evicted

    @invariant()
    def what_is_counted_is_what_is_there(self) -> None:
        stored = [each for key in KEYS for each in self.memory.find(key)]
        assert self.memory.bytes == sum(each.size for each in stored)
        assert self.memory.entries == len(stored)
        assert all(each.size == each.weight() for each in stored)


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_an_entry_in_the_store_says_the_same_as_before():
    memory = Memory(ROOMY)
    new, same = entry(tags=(b"a", b"b")), entry(tags=(b"a", b"b"))
    memory.put(new, 0)
    assert new.fields == same.fields
    assert new.tags == same.tags
    assert new.etag == same.etag
    assert new.lines == same.lines


def test_an_etag_that_is_no_line_of_its_own_is_kept():
    new = entry()
    new.etag = b'"one", "two"'
    new.fold()
    assert new.etag == b'"one", "two"'


def test_an_entry_without_fields_and_tags_stays_without():
    new = Entry(b"https://example.com/", LANE, (), 200, b"HTTP/1.1 200 OK\r\n", ())
    new.fold()
    assert (new.fields, new.tags, new.etag) == ((), (), None)


def test_the_newest_answer_of_a_url_comes_first():
    memory = Memory(ROOMY)
    german, english = entry(language=b"de"), entry(language=b"en")
    memory.put(german, 0)
    memory.put(english, 0)
    assert memory.find(german.key) == (english, german)


def test_a_new_answer_takes_the_place_of_the_old_one_and_its_standing():
    memory = Memory(ROOMY)
    old, new = entry(), entry(body=10)
    memory.put(old, 0)
    old.hits, old.visited = 7, True
    memory.put(new, 0)
    assert memory.find(new.key) == (new,)
    assert (new.hits, new.visited) == (7, True)
    assert memory.bytes == new.size


def test_one_url_has_a_bounded_number_of_variants_and_the_oldest_goes():
    memory = Memory(ROOMY)
    for number in range(MOST_VARIANTS + 3):
        memory.put(entry(language=b"x-%d" % number), 0)
    found = memory.find(entry().key)
    assert len(found) == memory.entries == MOST_VARIANTS
    assert found[-1].vary == ((b"accept-language", b"x-3"),)


def test_variants_share_what_they_have_in_common():
    memory = Memory(ROOMY)
    one, other = entry(bytes(bytearray(b"https://e/1")), language=b"de"), entry(b"https://e/2", language=b"de")
    again = entry(bytes(bytearray(b"https://e/1")), language=b"en")
    for each in (one, other, again):
        memory.put(each, 0)
    assert other.vary is one.vary
    assert again.key is one.key


def test_what_is_larger_than_half_of_the_store_is_not_stored():
    memory = Memory(10_000)
    assert not memory.put(entry(body=6000), 0)
    assert memory.find(entry().key) == ()
    assert memory.figures().refused == 1


def test_a_soft_purge_makes_stale_and_leaves_the_windows_their_length():
    memory = Memory(ROOMY)
    (stored,) = filled(memory, 1, tags=(b"a",))
    memory.purge(Purge("tag", b"a", soft=True), 40.0)
    assert memory.current(stored)
    assert (stored.fresh_until, stored.revalidate_until, stored.error_until) == (40.0, 50.0, 140.0)


def test_a_soft_purge_makes_nothing_fresh_again():
    memory = Memory(ROOMY)
    (stored,) = filled(memory, 1)
    stored.fresh_until = NEVER
    memory.purge(Purge("everything", soft=True), 40.0)
    assert memory.current(stored)
    assert stored.fresh_until == NEVER


def test_an_entry_that_was_purged_never_is_current_again():
    memory = Memory(ROOMY)
    (stored,) = filled(memory, 1)
    memory.clear()
    assert not memory.current(stored)
    assert not memory.current(stored)
    reaped(memory)
    assert not memory.current(stored)


def test_an_entry_that_left_the_store_still_is_held_against_purges():
    memory = Memory(ROOMY)
    (stored,) = filled(memory, 1)
    memory.remove(stored)
    assert memory.current(stored)
    receipt = memory.purge(Purge("url", stored.key), 0.0)
    assert not memory.current(stored)
    assert receipt.entries == 0


def test_what_was_asked_for_before_a_purge_is_not_stored_after_it():
    memory = Memory(ROOMY)
    begun = memory.moment
    memory.purge(Purge("tag", b"a"), 0.0)
    reaped(memory)
    assert not memory.put(entry(tags=(b"a",)), begun)
    assert memory.put(entry(tags=(b"b",)), begun)
    assert memory.put(entry(tags=(b"a",)), memory.moment)


def test_what_was_asked_for_before_an_invalidation_is_not_stored_after_it():
    memory = Memory(ROOMY)
    begun = memory.moment
    memory.invalidate(entry().key)
    assert not memory.put(entry(), begun)
    assert memory.put(entry(b"https://example.com/other"), begun)
    assert memory.put(entry(), memory.moment)


def test_what_is_older_than_all_that_is_remembered_is_not_stored():
    memory = Memory(ROOMY)
    begun = memory.moment
    for number in range(MOST_INVALIDATED + 1):
        memory.invalidate(b"https://example.com/%d" % number)
    assert not memory.put(entry(), begun)
    assert memory.put(entry(), memory.moment)


@pytest.mark.parametrize(("most", "kind"), [(MOST_EXACT, "tag"), (MOST_WIDE, "prefix")])
def test_more_purges_than_can_be_kept_in_mind_purge_everything(most, kind):
    memory = Memory(ROOMY)
    stored = filled(memory, 3)
    for number in range(most):
        memory.purge(Purge(kind, b"/none-%d" % number), 0.0)
    assert memory.figures().overflows == 0
    assert all(map(memory.current, stored[:1]))
    receipt = memory.purge(Purge(kind, b"/one-more"), 0.0)
    assert memory.figures().overflows == 1
    assert not any(map(memory.current, stored))
    reaped(memory)
    assert receipt.purge == EVERYTHING
    assert receipt.entries == 3
    assert memory.figures().pending == 0


@pytest.mark.parametrize(("most", "kind"), [(MOST_EXACT, "tag"), (MOST_WIDE, "prefix")])
def test_purges_that_have_been_carried_out_are_forgotten_before_they_are_too_many(most, kind):
    memory = Memory(ROOMY)
    stored = filled(memory, 3)
    begun = memory.moment
    for number in range(2 * most):
        memory.purge(Purge(kind, b"/none-%d" % number), 0.0)
        if number % 100 == 0:
            reaped(memory)
    assert memory.figures().overflows == 0
    assert all(map(memory.current, stored))
    assert not memory.put(entry(), begun), "nobody knows any more what met it"


def test_a_smaller_limit_is_reached_little_by_little():
    memory = Memory(ROOMY)
    filled(memory, 100, body=1000)
    memory.limit = 20_000
    before = memory.entries
    assert memory.reap(10)
    assert memory.entries == before - 10
    reaped(memory)
    assert memory.bytes <= 20_000


def test_no_slice_of_reaping_looks_at_more_than_it_may():
    memory = Memory(ROOMY)
    filled(memory, 100)
    memory.clear()
    assert memory.reap(30)
    assert memory.entries == 70


def test_what_is_asked_for_again_outlives_a_crawler():
    memory = Memory(100_000)
    wanted = filled(memory, 30)
    for number in range(2000):
        if number % 10 == 0:
            for each in wanted:
                each.visited = True
        memory.put(entry(b"https://example.com/crawled/%d" % number), memory.moment)
    assert all(memory.find(each.key) for each in wanted)


def test_what_comes_back_soon_after_it_went_is_kept_longer():
    policy = Policy()
    first = entry()
    first.size = 1
    policy.insert(first)
    assert policy.victim(0) is first
    policy.remove(first)
    again = entry()
    again.size = 1
    policy.insert(again)
    assert again.main
    assert not first.main


def test_making_room_is_bounded_when_all_were_asked_for():
    policy = Policy()
    entries = [entry(b"%d" % number) for number in range(3 * LONGEST_SEARCH)]
    for each in entries:
        each.size = 1
        policy.insert(each)
        each.visited = True
    victim = policy.victim(0)
    assert victim in entries
    assert sum(not each.visited for each in entries) <= LONGEST_SEARCH


def test_an_empty_store_has_nobody_to_send_away():
    assert Policy().victim(0) is None


def test_everything_that_was_there_is_walked_by_whatever_moves_meanwhile():
    rng = Random(5)
    for _ in range(200):
        policy = Policy()
        entries = [entry(b"%d" % number) for number in range(60)]
        for each in entries:
            each.size = 1
            each.main = rng.random() < 0.5
            policy.insert(each)
        there = set(entries)
        policy.walk()
        while not policy.walked:
            for _ in range(rng.randrange(4)):
                rng.choice(entries).visited = True
                new = entry(b"new")
                new.size = new.checked = 1
                policy.insert(new)
                gone = policy.walker if rng.random() < 0.1 and not policy.walked else policy.victim(1)
                assert gone is not None
                if gone.visited:
                    there.discard(gone)
                    gone.checked = 1  # as the store does before it asks again
                    continue
                policy.remove(gone)
                there.discard(gone)
            if policy.walked:
                break
            there.discard(policy.walker)
            policy.walker.checked = 1
            policy.step()
        assert there == set()


def test_what_is_behind_the_purges_is_never_spared():
    policy = Policy()
    each = entry()
    each.size = 1
    policy.insert(each)
    each.visited = True
    assert policy.victim(1) is each
    assert each.visited
    assert not each.main


def test_a_store_that_takes_in_more_than_is_looked_at_still_is_gone_through():
    memory = Memory(200_000)
    filled(memory, 100)
    receipt = memory.purge(Purge("tag", b"a"), 0.0)
    for number in range(100):
        memory.reap(2)
        for more in range(10):
            memory.put(entry(b"https://example.com/%d/%d" % (number, more)), memory.moment)
    assert receipt.done


def test_the_queues_are_as_long_as_what_is_in_them():
    policy = Policy()
    small, main = entry(b"1"), entry(b"2")
    main.main = True
    for each in (small, main):
        each.size = 10
        policy.insert(each)
        policy.resize(each, 25)
    assert policy.bytes == 50
    for each in (small, main):
        policy.remove(each)
    assert policy.bytes == 0


def test_a_purge_that_comes_while_the_store_is_gone_through_gets_a_pass_of_its_own():
    memory = Memory(ROOMY)
    filled(memory, 10, tags=(b"a", b"b"))
    first = memory.purge(Purge("tag", b"none"), 0.0)
    memory.reap(5)
    second = memory.purge(Purge("tag", b"b"), 0.0)
    memory.reap(6)
    assert (first.done, second.done) == (True, False)
    reaped(memory)
    assert (second.done, second.entries) == (True, 10)


def test_what_was_invalidated_is_remembered_in_few_bytes() -> None:
    """However long its URLs are: clients choose those, and this is beside the limit."""
    memory = Memory(2**20)
    tracemalloc.start()
    try:
        for number in range(100):
            memory.invalidate(b"https://example.com/%d?" % number + bytes(100_000))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 100_000
