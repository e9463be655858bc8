"""Purge targets as CloudFront's invalidations: golden plans, its rules, and no more than was asked for."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.aws.invalidations import LIMITS, Distribution, invalidation, plan_purge, reference, state
from balancer.cdn.purging.patterns import matches, target
from balancer.cdn.types import PurgeBatch, PurgePlan, PurgeState, PurgeTarget
from tests.cdn.golden import same_as

ONE = Distribution(("cdn.example.com",))
TWO = Distribution(("cdn.example.com", "img.example.com"))
PLAIN = Distribution(("cdn.example.com",), tags=False, query_strings=False)

ORDERS: dict[str, tuple[list[str], Distribution, bool, bool]] = {
    "url": (["/a/b.png"], ONE, False, False),
    "url-without-query-strings": (["/a/b.png"], PLAIN, False, False),
    "url-with-query": (["/a/b.png?w=1&h=2"], ONE, False, False),
    "url-of-a-host": (["https://cdn.example.com/a.png?x=1"], ONE, False, False),
    "url-of-one-of-two-hosts": (["https://img.example.com/a.png?x=1"], TWO, False, False),
    "url-of-another-host": (["https://www.example.org/a.png"], TWO, False, False),
    "prefixes": (["/posts/*", "/avatars*"], ONE, False, False),
    "a-star-at-the-end-of-a-query": (["/a.png?v=*"], ONE, False, False),
    "a-star-in-the-middle": (["/a/*/b", "*.png", "/a.png?*x=1"], ONE, False, False),
    "widened": (["/a/*/b", "*.png", "/a.png?*x=1"], ONE, False, True),
    "tags": (["tag:post-42", "tag:POST-42", "tag:" + "x" * 300, "tag:a*b"], ONE, False, False),
    "tags-that-nobody-reads": (["tag:post-42"], PLAIN, False, False),
    "the-only-host": (["host:cdn.example.com", "/a.png"], ONE, False, False),
    "one-of-two-hosts": (["host:cdn.example.com"], TWO, False, False),
    "one-of-two-hosts-widened": (["host:cdn.example.com"], TWO, False, True),
    "everything": (["*", "/posts/*", "tag:a"], ONE, False, False),
    "encoded": (["/straße/ü b.png", "/~user/a|b[1]{2}^`.png", "/a%20b.png?q=%C3%BC"], ONE, False, False),
    "soft": (["/posts/*"], ONE, True, False),
}


def plan(name: str) -> PurgePlan:
    texts, distribution, soft, widen = ORDERS[name]
    return plan_purge([target(text) for text in texts], distribution, soft=soft, widen=widen)


def shown(made: PurgePlan) -> str:
    lines = [
        f"{batch.kind} {json.dumps(invalidation(batch, 'pg_1/0'), ensure_ascii=False)}\n"
        f"  for {', '.join(one.written for one in batch.targets)}; cost {batch.cost}"
        for batch in made.batches
    ]
    lines += [f"rejected {one.target.written}: {one.reason}; nearest {one.nearest}" for one in made.rejected]
    lines += [f"note {note}" for note in made.notes]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ORDERS)
def test_a_plan_is_the_one_that_somebody_has_looked_at(name: str) -> None:
    same_as(f"aws/plan-{name}.txt", shown(plan(name)))


def test_wildcards_go_fifteen_at_once_and_paths_a_thousand() -> None:
    made = plan_purge(
        [target(f"/w{number}/*") for number in range(31)] + [target(f"/p{number}?a") for number in range(1001)], ONE
    )
    assert [(batch.kind, len(batch.items), batch.cost) for batch in made.batches] == [
        ("wildcards", 15, 15),
        ("wildcards", 15, 15),
        ("wildcards", 1, 1),
        ("paths", 1000, 1000),
        ("paths", 1, 1),
    ]
    assert all(batch.cost <= LIMITS[batch.kind].capacity for batch in made.batches)


def test_what_is_in_progress_is_limited_and_nothing_refills() -> None:
    assert {name: (limit.capacity, limit.refill_per_s) for name, limit in LIMITS.items()} == {
        "wildcards": (15, 0),
        "paths": (3000, 0),
    }


def test_the_same_key_makes_the_same_reference_and_another_key_another() -> None:
    assert reference("pg_1/0") == reference("pg_1/0") != reference("pg_1/1")
    assert re.fullmatch(r"[0-9a-f]{32}", reference("pg_1/0"))


@pytest.mark.parametrize("word", ["Completed", "COMPLETED", "completed"])
def test_completed_is_completed_in_any_case(word: str) -> None:
    assert state(word) is PurgeState.COMPLETED
    assert state("InProgress") is PurgeState.IN_PROGRESS


# Properties ---------------------------------------------------------------------------------------------------------

SEGMENT = st.text("ab.-", min_size=1, max_size=3).filter(lambda text: text not in (".", ".."))
PATH = st.lists(SEGMENT, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
QUERY = st.sampled_from(["", "?", "?a=1", "?a=2&b", "?*", "?a=*", "?*b"])
TARGET = st.builds(
    lambda path, star, query: path + (star if query == "" else "") + query,
    PATH,
    st.sampled_from(["", "", "*", "/*", "*/x", "/*.png"]),
    QUERY,
)
URL = st.builds(
    lambda path, end, query: "https://cdn.example.com" + path + end + query,
    PATH,
    st.sampled_from(["", "/", "/x", "/a.png"]),
    st.sampled_from(["", "?a=1", "?a=2&b", "?b"]),
)


def purged(batches: tuple[PurgeBatch, ...], url: str) -> bool:
    """As CloudFront reads items: a star at the end is anything, the query included."""
    rest = url.removeprefix("https://cdn.example.com")
    return any(
        rest.startswith(item[:-1]) if item.endswith("*") else rest == item for batch in batches for item in batch.items
    )


@given(text=TARGET, url=URL)
def test_cloudfront_purges_nothing_that_the_own_cache_does_not(text: str, url: str) -> None:
    wanted = target(text)
    made = plan_purge([wanted], ONE)
    assert not purged(made.batches, url) or matches(wanted, url)


@given(text=TARGET, url=URL)
def test_what_is_not_rejected_is_purged_whole(text: str, url: str) -> None:
    wanted = target(text)
    for widen in (False, True):
        made = plan_purge([wanted], ONE, widen=widen)
        assert made.rejected or not matches(wanted, url) or purged(made.batches, url)


@given(
    texts=st.lists(st.one_of(TARGET, st.sampled_from(["tag:a", "tag:b,"[:5], "*", "host:cdn.example.com"])), max_size=8)
)
def test_each_target_is_in_a_batch_or_rejected(texts: list[str]) -> None:
    wanted: list[PurgeTarget] = [target(text) for text in texts]
    made = plan_purge(wanted, ONE)
    placed = {one for batch in made.batches for one in batch.targets}
    assert placed | {one.target for one in made.rejected} == set(wanted)
    assert placed.isdisjoint(one.target for one in made.rejected)
