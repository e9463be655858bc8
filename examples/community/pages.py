"""The site as a browser sees it: a few pages of plain HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from aiohttp import web

from examples.community import content
from examples.community.context import NAME, VISITOR, number, read
from examples.community.records import Comment, Community, Post, User

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/static/style.css"><link rel="icon" type="image/png" href="/avatars/1.png">
</head>
<body>
<header>
<a class="brand" href="/">Allotment</a> <span>a small community site behind a load balancer</span>{who}
</header>
<main>
{main}
</main>
<footer>This page was made by <strong>{name}</strong>. Load it again and another server may answer.</footer>
</body>
</html>
"""


async def home(request: web.Request) -> web.Response:
    communities = await read(request, lambda connection: content.top_communities(connection, 8))
    posts = await read(request, content.latest_posts)
    main = f"<h1>Latest posts</h1>\n{_list(posts)}\n<h2>Communities</h2>\n{_communities(communities)}"
    return _page(request, "Allotment", main)


async def community(request: web.Request) -> web.Response:
    slug = request.match_info["slug"]
    found = await read(request, lambda connection: content.community(connection, slug))
    posts = await read(request, lambda connection: content.latest_posts(connection, found.id))
    main = (
        f"<h1>{escape(found.name)}</h1>\n<p>{escape(found.about)}</p>\n"
        f'<p class="small">{_size(found)}</p>\n{_list(posts)}'
    )
    return _page(request, found.name, main)


async def post(request: web.Request) -> web.Response:
    wanted = number(request, "post")
    found, comments = await read(request, lambda connection: content.thread(connection, wanted))
    main = (
        f"<article>\n<h1>{escape(found.title)}</h1>\n{_byline(found)}\n<p>{_text(found.body)}</p>\n</article>\n"
        f"<h2>{_count(len(comments), 'comment')}</h2>\n{''.join(map(_comment, comments))}"
    )
    return _page(request, found.title, main)


def _page(request: web.Request, title: str, main: str) -> web.Response:
    who, name = _who(request.get(VISITOR)), escape(request.app[NAME])
    text = _PAGE.format(title=escape(title), who=who, main=main, name=name)
    # The page names its server and its reader, so nobody else may be shown a copy.
    headers = {"Cache-Control": "private, no-cache", "Content-Security-Policy": "default-src 'self'"}
    return web.Response(text=text, content_type="text/html", headers=headers)


def _who(user: User | None) -> str:
    return f' <span class="who">{_face(user.id)} {escape(user.username)}</span>' if user else ""


def _list(posts: Iterable[Post]) -> str:
    return _bullets(f'<a href="/posts/{one.id}">{escape(one.title)}</a>{_byline(one)}' for one in posts)


def _byline(one: Post) -> str:
    return (
        f'<p class="small">{_face(one.author_id)} {escape(one.author)} in '
        f'<a href="/communities/{escape(one.community)}">{escape(one.community)}</a>, '
        f"{_when(one.created_at)}, {_count(one.comments, 'comment')}, {_count(one.reactions, 'like')}</p>"
    )


def _comment(one: Comment) -> str:
    return (
        f'<section id="comment-{one.id}"><p class="small">{_face(one.author_id)} {escape(one.author)}, '
        f"{_when(one.created_at)}</p><p>{_text(one.body)}</p></section>\n"
    )


def _communities(found: Iterable[Community]) -> str:
    return _bullets(
        f'<a href="/communities/{escape(one.slug)}">{escape(one.name)}</a> '
        f'<span class="small">{escape(one.about)} {_size(one)}</span>'
        for one in found
    )


def _bullets(entries: Iterable[str]) -> str:
    return "<ul>\n" + "".join(f"<li>{entry}</li>\n" for entry in entries) + "</ul>"


def _face(user_id: int) -> str:
    return f'<img src="/avatars/{user_id}.png" alt="" width="24" height="24">'


def _text(body: str) -> str:
    return escape(body).replace("\n", "<br>")


def _size(one: Community) -> str:
    return f"{_count(one.members, 'member')}, {_count(one.posts, 'post')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _when(at: str) -> str:
    return f'<time datetime="{escape(at)}">{escape(at[:16].replace("T", " "))}</time>'
