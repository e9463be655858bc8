"""A Cloudflare with a state: one zone with a cache that purges empty, its limits, and faults to be switched on."""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final, Literal

from aiohttp import web
from aiohttp.test_utils import TestServer

ZONE: Final = "023e105f4ecef8ad9ca31a8372d0c353"
ACCOUNT: Final = "f037e56e89293a057740de681ac9abbe"
TOKEN: Final = "t0ken-of-forty-characters-or-so-aaaaaaaa"
KEY: Final = "144c9defac04969c7bfad8efaa8ea194"
EMAIL: Final = "owner@example.com"
RIGHTS: Final = frozenset(("purge", "zone", "analytics", "images"))
KINDS: Final = ("files", "prefixes", "tags", "hosts")

Fault = Literal[
    "200 success:false",
    "429",
    "429 without a word",
    "401",
    "502 page",
    "redirect",
    "reset in mid-body",
    "truncated",
    "silence",
    "graphql error",
]
OTHERS: Final[Mapping[str, tuple[float, float]]] = {
    "free": (25, 5 / 60),
    "pro": (25, 5),
    "business": (50, 10),
    "enterprise": (500, 50),
}
URLS: Final[Mapping[str, float]] = {"free": 800, "pro": 1500, "business": 1500, "enterprise": 3000}


@dataclass
class Credential:
    rights: frozenset[str] = RIGHTS
    status: str = "active"
    owner: Literal["user", "account"] = "user"


@dataclass
class Hour:
    """Traffic of one, by cache status."""

    requests: dict[str, int] = field(default_factory=dict)
    bytes_each: int = 1000


@dataclass
class SetLimits:
    enabled: bool = True
    max_duration: int = 3 * 86_400
    max_page: int = 10_000
    not_older_than: int = 30 * 86_400

    def shown(self) -> dict[str, object]:
        return {
            "enabled": self.enabled,
            "maxDuration": self.max_duration,
            "maxPageSize": self.max_page,
            "notOlderThan": self.not_older_than,
        }


@dataclass(frozen=True)
class Received:
    """What came, credentials masked."""

    line: str
    fields: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """As a golden file has it."""
        shown = "".join(f"{name}: {value}\n" for name, value in self.fields.items())
        return f"{self.line}\n{shown}\n{self.body.decode()}\n"


class Bucket:
    def __init__(self, size: float, refill: float, now: float) -> None:
        self.size, self.refill, self.left, self.at = size, refill, size, now

    def take(self, count: float, now: float) -> float:
        """0: taken; else seconds until there would be so much."""
        self.left = min(self.size, self.left + (now - self.at) * self.refill)
        self.at = now
        if self.left < count:
            return (count - self.left) / self.refill
        self.left -= count
        return 0.0


