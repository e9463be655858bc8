"""Purge targets as Bunny's calls."""

from __future__ import annotations

import re
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.bunny.purge_call import purge_call
from balancer.cdn.bunny.purging import EVERYTHING, EXACT, LIMITS, PREFIX, TAG, plan_purge
from balancer.cdn.errors import Invalid
from balancer.cdn.purging.patterns import matches, parse
from balancer.cdn.purging.ticket import PurgeOrder
from balancer.cdn.types import PurgeBatch, PurgeKind, PurgePlan, PurgeTarget
from balancer.http1.fields import parse_line
from balancer.http1.tag_fields import TagFields
from balancer.tally import RouteTally
from config.cdn import Cdn
from tests.cdn.golden import same_as

HOSTS = ("cdn.example.com", "shop.b-cdn.net")


def planned(*patterns: str, soft: bool = False, widen: bool = False, everything: bool = False) -> PurgePlan:
    targets = parse(PurgeOrder(patterns=patterns, everything=everything))
    return plan_purge(targets, HOSTS, soft=soft, widen=widen)


def shown(plan: PurgePlan) -> str:
    """A plan with the calls that it makes."""
    lines = []
    for batch in plan.batches:
        made = purge_call(batch, 12345)
        asked = ", ".join(target.written for target in batch.targets)
        body = "" if made.json is None else f" {made.json}"
        lines.append(f"{made.method} {made.target}{body}  [{batch.limit}] for {asked}")
    lines += [f"refused: {one.target.written}: {one.reason} (nearest: {one.nearest})" for one in plan.rejected]
    lines += [f"note: {note}" for note in plan.notes]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "patterns", "more"),
    [
        ("url", ["/a/b.png"], {}),
        ("url-with-query", ["/a.png?v=1", "https://cdn.example.com/b.png?"], {}),
        ("folder", ["https://cdn.example.com/posts/"], {}),
        ("prefixes", ["/posts/*", "/posts*", "https://other.example.com/x/*"], {}),
        ("query-prefix", ["https://cdn.example.com/list?page=*"], {}),
        ("tags", ["tag:post-42", "tag:a-rather-long-tag-of-an-article", "tag:a*b"], {}),
        ("hosts", ["host:cdn.example.com", "host:cdn.example.com:8443"], {}),
        ("everything", ["/a", "*"], {"everything": True}),
        ("star-in-the-middle", ["/a/*/b", "*.png"], {}),
        ("widened", ["/a/*/b", "host:cdn.example.com:8443"], {"widen": True}),
        ("soft", ["tag:home"], {"soft": True}),
        ("encoded", ["https://cdn.example.com/ä b/%2F.png?q=ü&r=1"], {}),
    ],
)
def test_what_bunny_is_asked_is_what_it_was(name: str, patterns: list[str], more: dict[str, bool]) -> None:
    same_as(f"bunny/purge-{name}.txt", shown(planned(*patterns, **more)))


def test_every_call_is_of_one_item_and_of_a_known_limit() -> None:
    plan = planned("/a", "/b/*", "tag:c", "https://cdn.example.com/d/")
    assert all(len(batch.items) == 1 and batch.cost == 1 for batch in plan.batches)
    assert {batch.limit for batch in plan.batches} == set(LIMITS)


def test_paths_of_a_zone_without_hosts_are_refused_and_tags_are_not() -> None:
    plan = plan_purge(parse(PurgeOrder(patterns=("/a", "tag:b"))), ())
    assert [batch.kind for batch in plan.batches] == [TAG]
    assert [one.target.written for one in plan.rejected] == ["/a"]


@pytest.mark.parametrize("item", ["", "*", "*~~*", "~"])
def test_an_empty_tag_is_never_sent_as_that_would_be_everything(item: str) -> None:
    with pytest.raises(Invalid):
        purge_call(PurgeBatch(TAG, (item,), ()), 12345)


def test_everything_is_asked_for_by_a_target_that_says_so_and_by_nothing_else() -> None:
    for kind in PurgeKind:
        if kind is PurgeKind.ALL:
            continue
        value = {PurgeKind.TAG: "a", PurgeKind.HOST: "h"}.get(kind, "/")
        plan = plan_purge([PurgeTarget(kind, value)], HOSTS, widen=True)
        assert EVERYTHING not in {batch.kind for batch in plan.batches}


def test_without_a_pull_zone_there_are_no_purges_of_tags() -> None:
    (batch,) = planned("tag:a").batches
    with pytest.raises(Invalid, match=r"cdn\.bunny\.pull_zone_id"):
        purge_call(batch, None)


piece = st.text(st.sampled_from("ab/.-"), max_size=6)
written = st.one_of(
    st.builds(lambda a: f"/{a}", piece),
    st.builds(lambda a: f"/{a}*", piece),
    st.builds(lambda a, b: f"/{a}?{b}", piece, st.sampled_from(["", "a", "b=1"])),
    st.builds(lambda a: f"/{a}?a*", piece),
)
urls = st.builds(
    lambda host, path, query: f"https://{host}/{path}{query}",
    st.sampled_from([*HOSTS, "elsewhere.example"]),
    piece,
    st.sampled_from(["", "?", "?a", "?ab", "?b=1"]),
)


@given(pattern=written, url=urls)
def test_the_own_cache_purges_at_least_what_bunny_does(pattern: str, url: str) -> None:
    try:
        targets = (
            parse(PurgeOrder(patterns=(pattern,), everything=True))
            if pattern == "/*"
            else parse(PurgeOrder(patterns=(pattern,)))
        )
    except Invalid:
        return
    plan = plan_purge(targets, HOSTS)
    assert not plan.rejected
    gone = any(_reaches(batch, url) for batch in plan.batches)
    if gone:
        assert any(matches(target, url) for target in targets)


@given(pattern=written, url=urls)
def test_bunny_purges_all_that_the_pattern_means_on_its_hosts(pattern: str, url: str) -> None:
    try:
        targets = parse(PurgeOrder(patterns=(pattern,)))
    except Invalid:
        return
    plan = plan_purge(targets, HOSTS)
    if "elsewhere" not in url and any(matches(target, url) for target in targets):
        assert any(_reaches(batch, url) for batch in plan.batches)


def _reaches(batch: PurgeBatch, url: str) -> bool:
    """What the documentation says that a call purges, where the zone tells queries apart."""
    if batch.kind == EVERYTHING:
        return True
    item = batch.items[0]
    if batch.kind == EXACT:
        return item == url
    assert batch.kind == PREFIX
    return re.match(translate(item.replace("?", "[?]")), url) is not None


@given(
    tags=st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1), max_size=40
    ),
    other=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1),
)
def test_a_purge_of_a_tag_meets_the_field_of_whatever_has_it_and_of_nothing_else(tags: list[str], other: str) -> None:
    tally = RouteTally()
    fields = TagFields(Cdn(provider="bunny"), ["Cache-Tag"], tally)
    line = fields.line([parse_line(b"Cache-Tag: " + " ".join(tags).encode())])
    value = line.partition(b": ")[2].decode().strip()
    (batch,) = plan_purge([PurgeTarget(PurgeKind.TAG, other)], HOSTS).batches
    wanted = ".*".join(map(re.escape, batch.items[0].split("*")))
    if not tally.tags_left_out:
        assert (re.fullmatch(wanted, value) is not None) == (other in tags)
