from balancer.cache.contents import Contents, Met, Rehearsal, Survey
from balancer.cache.entry import Entry
from balancer.cache.memory import Memory
from balancer.cache.purges import Purge, parse

NOW = 1000.0


def filled(*entries: Entry) -> Memory:
    memory = Memory(1 << 20)
    for entry in entries:
        assert memory.put(entry, memory.moment)
    return memory


def stored(url: str, hits: int = 0, tags: str = "", lane: bytes = b"") -> Entry:
    entry = Entry(url.encode(), (b"route", b"pool", lane), (), 200, b"HTTP/1.1 200 OK\r\n", ())
    entry.body = b"x" * 100
    entry.born, entry.fresh_until = NOW - 30, NOW + 70
    entry.tags = tuple(tags.encode().split())
    entry.hits = hits
    return entry


def contents(memory: Memory, most: int = 10, at_once: int = 1) -> Contents:
    survey = Survey(memory, most)
    for _ in survey.steps(at_once):
        pass
    return survey.contents(NOW)


def test_what_is_asked_for_most_comes_first_and_what_nobody_asked_for_is_left_out() -> None:
    memory = filled(*(stored(f"http://h/{n}", hits=n) for n in (3, 0, 9, 1, 4)))
    found = contents(memory, most=3)
    assert [(each.url, each.hits) for each in found.urls] == [
        (b"http://h/9", 9),
        (b"http://h/4", 4),
        (b"http://h/3", 3),
    ]
    first = found.urls[0]
    assert (first.variants, first.status, first.age, first.fresh_for) == (1, 200, 30.0, 70.0)
    assert first.bytes > 100


def test_the_variants_of_a_url_are_told_as_one() -> None:
    memory = filled(stored("http://h/a", hits=2, lane=b"de"), stored("http://h/a", hits=3, lane=b"en"))
    (only,) = contents(memory).urls
    assert (only.hits, only.variants) == (5, 2)


def test_tags_are_told_with_the_number_of_their_answers() -> None:
    memory = filled(stored("http://h/1", tags="a b"), stored("http://h/2", tags="a"), stored("http://h/3", tags="c a"))
    assert contents(memory).tags == ((b"a", 3), (b"b", 1), (b"c", 1))
    assert contents(memory, most=1).tags == ((b"a", 3),)


def test_what_was_purged_is_not_told_though_it_is_still_in_the_store() -> None:
    memory = filled(stored("http://h/1", hits=5, tags="a"), stored("http://h/2", hits=1, tags="b"))
    memory.purge(parse("tag", "a"), NOW)
    found = contents(memory)
    assert [each.url for each in found.urls] == [b"http://h/2"]
    assert found.tags == ((b"b", 1),)


def test_what_leaves_the_store_while_it_is_gone_through_is_left_out() -> None:
    memory = filled(*(stored(f"http://h/{n}", hits=5, tags="a") for n in range(4)))
    survey = Survey(memory, 10)
    for _ in survey.steps(2):
        memory.invalidate(b"http://h/0")
        memory.invalidate(b"http://h/3")
    found = survey.contents(NOW)
    assert [each.url for each in found.urls] == [b"http://h/1", b"http://h/2"]


def rehearsed(memory: Memory, *purges: Purge, most: int = 10) -> Met:
    rehearsal = Rehearsal(memory, purges, most)
    for _ in rehearsal.steps(1):
        pass
    return rehearsal.met()


def test_a_rehearsal_counts_what_the_purge_then_meets_and_touches_nothing() -> None:
    memory = filled(*(stored(f"http://h/{n}", tags="odd" if n % 2 else "even") for n in range(6)))
    purges = (parse("tag", "odd"), parse("url", "http://h/1"), parse("tag", "none"))
    found = rehearsed(memory, *purges)
    assert found.by_purge == (3, 1, 0)
    assert found.entries == 3
    assert set(found.urls) == {b"http://h/1", b"http://h/3", b"http://h/5"}
    entries = [entry for url in memory.urls() for entry in memory.find(url)]
    assert found.size == sum(entry.size for entry in entries if b"odd" in entry.tags)
    assert len(entries) == 6
    assert all(memory.current(entry) for entry in entries)
    receipt = memory.purge(purges[0], NOW)
    while memory.reap(1):
        pass
    assert receipt.entries == found.by_purge[0]


def test_a_rehearsal_tells_some_urls_and_counts_all_and_leaves_out_what_was_purged_before() -> None:
    memory = filled(*(stored(f"http://h/{n}", tags="a") for n in range(5)))
    memory.purge(parse("url", "http://h/0"), NOW)
    found = rehearsed(memory, parse("tag", "a"), most=2)
    assert (found.entries, len(found.urls)) == (4, 2)
