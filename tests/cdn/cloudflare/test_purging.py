"""What becomes of purge targets at Cloudflare: values in, values out."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.cloudflare.limits import items, limits
from balancer.cdn.cloudflare.purging import Site, body, plan_purge
from balancer.cdn.purging.patterns import matches, target
from balancer.cdn.types import PurgeKind, PurgePlan, PurgeTarget
from balancer.http1.tag_fields import spelled
from tests.cdn.cloudflare.accounts import targets
from tests.cdn.fakes.cloudflare import is_meant, why_not

ONE = Site(("www.example.com",))
TWO = Site(("www.example.com", "img.example.com"))


def calls(plan: PurgePlan) -> list[tuple[str, tuple[str, ...]]]:
    return [(batch.kind, batch.items) for batch in plan.batches]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("/a/b.png?", [("files", ("https://www.example.com/a/b.png?",))]),
        ("/a/b.png?v=1", [("files", ("https://www.example.com/a/b.png?v=1",))]),
        (
            "/a/b.png",
            [("files", ("https://www.example.com/a/b.png",)), ("prefixes", ("www.example.com/a/b.png",))],
        ),
        ("/posts/*", [("prefixes", ("www.example.com/posts/",))]),
        ("/posts*", [("prefixes", ("www.example.com/posts",))]),
        ("/posts/", [("files", ("https://www.example.com/posts/",))]),
        ("https://other.example.net/x?y", [("files", ("https://other.example.net/x?y",))]),
        ("https://other.example.net/*", [("hosts", ("other.example.net",))]),
        ("/ä b", [("files", ("https://www.example.com/%C3%A4%20b",)), ("prefixes", ("www.example.com/%C3%A4%20b",))]),
        ("tag:post-42", [("tags", ("post-42",))]),
        ("host:img.example.com", [("hosts", ("img.example.com",))]),
        ("*", [("purge_everything", ("purge_everything",))]),
    ],
)
def test_a_target_becomes_calls(written: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    plan = plan_purge(targets(written), ONE)
    assert (calls(plan), plan.rejected) == (expected, ())


def test_a_path_is_of_each_host() -> None:
    assert calls(plan_purge(targets("/posts/*"), TWO)) == [
        ("prefixes", ("www.example.com/posts/", "img.example.com/posts/"))
    ]


def test_a_zone_that_is_served_in_the_clear_is_purged_so() -> None:
    assert calls(plan_purge(targets("/a?b"), Site(("h.example",), "http"))) == [("files", ("http://h.example/a?b",))]


def test_everything_makes_the_rest_needless() -> None:
    plan = plan_purge(targets("/a", "*", "tag:b", "/a/*/b"), ONE)
    (batch,) = plan.batches
    assert (batch.kind, len(batch.targets), plan.rejected) == ("purge_everything", 4, ())
    assert body(batch) == {"purge_everything": True}


def test_a_soft_purge_is_soft_in_every_call() -> None:
    assert {batch.soft for batch in plan_purge(targets("/a", "tag:b"), ONE, soft=True).batches} == {True}


@pytest.mark.parametrize(
    ("written", "reason", "nearest"),
    [
        ("/a/*/b", "no star but at the end", "/a/*"),
        ("/posts/*.jpg", "no star but at the end", "/posts/*"),
        ("/*.png", "no star but at the end", None),
        ("https://h.example/a/*.png", "no star but at the end", "https://h.example/a/*"),
        ("/a.png?v=*", "no star but at the end", "/a.png"),
        ("/" + "a/" * 40 + "*", "at most 31 slashes", "/" + "a/" * 30 + "*"),
        ("host:h.example:8080", "with all of its ports", "host:h.example"),
        ("/cdn-cgi/image/w=1/a.png", "all of its sizes go with it", None),
    ],
)
def test_what_has_no_form_is_rejected_with_the_nearest_that_has(written: str, reason: str, nearest: str | None) -> None:
    plan = plan_purge(targets(written), ONE)
    (rejected,) = plan.rejected
    assert reason in rejected.reason
    assert (plan.batches, rejected.target, rejected.nearest) == ((), target(written), nearest)
    widened = plan_purge(targets(written), ONE, widen=True)
    if nearest is None:
        assert widened == plan  # everything is never purged in the place of something
    else:
        assert [batch.items for batch in widened.batches] == [
            batch.items for batch in plan_purge(targets(nearest), ONE).batches
        ]
        assert widened.rejected == ()
        assert f"{target(written).written} was widened to {nearest}" in widened.notes[0]
        assert {one for batch in widened.batches for one in batch.targets} == {target(written)}


@pytest.mark.parametrize("tag", ["x" * 64, "a*b", "ä"])
def test_a_tag_is_purged_as_it_stands_in_answers(tag: str) -> None:
    plan = plan_purge([PurgeTarget(PurgeKind.TAG, tag)], ONE)
    assert calls(plan) == [("tags", (spelled(tag, "cloudflare"),))]
    assert "is hashed" in plan.notes[0]


def test_tags_that_differ_in_their_letters_only_are_sent_once() -> None:
    (batch,) = plan_purge(targets("tag:Post", "tag:POST", "tag:b"), ONE).batches
    assert (batch.items, len(batch.targets)) == (("Post", "b"), 3)


def test_paths_without_a_host_are_rejected_where_no_host_is_known() -> None:
    plan = plan_purge(targets("/a", "tag:b"), Site(()))
    assert calls(plan) == [("tags", ("b",))]
    assert "cdn.hosts" in plan.rejected[0].reason


def test_a_host_of_another_zone_does_not_spoil_the_call_of_the_others() -> None:
    plan = plan_purge(targets("https://elsewhere.example/a?v", "/b?v"), ONE)
    assert calls(plan) == [
        ("files", ("https://elsewhere.example/a?v",)),
        ("files", ("https://www.example.com/b?v",)),
    ]


def test_batches_are_of_the_configured_size_and_cost_what_they_take_of_their_limit() -> None:
    plan = plan_purge(targets(*(f"/{number}?v" for number in range(70)), "tag:a", "tag:b"), ONE)
    assert [(batch.kind, len(batch.items), batch.cost, batch.limit) for batch in plan.batches] == [
        ("files", 30, 30, "files"),
        ("files", 30, 30, "files"),
        ("files", 10, 10, "files"),
        ("tags", 2, 1, "other"),
    ]


@pytest.mark.parametrize(
    ("kind", "plan", "configured", "most"),
    [
        ("files", "free", 500, 100),
        ("files", "enterprise", 500, 500),
        ("tags", "enterprise", 500, 100),
        ("tags", "free", 30, 30),
    ],
)
def test_no_call_has_more_items_than_the_plan_takes(kind: str, plan: str, configured: int, most: int) -> None:
    assert items(kind, plan, configured) == most


def test_every_batch_names_a_limit_that_there_is() -> None:
    plan = plan_purge(targets("/a", "/b/*", "tag:c", "host:d.example"), ONE)
    for level in ("free", "pro", "business", "enterprise"):
        assert {batch.limit for batch in plan.batches} <= limits(level).keys()


def test_a_path_whose_queries_have_no_form_says_so() -> None:
    (note,) = plan_purge(targets("/posts/"), ONE).notes
    assert (
        note
        == "/posts/: without its queries, which Cloudflare purges only with all that is below; /posts/* is all of it"
    )


segment = st.text(string.ascii_letters + string.digits + "-._~ äß", min_size=1, max_size=6).filter(
    lambda text: text.strip() == text and text not in (".", "..")
)
paths = st.lists(segment, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
written = st.one_of(
    paths,
    paths.map(lambda path: path + "?"),
    paths.map(lambda path: path + "?v=1"),
    paths.map(lambda path: path + "/*"),
    paths.map(lambda path: path + "*"),
    paths.map(lambda path: path + "/*/x"),
    paths.map(lambda path: f"https://img.example.com{path}"),
    paths.map(lambda path: f"https://elsewhere.example{path}/*"),
    st.sampled_from(["tag:a", "tag:b", "host:img.example.com", "/", "/*.png", "host:x.example:81"]),
)


@given(st.lists(written, min_size=1, max_size=60), st.integers(1, 500), st.booleans(), st.booleans())
def test_cloudflare_would_take_every_call_and_each_target_is_in_one_or_rejected(
    texts: list[str], batch: int, soft: bool, widen: bool
) -> None:
    wanted = targets(*texts)
    plan = plan_purge(wanted, Site(TWO.hosts, batch=batch), soft=soft, widen=widen)
    assert [why_not(body(one), 100) for one in plan.batches] == [None] * len(plan.batches)
    sent = {one for call in plan.batches for one in call.targets}
    refused = {one.target for one in plan.rejected}
    assert sent | refused == set(wanted)
    assert sent & refused == set()


def narrowly(item: str, place: str) -> bool:
    """A prefix in its narrow reading: it ends where a part of the path ends."""
    return place == item or place.startswith((f"{item}?", item if item.endswith("/") else f"{item}/"))


near = st.one_of(paths, paths.map(lambda path: path + "?v=1"), paths.map(lambda path: path + "/x"))
tags = st.sampled_from([["a"], ["b", "a"], []])


@given(written, st.sampled_from(TWO.hosts), near, tags)
def test_what_cloudflare_purges_the_own_cache_purges_too(text: str, host: str, path: str, tags: list[str]) -> None:
    """Else Cloudflare would fill itself again with what was to be gone.

    Two exceptions: all queries of a path have no form but a prefix, which is what is below the path as well; and tags
    that differ in capital letters only are one to Cloudflare, for which there are none here.
    """
    asked, held = target(text), target(f"https://{host}{path}")
    url = f"https://{host}{held.value}" + (f"?{held.query}" if held.query is not None else "")
    place = url.partition("://")[2]
    for batch in plan_purge([asked], TWO).batches:
        if batch.kind == "prefixes":
            purged = any(narrowly(item, place) for item in batch.items)
            below = asked.kind is PurgeKind.URL and held.value.startswith(f"{asked.value}/")
        else:
            purged, below = is_meant(body(batch), url, tags), False
        assert matches(asked, url, tags) or below or not purged


@given(written, st.sampled_from(TWO.hosts), near, tags)
def test_what_the_own_cache_purges_cloudflare_does_or_it_is_told(
    text: str, host: str, path: str, tags: list[str]
) -> None:
    asked, held = target(text), target(f"https://{host}{path}")
    url = f"https://{host}{held.value}" + (f"?{held.query}" if held.query is not None else "")
    plan = plan_purge([asked], TWO)
    purged = any(is_meant(body(batch), url, tags) for batch in plan.batches)
    assert purged or not matches(asked, url, tags) or plan.rejected or plan.notes
