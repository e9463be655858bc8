"""What the own cache purges beside what providers make of it, by models of how they document their matching.

A CDN that is emptied is filled again from the own cache: what the CDN drops and was meant must be gone there before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.aws import invalidations
from balancer.cdn.bunny import purging as bunny
from balancer.cdn.cloudflare import purging as cloudflare
from balancer.cdn.purging.own import purges
from balancer.cdn.purging.patterns import matches
from balancer.cdn.types import PurgeBatch, PurgeKind, PurgePlan, PurgeTarget
from tests.cdn.purging.test_own import is_met, stored
from tests.cdn.purging.test_patterns import PATHS, TAGS, TARGETS

HOSTS = ("h", "k")
"""That the provider serves."""
URLS = st.builds(
    lambda host, words, query: f"https://{host}/{'/'.join(words)}{query}",
    st.sampled_from(HOSTS),
    PATHS,
    st.sampled_from(["", "?x", "?x=1", "?y"]),
)


def at_cloudflare(batch: PurgeBatch, url: str, tags: Sequence[str]) -> bool:
    """Files are whole URLs; prefixes are of host and path, whatever the query; tags are alike in either case."""
    place, _, _ = url.removeprefix("https://").partition("?")
    match batch.kind:
        case "files":
            return url in batch.items
        case "prefixes":
            return any(place.startswith(item) for item in batch.items)
        case "tags":
            return bool({tag.lower() for tag in tags} & {item.lower() for item in batch.items})
        case "hosts":
            return place.partition("/")[0] in batch.items
        case _:
            return batch.kind == "purge_everything"


def at_bunny(batch: PurgeBatch, url: str, tags: Sequence[str]) -> bool:
    """One URL, or with a star or a slash at its end all that begin so; a tag with stars is held against the field."""
    (item,) = batch.items
    match batch.kind:
        case "exact":
            return url.startswith(item) if item.endswith("/") else url == item
        case "prefix":
            return url.startswith(item.removesuffix("*"))
        case "tag":
            return fnmatchcase(f"~{'~'.join(tags)}~", item)
        case _:
            return batch.kind == "everything"


def at_cloudfront(batch: PurgeBatch, url: str, tags: Sequence[str]) -> bool:
    """Paths with their queries, on all hosts; a star at the end is anything; tags are alike in either case."""
    _, slash, rest = url.removeprefix("https://").partition("/")
    known = {f"#{tag}".lower() for tag in tags}
    return any(
        (slash + rest).startswith(item[:-1]) if item.endswith("*") else item == slash + rest or item.lower() in known
        for item in batch.items
    )


def of_cloudfront(targets: Sequence[PurgeTarget], widen: bool) -> PurgePlan:
    return invalidations.plan_purge(targets, invalidations.Distribution(HOSTS), widen=widen)


def of_cloudflare(targets: Sequence[PurgeTarget], widen: bool) -> PurgePlan:
    return cloudflare.plan_purge(targets, cloudflare.Site(HOSTS), widen=widen)


def of_bunny(targets: Sequence[PurgeTarget], widen: bool) -> PurgePlan:
    return bunny.plan_purge(targets, HOSTS, widen=widen)


Plan = Callable[[Sequence[PurgeTarget], bool], PurgePlan]
Meets = Callable[[PurgeBatch, str, Sequence[str]], bool]
PROVIDERS = [
    pytest.param(of_cloudflare, at_cloudflare, id="cloudflare"),
    pytest.param(of_bunny, at_bunny, id="bunny"),
    pytest.param(of_cloudfront, at_cloudfront, id="cloudfront"),
]


def more_than_meant(target: PurgeTarget, url: str) -> bool:
    """Where a provider has no narrower form: all queries of a path are a prefix at Cloudflare, a folder's own page is
    all that is below it at Bunny, and a path is of all hosts at CloudFront."""
    _, slash, rest = url.removeprefix("https://").partition("/")
    path = (slash + rest).partition("?")[0]
    if target.kind is PurgeKind.URL and path.startswith(target.value):
        return True
    return target.host is not None and matches(replace(target, host=None), url)


@pytest.mark.parametrize(("plan", "meets"), PROVIDERS)
@given(targets=TARGETS, url=URLS, tags=TAGS)
def test_what_the_cdn_drops_is_gone_from_the_own_cache(
    plan: Plan, meets: Meets, targets: list[PurgeTarget], url: str, tags: list[str]
) -> None:
    if any(meets(batch, url, tags) for batch in plan(targets, False).batches):
        by_own = is_met(purges(targets, False), stored(url, tuple(tags)))
        assert by_own or any(more_than_meant(target, url) for target in targets)


@pytest.mark.parametrize(("plan", "meets"), PROVIDERS)
@given(targets=TARGETS, url=URLS, tags=TAGS, widen=st.booleans())
def test_what_is_meant_and_not_refused_is_dropped_by_the_cdn(
    plan: Plan, meets: Meets, targets: list[PurgeTarget], url: str, tags: list[str], widen: bool
) -> None:
    planned = plan(targets, widen)
    refused = {one.target for one in planned.rejected}
    noted = {note.split(": ")[0] for note in planned.notes}  # "/a/: without its queries"
    for target in targets:
        if target in refused or (target.written in noted and "?" in url) or not matches(target, url, tags):
            continue
        own = [batch for batch in planned.batches if target in batch.targets]
        assert any(meets(batch, url, tags) for batch in own), (target.written, planned)