class FakeCloudflare:
    """`cached` is what the zone's cache holds: URL to tags. Only what is allowed to is purged."""

    def __init__(self, plan: str = "free", clock: Callable[[], float] = monotonic, now: datetime | None = None) -> None:
        self.plan = plan
        self.clock = clock
        self.now = now or datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
        self.credentials = {TOKEN: Credential()}
        self.zone = {
            "id": ZONE,
            "name": "example.com",
            "status": "active",
            "paused": False,
            "type": "full",
            "development_mode": 0,
            "plan": {"id": "0feeeeee", "name": f"{plan.title()} Website", "legacy_id": plan},
            "account": {"id": ACCOUNT, "name": "Example"},
            "activated_on": "2014-01-02T00:01:00.12345Z",
            "created_on": "2014-01-01T05:20:00.12345Z",
            "modified_on": "2014-01-01T05:20:00.12345Z",
            "name_servers": ["a.ns.example", "b.ns.example"],
            "original_dnshost": None,
            "original_name_servers": None,
            "original_registrar": None,
            "meta": {},
            "owner": {"id": "1", "name": "o", "type": "user"},
        }
        self.cached: dict[str, frozenset[str]] = {}
        self.stale: set[str] = set()
        self.images: dict[str, bytes] = {}
        self.most_images = 100_000
        self.traffic: dict[datetime, Hour] = {}
        self.sets = {
            "httpRequests1hGroups": SetLimits(),
            "httpRequests1dGroups": SetLimits(max_duration=31 * 86_400, not_older_than=365 * 86_400),
            "httpRequestsAdaptiveGroups": SetLimits(max_duration=86_400),
        }
        self.faults: deque[Fault] = deque()
        """One for each of the next requests."""
        self.received: list[Received] = []
        self.silent = asyncio.Event()
        """Set: those that got no answer are let go."""
        self._others = Bucket(*OTHERS[plan], self.clock())
        self._urls = Bucket(URLS[plan], URLS[plan], self.clock())
        self._window = (self.clock(), 0)
        self._blocked = float("-inf")
        self._purges = 0

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard], client_max_size=20 * 1024 * 1024)
        add = application.router.add_route
        add("GET", "/client/v4/user/tokens/verify", self._verify_user)
        add("GET", "/client/v4/accounts/{account}/tokens/verify", self._verify_account)
        add("GET", "/client/v4/zones/{zone}", self._zone)
        add("POST", "/client/v4/zones/{zone}/{what:purge_cache|invalidate_cache}", self._purge)
        add("POST", "/client/v4/accounts/{account}/images/v1", self._image_put)
        add("GET", "/client/v4/accounts/{account}/images/v1/stats", self._image_stats)
        add("GET", "/client/v4/accounts/{account}/images/v1/{image:.+}", self._image_get)
        add("DELETE", "/client/v4/accounts/{account}/images/v1/{image:.+}", self._image_delete)
        add("POST", "/client/v4/graphql", self._graphql)
        return application

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """The base URL of its interface."""
        async with TestServer(self.application()) as server:
            yield f"http://127.0.0.1:{server.port}/client/v4"
            self.silent.set()

    # -- what every call passes -------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        await self._record(request)
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and (answer := await self._faulty(request, fault)) is not None:
            return answer
        now = self.clock()
        if now < self._blocked:
            return failure(429, 10429, "rate limited", headers={"Retry-After": str(int(self._blocked - now) + 1)})
        began, count = self._window
        if now - began >= 300:
            began, count = now, 0
        self._window = (began, count + 1)
        if count + 1 > 1200:
            self._blocked = now + 300
            return failure(429, 10429, "rate limited", headers={"Retry-After": "300"})
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            answer = failure(error.status, 7003, "No route for the URI")
        answer = answer if fault != "truncated" else cut(answer)
        if fault == "reset in mid-body":
            return await reset(request, answer)
        left, reset_s = 1200 - count - 1, int(300 - (now - began))
        answer.headers["Ratelimit"] = f'"default";r={left};t={reset_s}'
        answer.headers["Ratelimit-Policy"] = '"default";q=1200;w=300'
        answer.headers["CF-Ray"] = "8f1b2c3d4e5f6a7b-FRA"
        return answer

    async def _record(self, request: web.Request) -> None:
        secret = ("authorization", "x-auth-key")
        left_out = ("host", "accept-encoding", "user-agent", "content-length", "connection")
        fields = {
            name: "***" if name.lower() in secret else value
            for name, value in sorted(request.headers.items())
            if name.lower() not in left_out
        }
        if request.content_type == "multipart/form-data":
            fields["Content-Type"] = "multipart/form-data"
            body = "\n".join([shown(name, value) for name, value in (await request.post()).items()]).encode()
        else:
            if not request.can_read_body:
                fields.pop("Content-Type", None)
            body = await request.read()
        self.received.append(Received(f"{request.method} {request.raw_path}", fields, body))

    async def _faulty(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault == "200 success:false":
            return failure(200, 1234, "Something of ours has gone wrong")
        if fault == "429":
            return failure(429, 1134, PURGES_TOO_OFTEN, headers={"Retry-After": "12"})
        if fault == "429 without a word":
            return web.Response(status=429)
        if fault == "401":
            return failure(401, 10000, "Authentication error")
        if fault == "502 page":
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")
        if fault == "redirect":
            return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/elsewhere"})
        if fault == "graphql error":
            return web.json_response({"data": None, "errors": [{"message": "internal server error", "path": None}]})
        if fault == "silence":
            await self.silent.wait()
            return web.Response()
        return None

    def _refusal(self, request: web.Request, right: str) -> web.Response | None:
        """None: the credential is good for it."""
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            found = self.credentials.get(authorization.removeprefix("Bearer "))
            if not authorization.startswith("Bearer ") or authorization == f"Bearer {KEY}":
                chain = [{"code": 6111, "message": "Invalid format for Authorization header"}]
                return failure(400, 6003, "Invalid request headers", chain=chain)
            if found is None or found.status != "active":
                return failure(401, 10000, "Authentication error")
            return None if right in found.rights else failure(403, 10000, "Authentication error")
        if request.headers.get("X-Auth-Key") == KEY and request.headers.get("X-Auth-Email") == EMAIL:
            return None
        chain = [{"code": 6103, "message": "Invalid format for X-Auth-Key header"}]
        return failure(400, 6003, "Invalid request headers", chain=chain)

    # -- token, zone --------------------------------------------------------------------------------------------

    async def _verify_user(self, request: web.Request) -> web.Response:
        return self._verified(request, "user")

    async def _verify_account(self, request: web.Request) -> web.Response:
        return self._verified(request, "account")

    def _verified(self, request: web.Request, owner: str) -> web.Response:
        authorization = request.headers.get("Authorization", "")
        if authorization == f"Bearer {KEY}":
            return self._refusal(request, "") or failure(400, 6003, "Invalid request headers")
        found = self.credentials.get(authorization.removeprefix("Bearer "))
        if found is None or found.owner != owner:
            return failure(401, 1000, "Invalid API Token")
        result = {
            "id": "ed17574386854bf78a67040be0a770b0",
            "status": found.status,
            "expires_on": "2027-01-01T00:00:00Z",
        }
        return success(result, [{"code": 10000, "message": f"This API Token is valid and {found.status}"}])

    async def _zone(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request, "zone")) is not None:
            return refusal
        if request.match_info["zone"] != self.zone["id"]:
            return failure(404, 7003, "Could not route to the zone, perhaps your object identifier is invalid?")
        return success(self.zone)

    # -- purges ----------------------------------------------------------------------------------------------------

    async def _purge(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request, "purge")) is not None:
            return refusal
        if request.match_info["zone"] != self.zone["id"]:
            return failure(404, 7003, "Could not route to the zone, perhaps your object identifier is invalid?")
        try:
            order = await request.json()
        except ValueError:
            return failure(400, 1001, "Malformed JSON")
        wrong = why_not(order, 500 if self.plan == "enterprise" else 100)
        if wrong is not None:
            return failure(400, *wrong)
        is_files = "files" in order
        bucket, cost = (self._urls, len(order["files"])) if is_files else (self._others, 1)
        wait = bucket.take(cost, self.clock())
        if wait:
            return failure(429, 1134, PURGES_TOO_OFTEN, headers={"Retry-After": str(int(wait) + 1)})
        meant = [url for url, tags in self.cached.items() if is_meant(order, url, tags)]
        if request.match_info["what"] == "invalidate_cache":
            self.stale.update(meant)
        else:
            for url in meant:
                del self.cached[url]
                self.stale.discard(url)
        self._purges += 1
        return success({"id": f"{self._purges:032x}"})

    # -- pictures --------------------------------------------------------------------------------------------------

    async def _image_put(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request, "images")) is not None:
            return refusal
        form = await request.post()
        file = form.get("file")
        if not isinstance(file, web.FileField):
            return failure(400, 5400, "Decode error: no file")
        content = file.file.read()
        if len(content) > 10 * 1024 * 1024:
            return failure(413, 5413, "The image is too large: 10 MB are allowed")
        name = str(form.get("id") or f"2cdc28f0-017a-49c4-9ed7-{len(self.images):012x}")
        if name in self.images:
            return failure(409, 5409, "Resource already exists")
        self.images[name] = content
        return success(described(name) | {"meta": json.loads(str(form.get("metadata") or "{}"))})

    async def _image_get(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request, "images")) is not None:
            return refusal
        name = request.match_info["image"]
        return success(described(name)) if name in self.images else failure(404, 5404, "Image not found")

    async def _image_delete(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request, "images")) is not None:
            return refusal
        if self.images.pop(request.match_info["image"], None) is None:
            return failure(404, 5404, "Image not found")
        return success({})

    async def _image_stats(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request, "images")) is not None:
            return refusal
        return success({"count": {"allowed": self.most_images, "current": len(self.images)}})

    # -- statistics ------------------------------------------------------------------------------------------------

    async def _graphql(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request, "analytics")
        if refusal is not None and refusal.status != 403:
            return refusal
        asked = await request.json()
        text, variables = asked["query"], asked["variables"]
        if refusal is not None:
            return graph_error(f"zones [{variables['zone']}] are not authorized", 403)
        if text.count("{") != text.count("}") or text.count("(") != text.count(")"):
            return graph_error("syntax error", 400)
        if variables["zone"] != self.zone["id"]:
            return graph_data([])
        if "settings" in text:
            wanted = re.findall(r"httpRequests\w+", text)
            if unknown := [name for name in wanted if name not in self.sets]:
                return graph_error(f"unknown field {unknown[0]}", 400)
            return graph_data([{"settings": {name: self.sets[name].shown() for name in wanted}}])
        (name,) = re.findall(r"httpRequests\w+", text)
        limits = self.sets[name]
        if not limits.enabled:
            return graph_error(f"zone does not have access to the path {name}")
        limit = int(re.findall(r"limit: (\d+)", text)[0])
        if limit > limits.max_page:
            return graph_error(f"limit must be positive number and not greater than {limits.max_page}")
        start, end = (datetime.fromisoformat(variables[side]) for side in ("from", "to"))
        start, end = (one if one.tzinfo else one.replace(tzinfo=UTC) for one in (start, end))
        if "date_leq" in text:
            end += timedelta(days=1)
        if (end - start).total_seconds() > limits.max_duration:
            return graph_error(f"query time range is too large, max {limits.max_duration}s")
        if (self.now - start).total_seconds() > limits.not_older_than:
            return graph_error(f"cannot request data older than {limits.not_older_than}s")
        rows = list(self._rows(name, start, end))[:limit]
        return graph_data([{name: rows}])

    def _rows(self, name: str, start: datetime, end: datetime) -> Iterable[dict[str, object]]:
        hours = {at: hour for at, hour in sorted(self.traffic.items()) if start <= at < end}
        if name == "httpRequestsAdaptiveGroups":
            for at, hour in hours.items():
                for status, count in hour.requests.items():
                    yield {
                        "count": count,
                        "sum": {"edgeResponseBytes": count * hour.bytes_each},
                        "dimensions": {"datetimeHour": f"{at:%Y-%m-%dT%H:%M:%SZ}", "cacheStatus": status},
                    }
            return
        sums: dict[str, list[int]] = {}
        for at, hour in hours.items():
            key = f"{at:%Y-%m-%dT%H:%M:%SZ}" if name == "httpRequests1hGroups" else f"{at:%Y-%m-%d}"
            total = sums.setdefault(key, [0, 0, 0])
            total[0] += sum(hour.requests.values())
            total[1] += hour.requests.get("hit", 0)
            total[2] += hour.bytes_each
        for key, (requests, cached, each) in sums.items():
            yield {
                "dimensions": {"datetime" if "T" in key else "date": key},
                "sum": {
                    "requests": requests,
                    "cachedRequests": cached,
                    "bytes": requests * each,
                    "cachedBytes": cached,
                },
            }


