"""The site as its visitors meet it: a real process, asked over HTTP."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import AsyncIterator

import aiohttp
import pytest

from examples.community import rest
from tests.examples.copies import Copy, browser


async def register(session: aiohttp.ClientSession) -> int:
    body = {"username": f"test-{secrets.token_hex(6)}", "password": "long enough"}
    async with session.post("/api/users", json=body) as answer:
        assert answer.status == 201, await answer.text()
        user = (await answer.json())["id"]
        assert answer.headers["X-User-Id"] == str(user)
        return int(user)


async def write(session: aiohttp.ClientSession, title: str = "A title", community: str = "1") -> int:
    body = {"title": title, "body": "Some words."}
    async with session.post(f"/api/communities/{community}/posts", json=body) as answer:
        assert answer.status == 201, await answer.text()
        assert answer.headers["X-Community-Id"] == "1"
        return int((await answer.json())["id"])


async def test_a_post_lives_from_its_writing_to_its_removal(visitor, moderator):
    user = await register(visitor)
    async with visitor.post("/api/communities/2/members", json={}) as answer:
        assert (answer.status, await answer.json()) == (201, {"user_id": user, "joined": True})
    async with visitor.post("/api/communities/2/members", json={}) as answer:
        assert (answer.status, await answer.json()) == (200, {"user_id": user, "joined": False})
    post = await write(visitor)
    async with visitor.post(f"/api/posts/{post}/comments", json={"body": "First!"}) as answer:
        assert answer.status == 201
        comment = (await answer.json())["id"]
    async with visitor.post(f"/api/posts/{post}/reactions", json={}) as answer:
        assert answer.status == 201
    async with visitor.get(f"/api/posts/{post}") as answer:
        found = await answer.json()
        assert found["post"]["author_id"] == user
        assert (found["post"]["comments"], found["post"]["reactions"]) == (1, 1)
        assert [one["id"] for one in found["comments"]] == [comment]
    report = {"target_type": "comment", "target_id": comment, "reason": "spam"}
    async with visitor.post("/api/reports", json=report) as answer:
        assert answer.status == 201
        filed = await answer.json()
        assert (filed["status"], filed["target_user_id"], filed["community_id"]) == ("open", user, 1)
    async with visitor.post(f"/api/reports/{filed['id']}/resolve", json={"status": "upheld"}) as answer:
        assert answer.status == 403
    async with moderator.get("/api/reports") as answer:
        assert filed["id"] in [one["id"] for one in (await answer.json())["items"]]
    async with moderator.post(f"/api/reports/{filed['id']}/resolve", json={"status": "upheld"}) as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "upheld")
    async with moderator.post(f"/api/reports/{filed['id']}/resolve", json={"status": "ignored"}) as answer:
        assert answer.status == 409
    async with visitor.get(f"/api/posts/{post}") as answer:
        assert (await answer.json())["comments"] == []
    async with visitor.delete(f"/api/posts/{post}") as answer:
        assert answer.status == 204
    async with visitor.get(f"/api/posts/{post}") as answer:
        assert answer.status == 404


async def test_only_its_author_or_a_moderator_deletes_a_post(copy, visitor, moderator):
    await register(visitor)
    post = await write(visitor)
    async with browser(copy.url) as stranger:
        async with stranger.delete(f"/api/posts/{post}") as answer:
            assert answer.status == 401
        await register(stranger)
        async with stranger.delete(f"/api/posts/{post}") as answer:
            assert answer.status == 403
    async with moderator.delete(f"/api/posts/{post}") as answer:
        assert answer.status == 204


async def test_a_founder_moderates_what_they_founded(copy, visitor):
    user = await register(visitor)
    slug = f"club-{secrets.token_hex(4)}"
    async with visitor.post("/api/communities", json={"slug": slug, "name": "A club"}) as answer:
        assert answer.status == 201
        assert answer.headers["X-Community-Id"] == str((await answer.json())["id"])
        assert answer.headers["Location"] == f"/communities/{slug}"
    async with visitor.post("/api/communities", json={"slug": slug, "name": "A club"}) as answer:
        assert answer.status == 409
        assert (await answer.json())["fields"][0]["field"] == "slug"
    async with browser(copy.url) as member:
        await register(member)
        async with member.post(f"/api/communities/{slug}/posts", json={"title": "Hello", "body": "Hi"}) as answer:
            post = (await answer.json())["id"]
    async with visitor.delete(f"/api/posts/{post}") as answer:
        assert answer.status == 204
    async with visitor.get(f"/api/users/{user}") as answer:
        assert (await answer.json())["role"] == "member"


async def test_a_session_ends_with_logging_out(visitor):
    await register(visitor)
    async with visitor.delete("/api/sessions") as answer:
        assert answer.status == 204
    async with visitor.post("/api/communities/1/members", json={}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("password", ["wrong password", "communitY"])
async def test_a_wrong_password_opens_no_session(visitor, password):
    async with visitor.post("/api/sessions", json={"username": "grace", "password": password}) as answer:
        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing/here", None, 404),
        ("GET", "/communities/no-such-place", None, 404),
        ("GET", "/posts/999999", None, 404),
        ("GET", "/avatars/999999.png", None, 404),
        ("GET", "/api/posts/99999999999999999999", None, 404),
        ("PUT", "/api/users", {}, 405),
        ("GET", "/slow?ms=-1", None, 400),
        ("POST", "/api/users", {"username": "UPPER", "password": "long enough"}, 400),
        ("POST", "/api/users", {"username": "fine", "password": "short"}, 400),
        ("POST", "/api/users", {"username": "fine", "password": "long enough", "role": "admin"}, 400),
        ("POST", "/api/users", {"username": "ada", "password": "long enough"}, 409),
        ("POST", "/api/users", [], 400),
        ("POST", "/api/reports", {"target_type": "post", "target_id": 1, "reason": "spam"}, 401),
    ],
)
async def test_every_refusal_is_json_and_signed(copy, visitor, method, path, body, status):
    async with visitor.request(method, path, json=body) as answer:
        assert answer.status == status
        assert answer.headers["X-Served-By"] == copy.name
        assert (await answer.json())["error"]


async def test_a_refused_field_is_named_and_a_password_is_not_repeated(visitor):
    async with visitor.post("/api/users", json={"username": "fine", "password": "hush"}) as answer:
        text = await answer.text()
        assert [one["field"] for one in (await answer.json())["fields"]] == ["password"]
        assert "hush" not in text


async def test_a_form_of_another_site_is_refused(visitor):
    async with visitor.post("/api/users", data={"username": "fine", "password": "long enough"}) as answer:
        assert answer.status == 415


async def test_pages_say_who_made_them_and_escape_what_people_write(copy, visitor):
    await register(visitor)
    post = await write(visitor, title="<script>alert(1)</script>")
    for path in ("/", "/communities/gardening", f"/posts/{post}"):
        async with visitor.get(path) as answer:
            text = await answer.text()
            assert answer.status == 200
            assert answer.headers["X-Served-By"] == copy.name
            assert f"<strong>{copy.name}</strong>" in text
            assert "&lt;script&gt;" in text
            assert "<script" not in text


async def test_every_page_that_the_home_page_names_is_there(visitor):
    async with visitor.get("/") as answer:
        links = set(re.findall(r'(?:href|src)="([^"]+)"', await answer.text()))
    assert len(links) > 30
    for link in links:
        async with visitor.get(link) as answer:
            assert answer.status == 200, link


@pytest.mark.parametrize("path", ["/avatars/3.png", "/static/style.css"])
async def test_a_file_is_sent_once_and_then_confirmed(visitor, path):
    async with visitor.get(path) as answer:
        assert answer.headers["Cache-Control"].startswith("public, max-age=")
        etag, content = answer.headers["ETag"], await answer.read()
        assert content
    async with visitor.get(path, headers={"If-None-Match": f'"other", {etag}'}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
        assert answer.headers["ETag"] == etag
    async with visitor.get(path, headers={"If-None-Match": '"other"'}) as answer:
        assert (answer.status, await answer.read()) == (200, content)


async def test_an_answer_to_somebody_known_is_not_for_shared_caches(visitor):
    for path in ("/api/communities/top", "/api/posts/60", "/communities/baking"):
        async with visitor.get(path) as answer:
            assert "X-User-Id" not in answer.headers
    user = await register(visitor)
    for path in ("/api/communities/top", "/api/posts/60", "/communities/baking"):
        async with visitor.get(path) as answer:
            assert answer.headers["X-User-Id"] == str(user)
            assert "public" not in answer.headers["Cache-Control"]


async def test_a_head_is_a_get_without_its_body(visitor):
    async with visitor.get("/") as answer:
        length = answer.headers["Content-Length"]
    async with visitor.head("/") as answer:
        assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, length, b"")


async def pieces(count: int, piece: bytes) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield piece


async def test_an_upload_is_measured_as_it_streams(visitor):
    piece = bytes(range(256)) * 256
    async with visitor.post("/api/uploads", data=pieces(48, piece)) as answer:
        assert answer.status == 201
        assert await answer.json() == {
            "size": 48 * len(piece),
            "sha256": hashlib.sha256(piece * 48).hexdigest(),
        }


@pytest.mark.slow
async def test_an_upload_beyond_the_bound_is_refused(visitor):
    piece = bytes(1024 * 1024)
    async with visitor.post("/api/uploads", data=pieces(rest.UPLOAD // len(piece) + 1, piece)) as answer:
        assert answer.status == 413


async def test_health_is_told_without_a_session(copy, visitor):
    async with visitor.get("/health") as answer:
        found = await answer.json()
        assert (answer.status, found["status"], found["name"]) == (200, "ok", copy.name)


async def test_chaos_cannot_be_switched_through_a_proxy(visitor):
    for field in ("X-Forwarded-For", "Forwarded", "Via"):
        headers = {field: "1.1 balancer"}
        async with visitor.post("/chaos", json={"mode": "failing", "rate": 1}, headers=headers) as answer:
            assert answer.status == 403
    async with visitor.get("/chaos") as answer:
        assert (await answer.json())["mode"] == "none"


@pytest.mark.slow
async def test_a_session_holds_on_every_copy(tmp_path):
    with Copy(tmp_path / "shared.db", "app-1") as one, Copy(tmp_path / "shared.db", "app-2") as other:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            credentials = {"username": "grace", "password": "community"}
            async with session.post(f"{one.url}/api/sessions", json=credentials) as answer:
                assert answer.headers["X-Served-By"] == "app-1"
            async with session.get(f"{other.url}/api/reports") as answer:
                assert answer.headers["X-Served-By"] == "app-2"
                assert answer.status == 200


async def test_an_answer_says_in_fields_what_it_was_about(visitor, moderator):
    user = await register(visitor)
    post = await write(visitor)
    place = {"X-Community-Id": "1", "X-User-Id": str(user)}

    async def asked(who: aiohttp.ClientSession, method: str, path: str, body: object = None) -> dict[str, str]:
        async with who.request(method, path, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return {name: value for name, value in answer.headers.items() if name.startswith("X-")}

    served = (await asked(visitor, "POST", "/api/communities/1/members", {}))["X-Served-By"]
    everywhere = {"X-Served-By": served}
    assert await asked(visitor, "POST", f"/api/posts/{post}/comments", {"body": "First!"}) == place | everywhere
    assert await asked(visitor, "POST", f"/api/posts/{post}/reactions", {}) == place | everywhere
    assert await asked(visitor, "DELETE", "/api/communities/1/members") == place | everywhere
    del place["X-Community-Id"]  # who was no member has not left
    assert await asked(visitor, "DELETE", "/api/communities/1/members") == place | everywhere
    report = {"target_type": "post", "target_id": post, "reason": "nsfw"}
    async with visitor.post("/api/reports", json=report) as answer:
        told, number = answer.headers, (await answer.json())["id"]
    about = {
        "X-Community-Id": "1",
        "X-Report-Reason": "nsfw",
        "X-Target-Type": "post",
        "X-Target-User": str(user),
    }
    assert about.items() <= dict(told).items()
    decided = await asked(moderator, "POST", f"/api/reports/{number}/resolve", {"status": "upheld"})
    assert (about | {"X-Report-Outcome": "upheld", "X-Moderation-Action": "remove_post"}).items() <= decided.items()
