"""The JSON interface: what programs and the traffic generator use."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from aiohttp import web

from examples.community import accounts, content, moderation
from examples.community.context import COOKIE, VISITOR, answer, items, listed, number, read, visitor, write
from examples.community.inputs import (
    Credentials,
    NewComment,
    NewCommunity,
    NewPost,
    NewReport,
    Resolution,
    body,
)
from examples.community.passwords import sealed
from examples.community.records import Refusal, Report, User

UPLOAD = 64 * 1024 * 1024
"""Bytes that one upload may have."""


async def register(request: web.Request) -> web.Response:
    """POST /api/users: a new user, logged in at once."""
    given = await body(request, Credentials)
    # Sealed on a reading thread: it takes long enough that the writing one must not wait for it.
    kept = await read(request, lambda _: sealed(given.password))
    user = await write(request, lambda connection: accounts.register(connection, given.username, kept))
    return await _log_in(request, user, 201)


async def log_in(request: web.Request) -> web.Response:
    """POST /api/sessions."""
    given = await body(request, Credentials)
    user = await read(request, lambda found: accounts.check(found, given.username, given.password))
    return await _log_in(request, user, 201)


async def _log_in(request: web.Request, user: User, status: int) -> web.Response:
    token = await write(request, lambda connection: accounts.open_session(connection, user.id))
    request[VISITOR] = user
    response = answer(user, status, {"Location": f"/api/users/{user.id}"})
    # Not `secure`: the demonstration speaks plain HTTP on one machine.
    response.set_cookie(COOKIE, token, max_age=accounts.SESSION, httponly=True, samesite="Lax", path="/")
    return response


async def log_out(request: web.Request) -> web.Response:
    """DELETE /api/sessions."""
    token = request.cookies.get(COOKIE, "")
    await write(request, lambda connection: accounts.close_session(connection, token))
    response = web.Response(status=204)
    response.del_cookie(COOKIE, path="/")
    return response


async def show_user(request: web.Request) -> web.Response:
    user = number(request, "user")
    return answer(await read(request, lambda connection: accounts.user(connection, user)))


async def list_communities(request: web.Request) -> web.Response:
    found = await read(request, content.communities)
    return answer(items(found), headers=_shared("communities"))


async def top_communities(request: web.Request) -> web.Response:
    found = await read(request, content.top_communities)
    return answer(items(found), headers=_shared("communities"))


async def show_community(request: web.Request) -> web.Response:
    name = request.match_info["community"]
    found = await read(request, lambda connection: content.community(connection, name))
    return answer(found, headers=_shared(f"community-{found.id}"))


async def add_community(request: web.Request) -> web.Response:
    founder = visitor(request)
    given = await body(request, NewCommunity)
    made = await write(request, lambda connection: content.add_community(connection, founder, given))
    return answer(made, 201, {"Location": f"/communities/{made.slug}", "X-Community-Id": str(made.id)})


async def join(request: web.Request) -> web.Response:
    """POST .../members: 201 for a new member, 200 for one who already was."""
    user, name = visitor(request), request.match_info["community"]
    place, joined = await write(
        request,
        lambda connection: (content.community(connection, name).id, content.join(connection, name, user)),
    )
    headers = {"X-Community-Id": str(place)}
    return answer({"user_id": user.id, "joined": joined}, 201 if joined else 200, headers)


async def leave(request: web.Request) -> web.Response:
    user, name = visitor(request), request.match_info["community"]
    place, left = await write(
        request,
        lambda connection: (content.community(connection, name).id, content.leave(connection, name, user)),
    )
    # Who was no member has not left, which only the answer can tell.
    return web.Response(status=204, headers={"X-Community-Id": str(place)} if left else {})


async def add_post(request: web.Request) -> web.Response:
    author, name = visitor(request), request.match_info["community"]
    given = await body(request, NewPost)
    made = await write(request, lambda connection: content.add_post(connection, author, name, given))
    return answer(made, 201, {"Location": f"/posts/{made.id}", "X-Community-Id": str(made.community_id)})


async def list_posts(request: web.Request) -> web.Response:
    """GET /api/posts: the latest of all communities."""
    found = await read(request, lambda connection: content.latest_posts(connection, limit=50))
    return answer(items(found), headers=_shared("posts"))


async def show_post(request: web.Request) -> web.Response:
    post = number(request, "post")
    found, comments = await read(request, lambda connection: content.thread(connection, post))
    return answer({"post": asdict(found), "comments": listed(comments)}, headers=_shared(f"post-{post}"))


async def delete_post(request: web.Request) -> web.Response:
    user, post = visitor(request), number(request, "post")
    gone = await write(request, lambda connection: moderation.delete_post(connection, user, post))
    headers = {"X-Community-Id": str(gone.community_id)}
    if gone.author_id != user.id:
        headers["X-Moderation-Action"] = "remove_post"
    return web.Response(status=204, headers=headers)


async def add_comment(request: web.Request) -> web.Response:
    author, post = visitor(request), number(request, "post")
    given = await body(request, NewComment)
    made, place = await write(
        request,
        lambda connection: (
            content.add_comment(connection, author, post, given),
            content.post(connection, post).community_id,
        ),
    )
    headers = {"Location": f"/posts/{post}#comment-{made.id}", "X-Community-Id": str(place)}
    return answer(made, 201, headers)


async def react(request: web.Request) -> web.Response:
    """POST .../reactions: 201 for a new one, 200 for a repeated one."""
    user, post = visitor(request), number(request, "post")
    new, place = await write(
        request,
        lambda connection: (content.react(connection, user, post), content.post(connection, post).community_id),
    )
    headers = {"X-Community-Id": str(place)}
    return answer({"post_id": post, "kind": "like", "new": new}, 201 if new else 200, headers)


async def file_report(request: web.Request) -> web.Response:
    reporter = visitor(request)
    given = await body(request, NewReport)
    made = await write(request, lambda connection: moderation.file_report(connection, reporter, given))
    return answer(made, 201, {"Location": f"/api/reports/{made.id}", **_of_report(made)})


async def list_reports(request: web.Request) -> web.Response:
    """GET /api/reports: those that wait for a moderator."""
    if not visitor(request).moderates:
        raise Refusal(403, "only moderators may do this")
    return answer(items(await read(request, moderation.open_reports)))


async def resolve_report(request: web.Request) -> web.Response:
    user, report = visitor(request), number(request, "report")
    given = await body(request, Resolution)
    decided = await write(request, lambda connection: moderation.resolve(connection, user, report, given))
    headers = {"X-Report-Outcome": decided.status, **_of_report(decided)}
    if decided.status == "upheld":
        headers["X-Moderation-Action"] = moderation.action_on(decided.target_type)
    return answer(decided, headers=headers)


async def upload(request: web.Request) -> web.Response:
    """POST /api/uploads: reads any body as it comes, keeps nothing, and says what it was."""
    size, digest = 0, hashlib.sha256()
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > UPLOAD:
            raise Refusal(413, f"an upload may have {UPLOAD} bytes")
        digest.update(piece)
    return answer({"size": size, "sha256": digest.hexdigest()}, 201)


def _of_report(report: Report) -> dict[str, str]:
    """What analytics may know of it without reading a body."""
    about = {
        "X-Community-Id": report.community_id,
        "X-Report-Reason": report.reason,
        "X-Target-Type": report.target_type,
        "X-Target-User": report.target_user_id,
        "X-Target-Post": report.target_id if report.target_type == "post" else None,
    }
    return {name: str(value) for name, value in about.items() if value is not None}


def _shared(*tags: str) -> dict[str, str]:
    """The headers of an answer that caches may keep for a moment, and the names to purge it by."""
    return {"Cache-Control": "public, max-age=2, stale-while-revalidate=10", "Surrogate-Key": " ".join(tags)}