PURGES_TOO_OFTEN: Final = "Unable to purge, rate limit reached. Please wait and consider throttling your request speed"


def why_not(order: object, most_files: int) -> tuple[int, str] | None:
    """Code and message for an order that Cloudflare refuses."""
    if not isinstance(order, dict) or not order:
        return 1012, 'Request must contain one of "purge_everything", "files", "tags", "hosts" or "prefixes"'
    if "purge_everything" in order and len(order) > 1:
        return 1092, 'Request cannot contain "purge_everything" and any of "files", "tags", "hosts" or "prefixes"'
    if len(order) > 1 or next(iter(order)) not in (*KINDS, "purge_everything"):
        return 1012, f"Request contains {sorted(order)}"
    if "purge_everything" in order:
        return None if order["purge_everything"] is True else (1012, "purge_everything must be true")
    ((kind, items),) = order.items()
    most = most_files if kind == "files" else 100
    if not isinstance(items, list) or not 0 < len(items) <= most:
        return 1094, f"Exceeded maximum amount of {kind} in one API call. Limit is {most}"
    for item in items:
        text = item["url"] if isinstance(item, dict) else item
        good = {
            "files": re.fullmatch(r"https?://[^/?#*\s]+/[!-)+-~]*", text) and "#" not in text,
            "prefixes": re.fullmatch(r"[^/?#*:\s]+(:\d+)?(/[!-\"$-)+->@-~]*)?", text) and text.count("/") <= 31,
            "tags": re.fullmatch(r"[!-+\--~]{1,1024}", text),
            "hosts": re.fullmatch(r"[^:/?#*\s]+", text),
        }[kind]
        if not good:
            return 1016, f"Unable to purge {text}, which is an invalid item of {kind}"
    return None


