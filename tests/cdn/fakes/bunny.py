"""A Bunny with a state: an account with a pull zone that caches, a storage zone, their limits, and faults on demand."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from ssl import SSLContext
from time import monotonic
from typing import Final, Literal

from aiohttp import web
from aiohttp.test_utils import TestServer

KEY: Final = "account-key-0f9c"
PASSWORD: Final = "storage-password-77aa"
ZONE: Final = "shop-files"
PULL_ZONE: Final = 12345
HOST: Final = "shop.b-cdn.net"

Fault = Literal["401", "429", "429 silent", "500 page", "busy", "reset", "truncated", "silence", "no json"]


@dataclass(frozen=True)
class Received:
    """A call as it came, without credentials."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """As it stands in a golden file."""
        shown = "".join(f"{name}: {value}\n" for name, value in sorted(self.fields.items()))
        return f"{self.method} {self.target}\n{shown}\n{self.body.decode('latin-1')}\n"


class Bucket:
    """What the account may still do of one kind."""

    def __init__(self, capacity: float, refill: float, clock: Callable[[], float]) -> None:
        self.left, self._capacity, self._refill, self._clock = capacity, capacity, refill, clock
        self._at = clock()

    def take(self) -> float:
        """Seconds until there is one again; 0: it was taken."""
        now = self._clock()
        self.left = min(self._capacity, self.left + (now - self._at) * self._refill)
        self._at = now
        if self.left < 1:
            return (1 - self.left) / self._refill
        self.left -= 1
        return 0.0


@dataclass
class FakeBunny:
    """`cached` is what the edge holds, by URL with the value of CDN-Tag; `files` the storage, by path in the zone."""

    clock: Callable[[], float] = monotonic
    cached: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    zone: dict[str, object] = field(default_factory=dict)
    statistics: dict[str, object] = field(default_factory=dict)
    ignores_queries: bool = False
    faults: deque[Fault] = field(default_factory=deque)
    """For the next calls, one each."""
    asked: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exact = Bucket(120, 5, self.clock)
        self.prefix = Bucket(20, 0.5, self.clock)

    def pull_zone(self) -> dict[str, object]:
        return {
            "Id": PULL_ZONE,
            "Name": "shop",
            "Enabled": True,
            "Suspended": False,
            "OriginUrl": "https://origin.example.com",
            "StorageZoneId": -1,
            "Hostnames": [{"Id": 1, "Value": HOST}],
            "IgnoreQueryStrings": self.ignores_queries,
            "OptimizerEnabled": True,
            "OptimizerEnableManipulationEngine": True,
            "OptimizerForceClasses": False,
            "EnableCountryCodeVary": False,
            "PermaCacheStorageZoneId": 0,
            "ZoneSecurityEnabled": False,
            "MonthlyBandwidthUsed": 1000,
        } | self.zone

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        kept = ("content-type", "checksum", "accept", "transfer-encoding", "content-length")
        fields = {name.lower(): value for name, value in request.headers.items() if name.lower() in kept}
        self.asked.append(Received(request.method, request.path_qs, fields, body))
        fault = self.faults.popleft() if self.faults else None
        if fault is not None:
            return await _faulty(request, fault)
        path = request.raw_path.partition("?")[0]
        if request.host.endswith("bunnycdn.com") or path.startswith("/storage/"):
            return self._storage(request, path.removeprefix("/storage"), body)
        if request.headers.get("AccessKey") != KEY:
            return web.Response(status=401, text="Unauthorized")
        if path == "/purge":
            return self._purge(request)
        if path == "/statistics":
            return self._figures(request)
        found = re.fullmatch(r"/pullzone/([0-9]+)(/purgeCache)?", path)
        if found is None:
            return _error(404, "not_found", "", "there is nothing of the kind")
        if int(found[1]) != PULL_ZONE:
            return _error(404, "pullZone.not_found", "PullZone", "The requested Pull Zone was not found")
        if found[2] is None:
            return web.json_response(self.pull_zone())
        return self._purge_zone(body)

    # The core.

    def _purge(self, request: web.Request) -> web.Response:
        url = request.query.get("url", "")
        if not url.startswith(("http://", "https://")):
            return _error(400, "validation_error", "Url", "The value is not valid")
        path = url.partition("?")[0]
        wide = "*" in url or path.endswith("/")
        if limited := _limited(self.prefix if wide else self.exact):
            return limited
        below = url.endswith("/") and not (request.query.get("exactPath") == "true" and not self.ignores_queries)
        pattern = _starred(url + "*" if below else url)
        self._forget(lambda cached, _: pattern.fullmatch(cached) is not None)
        return web.Response()

    def _purge_zone(self, body: bytes) -> web.Response:
        if limited := _limited(self.prefix):
            return limited
        wanted = json.loads(body) if body else {}
        if not set(wanted) <= {"CacheTag"}:
            return _error(400, "validation_error", "", "The value is not valid")
        tag = wanted.get("CacheTag")
        pattern = _starred(tag) if tag else re.compile(".*")
        self._forget(lambda _, value: pattern.fullmatch(value[:1024]) is not None if tag else True)
        return web.Response(status=204)

    def _forget(self, is_meant: Callable[[str, str], bool]) -> None:
        self.cached = {url: tag for url, tag in self.cached.items() if not is_meant(url, tag)}

    def _figures(self, request: web.Request) -> web.Response:
        for name in ("dateFrom", "dateTo"):
            try:
                datetime.fromisoformat(request.query.get(name, ""))
            except ValueError:
                return _error(400, "validation_error", name, "The value is not valid")
        return web.json_response(self.statistics)

    # The storage.

    def _storage(self, request: web.Request, path: str, body: bytes) -> web.Response:
        zone, _, name = path[1:].partition("/")
        if request.headers.get("AccessKey") != PASSWORD or zone != ZONE:
            return web.json_response({"HttpCode": 401, "Message": "Unauthorized"}, status=401)
        if request.method == "PUT":
            if "chunked" in request.headers.get("Transfer-Encoding", "") or "Content-Encoding" in request.headers:
                return web.Response(status=401)
            told = request.headers.get("Checksum")
            if told is not None and told != sha256(body).hexdigest().upper():
                return web.json_response({"HttpCode": 400, "Message": "Checksum does not match."}, status=400)
            self.files[name] = body
            self.types[name] = request.headers.get("Content-Type", "application/octet-stream")
            return web.json_response({"HttpCode": 201, "Message": "File uploaded."}, status=201)
        if request.method == "DELETE":
            if not name or name.endswith("/"):
                self.files = {file: it for file, it in self.files.items() if not file.startswith(name)}
            elif self.files.pop(name, None) is None:
                return web.json_response({"HttpCode": 404, "Message": "Object Not Found"}, status=404)
            return web.json_response({"HttpCode": 200, "Message": "File deleted successfuly."})
        if name and not name.endswith("/"):
            if name not in self.files:
                return web.json_response({"HttpCode": 404, "Message": "Object Not Found"}, status=404)
            return web.Response(body=self.files[name])
        return web.json_response(self._listed(name))

    def _listed(self, folder: str) -> list[dict[str, object]]:
        inside = sorted(
            {name.removeprefix(folder).partition("/")[:2] for name in self.files if name.startswith(folder)}
        )
        return [self._item(folder, name, is_folder=bool(slash)) for name, slash in inside]

    def _item(self, folder: str, name: str, *, is_folder: bool) -> dict[str, object]:
        content = b"" if is_folder else self.files[folder + name]
        return {
            "Guid": sha256((folder + name).encode()).hexdigest()[:32],
            "StorageZoneName": ZONE,
            "Path": f"/{ZONE}/{folder}",
            "ObjectName": name,
            "Length": len(content),
            "LastChanged": "2026-11-23T10:20:30.12",
            "DateCreated": "2026-11-23T10:20:30.12",
            "IsDirectory": is_folder,
            "ServerId": 1,
            "ArrayNumber": 0,
            "UserId": "u",
            "ContentType": "" if is_folder else self.types.get(folder + name, ""),
            "StorageZoneId": 9,
            "Checksum": None if is_folder else sha256(content).hexdigest().upper(),
            "ReplicatedZones": None,
        }


def _starred(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def _limited(bucket: Bucket) -> web.Response | None:
    seconds = bucket.take()
    return None if not seconds else web.Response(status=429, headers={"Retry-After": str(int(seconds) + 1)})


def _error(status: int, key: str, name: str, message: str) -> web.Response:
    return web.json_response({"ErrorKey": key, "Field": name, "Message": message}, status=status)


async def _faulty(request: web.Request, fault: Fault) -> web.StreamResponse:
    match fault:
        case "401":
            return web.Response(status=401)
        case "429":
            return web.Response(status=429, headers={"Retry-After": "7"})
        case "429 silent":
            return web.Response(status=429)
        case "500 page":
            return web.Response(status=500, text=f"<html>{request.headers.get('AccessKey')} broke it</html>")
        case "busy":
            return web.json_response({"HttpCode": 400, "Message": "Unable to process request"}, status=400)
        case "no json":
            return web.Response(text="<html>a login page</html>", content_type="text/html")
        case "silence":
            await asyncio.Event().wait()
        case "reset" | "truncated":
            transport = request.transport
            assert transport is not None
            transport.write(
                b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"Id": 123'
            )
            if fault == "reset":
                linger = struct.pack("ii", 1, 0)
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.close()
    return web.Response()


@asynccontextmanager
async def running(fake: FakeBunny, tls: SSLContext | None = None) -> AsyncIterator[TestServer]:
    """The fake on a port of this machine; the storage below /storage, or by its host."""
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{tail:.*}", fake.handle)
    server = TestServer(application, scheme="https" if tls is not None else "http")
    await server.start_server(ssl=tls) if tls is not None else await server.start_server()
    try:
        yield server
    finally:
        await server.close()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
