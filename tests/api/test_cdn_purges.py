"""Purges over the API: what is understood, what comes of it on each level, and its ticket afterwards."""

from __future__ import annotations

from time import monotonic
from typing import cast

import pytest

from balancer.cache.entry import Entry
from balancer.cdn import errors
from config.cdn import Cdn
from tests.api.desk import Answer, Desk
from tests.cdn.shelf import Shelf

PURGE = "/api/infrastructure/cdn/purge"
PURGES = "/api/infrastructure/cdn/purges"


def store(desk: Desk, *urls: str) -> None:
    for url in urls:
        entry = Entry(url.encode(), (b"route", b"pool"), (), 200, b"HTTP/1.1 200 OK\r\n", ())
        entry.born, entry.fresh_until = monotonic() - 5, monotonic() + 60
        assert desk.room.fleet.store.put(entry, desk.room.fleet.store.moment)


def left(desk: Desk) -> set[str]:
    memory = desk.room.fleet.store
    return {entry.key.decode() for url in memory.urls() for entry in memory.find(url) if memory.current(entry)}


async def elsewhere(desk: Desk) -> Shelf:
    """With a CDN apart from the balancer."""
    await desk.services.cdn.change(Cdn(provider="bunny", url="https://cdn.example.com", coalesce=0, attempts=1))
    return cast("Shelf", desk.services.cdn.provider)


