"""The admin API over a real Control, with a key of each role."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import cast

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from pydantic import JsonValue

from api.auth import ROLES, Keyring, Role, new_key
from api.key_store import KeyStore
from api.services import Services
from balancer.alerting.service import AlertService
from balancer.analytics.service import AnalyticsService
from balancer.cdn.service import CdnService
from balancer.databases.service import Databases
from balancer.redis_link import RedisLink
from balancer.telemetry.metrics import Metrics
from balancer.telemetry.process import LoopLag, Process
from balancer.telemetry.rates import Recent
from config.schema import AdminKey, Redis
from tests.cdn.shelf import Shelf
from tests.control_room import Room

Client = TestClient[web.Request, web.Application]
BALANCER = "/api/infrastructure/load-balancer"
SERVERS = f"{BALANCER}/pools/web/servers"


def known_key(text: str, id_: str = "known") -> AdminKey:
    """The record of a key of role admin with this text."""
    return AdminKey(id=id_, hash=f"sha256:{sha256(text.encode()).hexdigest()}", role="admin")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Keys:
    """A key of each role, and the lines of a configuration that knows them."""

    def __init__(self) -> None:
        made = {role: new_key(role) for role in ROLES}
        self.text = {role: text for role, (text, _) in made.items()}
        entries = [f'{{id: {role}, hash: "{key.hash}", role: {role}}}' for role, (_, key) in made.items()]
        self.lines = f"admin: {{listen: 127.0.0.1:0, rate_limit: null, keys: [{', '.join(entries)}]}}"


def services(room: Room, clock: Clock) -> Services:
    control = room.control
    redis = RedisLink(Redis())
    return Services(
        control=control,
        keyring=Keyring(lambda: control.snapshot.config, None, clock, store=KeyStore(room.state.parent / "keys.json")),
        recent=Recent(),
        metrics=Metrics(5000, Process()),
        process=Process(),
        lag=LoopLag(),
        redis=redis,
        cdn=CdnService(room.state.parent, control, make=Shelf, clock=clock),
        analytics=AnalyticsService(room.state.parent),
        databases=Databases(redis),
        alerts=AlertService(room.state.parent, "desk"),
        clock=clock,
    )


class Desk:
    """Where a caller stands: the API's client, and the room behind it."""

    def __init__(self, client: Client, room: Room, keys: Keys, parts: Services, clock: Clock) -> None:
        self.client = client
        self.room = room
        self.keys = keys
        self.services = parts
        self.clock = clock

    async def session(self, role: Role = "admin") -> dict[str, str]:
        """Log in, and what a page then sends with each request."""
        answer = await self.ask("POST", "/api/session", {"key": self.keys.text[role]}, role=None)
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return {
            "Cookie": cookie,
            "Origin": f"http://{self.client.host}:{self.client.port}",
            "X-CSRF-Token": str(answer.json["csrf_token"]),
        }

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        role: Role | None = "admin",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """Ask with the key of a role; None: without one."""
        sent = dict(headers or {})
        if role is not None:
            sent["Authorization"] = f"Bearer {self.keys.text[role]}"
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        response = await self.client.request(method, path, json=body, data=raw, headers=sent)
        if response.content_type == "text/event-stream" and method != "HEAD":
            async with response:  # has no end: its first event is enough
                return Answer(response, await response.content.readuntil(b"\n\n"), None)
        return Answer(response, await response.read(), await _json(response))


class Answer:
    """A response with its body read."""

    def __init__(self, response: ClientResponse, content: bytes, document: JsonValue) -> None:
        self.status = response.status
        self.headers = response.headers
        self.content = content
        self.document = document

    @property
    def json(self) -> dict[str, JsonValue]:
        assert isinstance(self.document, dict), self.content
        return self.document

    def at(self, *path: str | int) -> JsonValue:
        """The value at a path into the document."""
        found = self.document
        for step in path:
            found = cast("dict[str | int, JsonValue]", found)[step]
        return found

    @property
    def faults(self) -> dict[str, str]:
        """Of a problem: the message for each pointer."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.content
        return {
            str(fault["pointer"]): str(fault["message"])
            for fault in cast("list[dict[str, JsonValue]]", self.json["errors"])
        }


async def _json(response: ClientResponse) -> JsonValue:
    if response.content_type in ("application/json", "application/problem+json") and await response.read():
        return cast("JsonValue", await response.json(content_type=None))
    return None
