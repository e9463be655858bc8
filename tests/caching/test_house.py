"""The cache among the other things that a route does: edits, cookies of its own, rewriting, addresses of clients."""

from __future__ import annotations

import pytest

from tests.caching.case import proves
from tests.caching.lab import Lab
from tests.caching.server import Asked, says

THEME = "Beside the rest"


@proves(THEME, "routes.headers", "Edits of a route are made once, and on what is stored as on what is not.")
def test_edits_are_made_once(lab: Lab) -> None:
    place = lab.place("edited")
    place.plan(says("Cache-Control: max-age=60", "X-Gone: 1", "X-Set: theirs", "X-Add: theirs", 'ETag: "a"'))
    client = lab.client("ruled")
    for lines, status in (((), 200), ((), 200), (('If-None-Match: "a"',), 304), (("Range: bytes=0-1",), 206)):
        seen = client.ask(f"/edited/{place.name}", *lines)
        assert seen.status == status
        assert seen.values("x-gone") == []
        assert seen.values("x-set") == ["ours"]
        assert seen.values("x-add") == (["theirs", "ours"] if status != 304 else ["ours"])
    assert len(place.asked) == 1
    assert place.asked[0].values("x-from") == ["us"]


@proves(THEME, "routes.headers", "Edits are made once after a check as well.")
def test_edits_are_made_once_after_a_check(lab: Lab) -> None:
    place = lab.place("edited-check")
    place.plan(
        says("Cache-Control: max-age=60", "Age: 100", "X-Set: theirs", "X-Add: theirs", 'ETag: "a"'),
        says("Cache-Control: max-age=60", 'ETag: "a"', "X-Gone: 1", status=304),
    )
    client = lab.client("ruled")
    for _ in range(3):
        seen = client.ask(f"/edited/{place.name}")
        assert seen.values("x-gone") == []
        assert seen.values("x-set") == ["ours"]
        assert seen.values("x-add") == ["theirs", "ours"]
    assert len(place.asked) == 2


@proves(THEME, "pools.sticky", "The cookie that keeps a client on its server is not stored for others.")
def test_the_sticky_cookie_is_not_stored(lab: Lab) -> None:
    place = lab.place("sticky")
    place.plan(says("Cache-Control: max-age=60", "Set-Cookie: a=1"))
    first = lab.client("ruled").ask(f"/sticky/{place.name}")
    assert any(value.startswith("lane=") for value in first.values("set-cookie"))
    second = lab.client("ruled").ask(f"/sticky/{place.name}")
    assert second.cache is not None
    assert second.cache.get("hit") is True
    assert second.values("set-cookie") == ["a=1"]


@proves(THEME, "routes.rewrite", "A rewritten path is stored under what was asked for.")
def test_a_rewritten_path_is_stored_as_asked_for(lab: Lab) -> None:
    place = lab.place("rewritten")
    place.always = says("Cache-Control: max-age=60")
    client = lab.client("ruled")
    asked = client.ask(f"/rewritten/{place.name}").body
    plain = client.ask(f"/{place.name}").body
    assert asked != plain
    assert client.ask(f"/rewritten/{place.name}").body == asked
    assert [a.target for a in place.asked] == [f"/{place.name}"] * 2


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
@proves(
    THEME, "RFC 9111 section 4.1", "An answer that varies by the client's address, which we say, is for that address."
)
def test_an_answer_for_an_address_is_for_no_other(lab: Lab, name: str) -> None:
    place = lab.place("address")
    place.always = says(
        "Cache-Control: max-age=60", f"Vary: {name}", body=lambda asked: ",".join(asked.values(name)).encode()
    )
    one = lab.client(address="127.0.0.1").ask(f"/{place.name}").body
    two = lab.client(address="127.0.0.2").ask(f"/{place.name}").body
    assert b"127.0.0.1" in one
    assert b"127.0.0.2" in two


@proves(THEME, "RFC 9111 section 4.1", "A claim of X-Forwarded-Proto that is not believed selects no variant.")
def test_a_claim_that_is_not_believed_selects_nothing(lab: Lab) -> None:
    place = lab.place("claim")
    place.always = says(
        "Cache-Control: max-age=60",
        "Vary: X-Forwarded-Proto, X-Forwarded-Host",
        body=lambda asked: ",".join(asked.values("x-forwarded-proto") + asked.values("x-forwarded-host")).encode(),
    )
    client = lab.client()
    claimed = client.ask(f"/{place.name}", "X-Forwarded-Proto: https", "X-Forwarded-Host: poison.test").body
    honest = client.ask(f"/{place.name}").body
    assert claimed == honest == b"http,site.test"


@proves(THEME, "RFC 9112 section 3.2.2", "A target that says https, on a port without, is no way to another's answers.")
def test_the_scheme_of_a_target_mixes_nothing(lab: Lab) -> None:
    place = lab.place("scheme")

    def scheme(asked: Asked) -> bytes:
        return ",".join(asked.values("x-forwarded-proto")).encode()

    place.always = says("Cache-Control: max-age=60", body=scheme)
    client = lab.client()
    client.ask(f"https://site.test/{place.name}")
    assert client.ask(f"/{place.name}").body == b"http"


@proves(THEME, "RFC 9110 section 7.8", "A request to switch protocols goes to the server.")
def test_an_upgrade_is_not_answered_from_the_cache(lab: Lab) -> None:
    place = lab.place("upgrade")
    place.always = says("Cache-Control: max-age=60")
    client = lab.client()
    client.ask(f"/{place.name}")
    seen = client.ask(f"/{place.name}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    assert seen.body == place.body_of(2)


@proves(THEME, "RFC 9110 section 10.1.1", "A GET that expects 100-continue without a body gets its answer.")
def test_a_hit_answers_an_expectation(lab: Lab) -> None:
    place = lab.place("expects")
    place.always = says("Cache-Control: max-age=60")
    client = lab.client()
    client.ask(f"/{place.name}")
    assert client.ask(f"/{place.name}", "Expect: 100-continue").status == 200
    assert client.ask(f"/{place.name}").status == 200


@pytest.mark.parametrize("forbids", ["private", "no-store"])
@proves(THEME, "RFC 9111 section 4.3.3", "What has become private meanwhile is not served stale any longer.")
def test_what_became_private_is_no_longer_served(lab: Lab, forbids: str) -> None:
    place = lab.place("became-private")
    place.plan(says("Cache-Control: max-age=60, stale-while-revalidate=600", "Age: 100", 'ETag: "a"'))
    place.always = says(f"Cache-Control: {forbids}")
    client = lab.client()
    client.ask(f"/{place.name}")
    for _ in range(100):
        if client.ask(f"/{place.name}").body != place.body_of(1):
            break
        assert place.wait(2)
    else:
        pytest.fail(f"served stale a hundred times, for which the server was asked {len(place.asked)} times")
    assert client.ask(f"/{place.name}").body == place.body_of(len(place.asked))
