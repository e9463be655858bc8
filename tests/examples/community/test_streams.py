"""New posts reach those who listen, and connections that stay open end politely."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path

import aiohttp
import pytest

from examples.community.database import Database, prepare
from examples.community.live import BACKLOG, Feed
from tests.examples.copies import Copy

pytestmark = pytest.mark.slow


async def write(session: aiohttp.ClientSession) -> int:
    body = {"username": f"test-{secrets.token_hex(6)}", "password": "long enough"}
    async with session.post("/api/users", json=body) as answer:
        assert answer.status == 201
    async with session.post("/api/communities/1/posts", json={"title": "News", "body": "It works."}) as answer:
        return int((await answer.json())["id"])


async def event(stream: aiohttp.StreamReader) -> dict[str, str]:
    """The next event that is no comment and no setting."""
    found: dict[str, str] = {}
    while True:
        line = (await stream.readline()).decode().rstrip("\n")
        if not line and "data" in found:
            return found
        field, _, value = line.partition(": ")
        found[field] = value


async def test_a_socket_sends_every_message_back(copy, visitor):
    async with visitor.ws_connect("/ws?posts=no") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(bytes(70_000))
        assert await socket.receive_bytes() == bytes(70_000)


async def test_a_socket_is_signed_as_every_answer_is(copy, visitor):
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with visitor.get("/ws", headers=headers) as answer:
        assert (answer.status, answer.headers["X-Served-By"]) == (101, copy.name)


async def test_a_socket_hears_of_new_posts(visitor):
    async with visitor.ws_connect("/ws") as socket:
        hearing = asyncio.get_running_loop().create_task(socket.receive_str())
        written = []
        while not hearing.done():  # what is written before the first look is not news
            written.append(await write(visitor))
            await asyncio.wait([hearing], timeout=0.3)
            assert len(written) < 30
        told = json.loads(hearing.result())
        assert told["id"] in written
        assert (told["type"], told["title"]) == ("post", "News")


async def test_an_event_stream_takes_up_where_it_was_cut(visitor):
    async with visitor.get("/api/events", headers={"Last-Event-ID": "58"}) as stream:
        assert stream.content_type == "text/event-stream"
        first = await event(stream.content)
        second = await event(stream.content)
        assert (first["id"], second["id"], first["event"]) == ("59", "60", "post")
        assert json.loads(second["data"])["id"] == 60


async def test_streams_end_and_requests_are_finished_on_sigterm(tmp_path):
    with Copy(tmp_path / "one.db") as copy:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(copy.url, timeout=timeout) as session:
            socket = await session.ws_connect("/ws")
            events = await session.get("/api/events")
            slow = asyncio.get_running_loop().create_task(session.get("/slow?ms=700"))
            await asyncio.sleep(0.2)
            ended = asyncio.to_thread(copy.terminate)
            status, answer, message, _ = await asyncio.gather(ended, slow, socket.receive(), events.read())
            assert status == 0
            assert answer.status == 200
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY)
            await socket.close()
            answer.release()


async def test_a_slow_subscriber_loses_the_oldest_posts_and_still_learns_of_the_end(tmp_path: Path):
    prepare(tmp_path / "one.db")
    database = Database(tmp_path / "one.db")
    feed = Feed(database)
    try:
        with feed.subscribe() as posts:
            await feed.look(0)
            await feed.look(50)
            assert posts.qsize() <= BACKLOG
            for _ in range(BACKLOG):
                await feed.look(59)
            feed.close()
            told = [posts.get_nowait() for _ in range(posts.qsize())]
            assert len(told) == BACKLOG
            assert told[-1] is None
            assert all(post is not None and post.id == 60 for post in told[:-1])
        with feed.subscribe() as late:
            assert late.get_nowait() is None
    finally:
        database.close()
