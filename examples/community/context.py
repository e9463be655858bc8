"""What handlers share: the application's parts, a request's visitor, and how answers are made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from examples.community.chaos import Chaos
from examples.community.database import Database
from examples.community.live import Feed
from examples.community.records import Refusal, User

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

NAME = web.AppKey("name", str)
DATABASE = web.AppKey("database", Database)
CHAOS = web.AppKey("chaos", Chaos)
FEED = web.AppKey("feed", Feed)
BORN = web.AppKey("born", float)
"""When this process started, on the monotonic clock."""

VISITOR = web.RequestKey("visitor", User)
"""Set for requests that carry the cookie of a live session."""
COOKIE = "session"


def visitor(request: web.Request) -> User:
    """The user who is logged in. Raises Refusal when nobody is."""
    user: User | None = request.get(VISITOR)
    if user is None:
        raise Refusal(401, "log in first: POST /api/sessions, or register with POST /api/users")
    return user


async def read(request: web.Request, query: Callable[[sqlite3.Connection], T]) -> T:
    return await request.app[DATABASE].read(query)


async def write(request: web.Request, change: Callable[[sqlite3.Connection], T]) -> T:
    return await request.app[DATABASE].write(change)


def answer(
    content: DataclassInstance | dict[str, object], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """JSON, not to be cached unless `headers` says otherwise."""
    document = content if isinstance(content, dict) else asdict(content)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return web.json_response(text=text, status=status, headers=kept)


def items(content: Sequence[DataclassInstance]) -> dict[str, object]:
    """A list, as the site's API answers it."""
    return {"items": listed(content), "next": None}


def listed(content: Sequence[DataclassInstance]) -> list[object]:
    return [asdict(one) for one in content]


def number(request: web.Request, name: str) -> int:
    """An id of the path, which its pattern has already limited to digits."""
    return int(request.match_info[name])