def is_meant(order: Mapping[str, object], url: str, tags: Iterable[str]) -> bool:
    """Whether a cached answer is purged, as it is documented; prefixes in their widest reading."""
    if "purge_everything" in order:
        return True
    ((kind, items),) = order.items()
    assert isinstance(items, list)
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    place = host.lower() + slash + path
    if kind == "files":
        wanted = [item["url"] if isinstance(item, dict) else item for item in items]
        return f"{scheme}://{place}" in wanted
    if kind == "prefixes":
        return any(place.startswith(item) for item in items)
    if kind == "hosts":
        return any(host.partition(":")[0].lower() == item.lower() for item in items)
    lowered = {tag.lower() for tag in tags}
    return any(item.lower() in lowered for item in items)


def described(name: str) -> dict[str, object]:
    """A picture of Images."""
    return {
        "id": name,
        "filename": name.rpartition("/")[2],
        "uploaded": "2026-11-23T12:30:00.000Z",
        "requireSignedURLs": False,
        "variants": [f"https://imagedelivery.net/Vi7wi5KSItxGFsWRG2Us6Q/{name}/public"],
    }


def shown(name: str, value: object) -> str:
    """A part of a form, as a golden file has it."""
    if not isinstance(value, web.FileField):
        return f"{name}: {value}"
    size = len(value.file.read())
    value.file.seek(0)
    return f"{name}: {value.filename}, {value.content_type}, {size} bytes"


