"""Makes the crowd's requests at a steady rate."""

from __future__ import annotations

import asyncio
import json
from random import Random
from urllib.parse import urljoin

import aiohttp

from examples.community.traffic.crowd import Act, Answer, Crowd
from examples.community.traffic.meter import Meter

PATIENCE = aiohttp.ClientTimeout(total=15, connect=5)
"""What a person would wait."""
LAST = 3.0
"""Seconds that requests under way get once the traffic is over."""


class Load:
    """Starts requests as visitors come, not as answers do: a slow server meets the same crowd as a fast one.

    Arrivals are spread at random around `rate` a second. At most `concurrency` requests are under way; what
    would be more is left out and counted, so that a dead server does not pile up requests here.
    """

    def __init__(self, url: str, rate: float, concurrency: int, rng: Random, meter: Meter) -> None:
        self._url = url
        self._rate = rate
        self._concurrency = concurrency
        self._rng = rng
        self._crowd = Crowd(rng)
        self._meter = meter

    async def run(self, stop: asyncio.Event, duration: float) -> None:
        """Until `stop` is set, or for so many seconds; 0 means no end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + duration if duration else float("inf")
        tasks: set[asyncio.Task[None]] = set()
        async with self._session() as session, asyncio.TaskGroup() as group:
            due = loop.time()
            while not stop.is_set() and due < deadline:
                if len(tasks) < self._concurrency:
                    task = group.create_task(self._one(session, self._crowd.next()))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                else:
                    self._meter.skipped += 1
                # Never further behind than a second: a pause of this process is not made up for by a burst.
                due = max(due + self._rng.expovariate(self._rate), loop.time() - 1.0)
                await _wait(stop, min(due, deadline) - loop.time())
            if tasks:
                await asyncio.wait(tasks, timeout=LAST)
            for task in tuple(tasks):
                task.cancel()

    async def script(self, stop: asyncio.Event, requests: int) -> None:
        """So many requests, each after the answer to the one before: with the same seed the same story again."""
        async with self._session() as session:
            for _ in range(requests):
                if stop.is_set():
                    return
                await self._one(session, self._crowd.next())

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=self._concurrency)
        jar = aiohttp.DummyCookieJar()  # there are many people here, each with their own cookie
        return aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=PATIENCE)

    async def _one(self, session: aiohttp.ClientSession, act: Act) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        cookie = {"Cookie": f"session={act.member.cookie}"} if act.member else {}
        try:
            async with session.request(
                act.method,
                urljoin(self._url, act.path),
                json=act.body,
                headers={"User-Agent": "community-traffic", **act.headers, **cookie},
                allow_redirects=False,
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._meter.failed(act.name, _reason(error))
            return
        now = loop.time()
        server = response.headers.get("X-Served-By", "nobody")
        self._meter.answered(now, act.name, response.status, server, now - began)
        self._crowd.learn(act, _answer(response, content))


def _answer(response: aiohttp.ClientResponse, content: bytes) -> Answer:
    cookie = response.cookies.get("session")
    document: object = None
    if response.content_type == "application/json" and response.status < 300:
        try:
            document = json.loads(content)
        except ValueError:
            pass  # what is no JSON teaches nothing
    return Answer(response.status, document, cookie.value if cookie else None, response.headers.get("ETag"))


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return "cannot connect"
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientPayloadError():
            return "cut short"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return "connection lost"
        case _:
            return type(error).__name__


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await stop.wait()
    except TimeoutError:
        pass