async def purge(desk: Desk, body: object, **headers: str) -> Answer:
    return await desk.ask(
        "POST", PURGE, body, role="operator", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


ALL = ("http://a.com/posts/1", "http://a.com/posts/2?x=1", "https://b.com/about")


@pytest.mark.parametrize(
    ("body", "targets", "kept"),
    [
        (["/posts/*"], ["/posts/*"], {ALL[2]}),
        (["/posts/2", "https://b.com/about"], ["/posts/2", "https://b.com/about"], {ALL[0]}),
        ({"paths": ["/posts/1"], "hosts": ["b.com"]}, ["/posts/1", "host:b.com"], {ALL[1]}),
        ({"patterns": ["/posts/*", "/posts/1"]}, ["/posts/*"], {ALL[2]}),  # what another one covers is left out
        ({"everything": True}, ["*"], set()),
    ],
)
async def test_a_list_or_an_order_is_purged_from_the_own_cache_at_once(
    desk: Desk, body: object, targets: list[str], kept: set[str]
) -> None:
    store(desk, *ALL)
    answer = await purge(desk, body)
    assert answer.status == 200
    assert left(desk) == kept
    assert (answer.at("state"), answer.at("verified"), answer.at("cdn")) == ("completed", True, None)
    assert answer.at("targets") == targets
    assert (answer.at("own", 0, "level"), answer.at("own", 0, "entries")) == ("memory", 3 - len(kept))
    shown = await desk.ask("GET", str(answer.headers["Location"]), role="viewer")
    assert shown.json == answer.json
    listed = await desk.ask("GET", PURGES, role="viewer")
    assert listed.at("items", 0) == answer.json


@pytest.mark.parametrize(
    ("body", "pointer", "reason"),
    [
        ([], "", "expected at least one target"),
        ({}, "/patterns", "expected at least one target"),
        ({"soft": True}, "/patterns", "nothing is never everything"),
        (["*"], "/0", 'say so by "everything": true'),
        ({"patterns": ["/a", "nix"]}, "/patterns/1", "expected /path"),
        (["/a", ""], "/1", "at least 1 character"),
        (["/a", 7], "/1", "must be text"),
        (["/a"] * 1001, "", "at most 1000 items"),
        (["/a", "nix"], "/1", "expected /path"),
        ({"tags": ["a b"]}, "/tags/0", "a tag is of visible ASCII"),
        ({"patterns": ["/a"], "scope": []}, "/scope", "must have at least 1 item, not 0"),
        ({"patterns": ["/a"], "scope": ["all"]}, "/scope/0", "must be"),
        ({"patterns": "/a"}, "/patterns", "must be a list"),
        ({"patterns": ["/a"], "timeout": 61}, "/timeout", "at most 60"),
        ({"files": ["/a"]}, "/files", "not a field"),
    ],
)
async def test_of_what_is_wrong_the_place_is_told_and_nothing_is_purged(
    desk: Desk, body: object, pointer: str, reason: str
) -> None:
    store(desk, *ALL)
    answer = await purge(desk, body)
    assert answer.status == 422
    assert reason in answer.faults[pointer]
    assert left(desk) == set(ALL)


async def test_the_own_cache_is_purged_before_the_cdn_and_the_ticket_goes_on(desk: Desk) -> None:
    shelf = await elsewhere(desk)
    store(desk, *ALL)
    shelf.open.clear()
    answer = await purge(desk, {"patterns": ["/posts/*", "/a/*/b"]})
    assert answer.status == 202
    assert (left(desk), shelf.purged) == ({ALL[2]}, [])
    shelf.open.set()
    again = await purge(desk, {"patterns": ["/c"], "wait": True})
    assert (again.status, again.at("state"), again.at("cdn", "provider")) == (200, "completed", "bunny")
    first = await desk.ask("GET", f"{PURGES}/{answer.at('ticket')}")
    assert shelf.purged == ["/posts/*", "/c"]
    assert first.at("state") == "partial"
    assert first.at("cdn", "rejected") == [{"target": "/a/*/b", "reason": "has no form here", "nearest": "/a/*"}]


async def test_the_same_key_gets_the_same_ticket_and_never_another_order(desk: Desk) -> None:
    first = await purge(desk, ["/a"], Idempotency_Key="k")
    again = await purge(desk, ["/a"], Idempotency_Key="k")
    assert first.at("ticket") == again.at("ticket")
    other = await purge(desk, ["/b"], Idempotency_Key="k")
    assert (other.status, other.at("code")) == (409, "cdn_conflict")
    assert (await purge(desk, ["/a"])).at("ticket") != first.at("ticket")
    assert (await purge(desk, ["/a"], Idempotency_Key="k" * 256)).status == 400


async def test_what_failed_for_good_is_told_and_may_be_tried_anew(desk: Desk) -> None:
    shelf = await elsewhere(desk)
    shelf.failure = errors.NotFound("the zone is not known there")
    answer = await purge(desk, {"patterns": ["/a"], "wait": True})
    assert (answer.status, answer.at("state")) == (502, "failed")
    assert "the zone is not known there" in str(answer.at("cdn", "error"))
    status = await desk.ask("GET", "/api/infrastructure/cdn/status")
    assert (status.at("purges", "tickets"), status.at("purges", "breaker")) == (0, "closed")
    shelf.failure = None
    path = f"{PURGES}/{answer.at('ticket')}"
    assert (await desk.ask("POST", f"{path}/retry", role="viewer")).status == 403
    retried = await desk.ask("POST", f"{path}/retry", role="operator")
    assert retried.status == 202
    await purge(desk, {"patterns": ["/b"], "wait": True})
    assert (await desk.ask("GET", path)).at("state") == "completed"
    assert (await desk.ask("POST", f"{path}/retry")).status == 409


async def test_purges_are_told_page_by_page_and_those_that_are_not_there_are_nowhere(desk: Desk) -> None:
    made = [(await purge(desk, [f"/{number}"])).at("ticket") for number in range(5)]
    found: list[object] = []
    query = "?limit=2"
    while True:
        page = await desk.ask("GET", PURGES + query)
        found += [item["ticket"] for item in cast("list[dict[str, str]]", page.json["items"])]
        if page.at("next") is None:
            break
        query = f"?limit=2&before={page.at('next')}"
    assert sorted(map(str, found)) == sorted(map(str, made))
    assert (await desk.ask("GET", f"{PURGES}/pg_0")).status == 404
    assert (await desk.ask("GET", f"{PURGES}?before=nix")).status == 422


async def test_a_purge_has_its_targets_in_the_trail_and_no_secret_of_them(desk: Desk) -> None:
    await purge(desk, ["/a?token=hunter2", "tag:b"])
    after = next(iter(desk.services.trail.lines(None)))
    assert [(change.path, change.before, change.after) for change in after.changes] == [
        ("cdn", "/a?token=***", "purged"),
        ("cdn", "tag:b", "purged"),
    ]


async def test_without_a_cdn_nothing_is_purged_and_the_cache_has_a_purge_of_its_own(desk: Desk) -> None:
    await desk.services.cdn.change(None)
    store(desk, *ALL)
    answer = await purge(desk, ["/posts/*"])
    assert (answer.status, answer.at("code")) == (409, "cdn_config")
    assert left(desk) == set(ALL)


async def test_a_file_that_is_removed_has_a_ticket_for_its_purge_elsewhere(desk: Desk) -> None:
    shelf = await elsewhere(desk)
    await desk.ask(
        "POST", "/api/infrastructure/cdn/files?name=a&overwrite=true", raw=b"x", headers={"Content-Type": "text/x"}
    )
    gone = await desk.ask("DELETE", f"/api/infrastructure/cdn/files/{next(iter(shelf.files_))}")
    assert (gone.status, gone.at("existed")) == (200, True)
    ticket = await desk.ask("GET", f"{PURGES}/{gone.at('ticket')}")
    assert ticket.at("targets") == ["https://cdn.example.com/cdn/document/a"]


async def test_what_the_cdn_has_no_form_for_is_known_before_anything_is_sent(desk: Desk) -> None:
    shelf = await elsewhere(desk)
    shelf.open.clear()
    answer = await purge(desk, ["/a/*/b", "/c"])
    assert [refused["target"] for refused in answer.at("cdn", "rejected")] == ["/a/*/b"]
    assert answer.at("state") in ("queued", "in_progress")
    shelf.open.set()


async def test_a_file_is_purged_by_its_path_as_by_its_url(desk: Desk) -> None:
    await desk.services.cdn.change(Cdn())
    answer = await purge(desk, ["image/2026/11/ab/abcd-cat.jpg", "/cdn/image/2026/11/ab/abcd-dog.jpg"])
    assert answer.at("targets") == ["/cdn/image/2026/11/ab/abcd-cat.jpg", "/cdn/image/2026/11/ab/abcd-dog.jpg"]


async def test_what_everything_covers_is_noted(desk: Desk) -> None:
    answer = await purge(desk, {"paths": ["/a"], "everything": True})
    assert answer.at("targets") == ["*"]
    assert "everything was ordered" in answer.at("notes", 0)


@pytest.mark.parametrize("name", ["cdn/{}", "{}"])
async def test_a_file_is_removed_by_its_path_or_that_of_its_url(desk: Desk, name: str) -> None:
    files = "/api/infrastructure/cdn/files"
    stored = await desk.ask("POST", f"{files}?name=a.txt", raw=b"x", headers={"Content-Type": "text/plain"})
    gone = await desk.ask("DELETE", f"{files}/{name.format(stored.at('path'))}")
    assert (gone.status, gone.at("existed")) == (200, True)