def success(result: object, messages: list[dict[str, object]] | None = None) -> web.Response:
    return web.json_response({"success": True, "errors": [], "messages": messages or [], "result": result})


def failure(
    status: int,
    code: int,
    message: str,
    *,
    chain: list[dict[str, object]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    error = {"code": code, "message": message} | ({"error_chain": chain} if chain else {})
    body = {"success": False, "errors": [error], "messages": [], "result": None}
    return web.json_response(body, status=status, headers=headers)


def graph_error(message: str, status: int = 200) -> web.Response:
    error = {"message": message, "path": ["viewer", "zones", "0"], "extensions": {"timestamp": "2026-11-23T12:30:00Z"}}
    return web.json_response({"data": None, "errors": [error]}, status=status)


def graph_data(zones: list[dict[str, object]]) -> web.Response:
    return web.json_response({"data": {"viewer": {"zones": zones}}, "errors": None})


def cut(answer: web.Response) -> web.Response:
    """The first half of its body, as if that were all."""
    assert isinstance(answer.body, bytes)
    return web.Response(
        body=answer.body[: len(answer.body) // 2], status=answer.status, content_type="application/json"
    )


async def reset(request: web.Request, answer: web.Response) -> web.StreamResponse:
    assert isinstance(answer.body, bytes)
    broken = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(answer.body))})
    await broken.prepare(request)
    await broken.write(answer.body[: len(answer.body) // 2])
    assert request.transport is not None
    request.transport.abort()
    return broken
