"""New posts as they appear, for WebSockets and event streams."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from examples.community import content
from examples.community.database import Database
from examples.community.records import Post

TICK = 1.0
"""Seconds between looks at the table: other processes write to it, so nobody tells us."""
BACKLOG = 100
"""Posts that a slow subscriber may fall behind; older ones are dropped."""

Subscription = asyncio.Queue[Post | None]


class Feed:
    """Hands each new post to every subscriber, whichever process it was written to.

    One query a second serves them all, and none is made while nobody listens. `None` in a subscription means
    that the process is about to end.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscribers: set[Subscription] = set()
        self._closed = False

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        queue: Subscription = asyncio.Queue(BACKLOG)
        self._subscribers.add(queue)
        if self._closed:
            queue.put_nowait(None)
        try:
            yield queue
        finally:
            self._subscribers.discard(queue)

    async def run(self) -> None:
        """Look for new posts until cancelled."""
        seen: int | None = None  # None: nobody listened at the last look
        while True:
            if not self._subscribers:
                seen = None
            else:
                try:
                    seen = await self.look(seen)
                except sqlite3.OperationalError:
                    pass  # the file was busy for too long; the next look finds the same posts
            await asyncio.sleep(TICK)

    def close(self) -> None:
        """Tell everybody to leave."""
        self._closed = True
        for queue in self._subscribers:
            _put(queue, None)

    async def look(self, seen: int | None) -> int:
        """Hand out what came after the post `seen`; the newest post is returned, as the next call's `seen`.

        None hands out nothing: those who have just come are told of what is new from now on.
        """
        if seen is None:
            return await self._database.read(content.newest_post_id)
        last = seen
        posts = await self._database.read(lambda connection: content.posts_after(connection, last))
        for post in posts:
            for queue in self._subscribers:
                _put(queue, post)
        return posts[-1].id if posts else seen


def _put(queue: Subscription, post: Post | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(post)
