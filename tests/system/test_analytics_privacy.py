"""Who somebody is, planted all over the traffic, is nowhere in what analytics keep, log or tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from tests.system.process import KEY, Balancer, running, until

pytestmark = pytest.mark.slow
PLANTED = {
    "the id of a user": "user-8731947261",
    "another one": "user-5529103377",
    "an e-mail address": "jo.planted@example.com",
    "a token": "tok_planted.eyJhbGciOiJIUzI1NiJ9.c2VjcmV0LXRva2VuLXBsYW50ZWQ",
    "a session": "sess-planted-9f8e7d6c5b4a39281706",
    "an address": "203.0.113.77",
    "an IPv6 address": "2001:db8:77:88::99",
    "a phone number": "+49-171-5550199",
    "a search": "planted diagnosis",
    "a user agent": "PlantedBrowser/77.1",
}


async def _answer(request: web.Request) -> web.Response:
    """An app that says who it is from, and repeats what it was told."""
    made = request.match_info["rest"].rsplit("/", 1)[-1]
    headers = {"X-User-Id": PLANTED["the id of a user"], "Location": f"/things/{made}", "X-Kind": PLANTED["a token"]}
    return web.json_response({"mail": PLANTED["an e-mail address"]}, status=201, headers=headers)


@pytest.fixture
async def app() -> AsyncIterator[TestServer]:
    site = web.Application()
    site.router.add_route("*", "/{rest:.*}", _answer)
    async with TestServer(site, host="127.0.0.1") as server:
        yield server


def _settings(app: TestServer) -> dict[str, Any]:
    return {
        "servers": [{"url": str(app.make_url("/")).rstrip("/")}],
        "trusted_proxies": ["127.0.0.0/8"],
        "logs": {"level": "debug", "access": {"to": "none"}, "format": "json"},
        "analytics": {
            "user": ["response-header:X-User-Id", "cookie:session"],
            "events": {
                "post_created": {
                    "match": {"method": "POST", "path": "/api/communities/{community}/posts"},
                    "take": {
                        "post": "location:/things/{post}",
                        "kind": "response-header:X-Kind",
                        "found": "query:q",
                        "length": "query-length:q",
                        "agent": "request-header:User-Agent",
                        "from": "request-header:X-From",
                    },
                },
                "profile_viewed": {"match": {"method": "GET", "path": "/users/{name}"}, "take": {"user": "path:name"}},
                "anything": {"match": {"path": "/**"}},
            },
        },
    }


async def test_nothing_that_says_who_somebody_is_is_kept_logged_or_told(app, tmp_path):
    balancer = Balancer(tmp_path, _settings(app))
    async with running(balancer):
        fields = {
            "User-Agent": PLANTED["a user agent"],
            "Cookie": f"session={PLANTED['a session']}",
            "Authorization": f"Bearer {PLANTED['a token']}",
            "X-Forwarded-For": PLANTED["an address"],
            "X-From": PLANTED["a phone number"],
            "Idempotency-Key": PLANTED["another one"],
        }
        async with aiohttp.ClientSession(headers=fields) as client:
            for planted in PLANTED.values():
                place = quote(planted, safe="")
                # Who is named where the rule says that a community is has been told to be one.
                community = "1" if planted == PLANTED["another one"] else place
                for method, path in (
                    ("POST", f"/api/communities/{community}/posts"),
                    ("GET", f"/users/{place}"),
                    ("GET", f"/{place}/x"),
                ):
                    url = URL(f"{balancer.url}{path}?q={place}", encoded=True)
                    async with client.request(method, url) as answer:
                        await answer.read()
            other = {"X-Forwarded-For": PLANTED["an IPv6 address"]}
            async with client.get(f"{balancer.url}/other", headers=other) as answer:
                await answer.read()

        async def stored() -> bool:
            _, status = await balancer.call("GET", "/api/monitoring/analytics/status")
            return bool(status["stored"]["events"] >= 2 * len(PLANTED) and status["queue"]["waiting"] == 0)

        await until(stored, balancer)
        told = [
            str(await balancer.call("GET", path))
            for path in (
                "/metrics",
                "/api/monitoring/analytics",
                "/api/monitoring/analytics/users",
                "/api/monitoring/analytics/communities",
                "/api/monitoring/analytics/events",
                "/api/monitoring/analytics/post-activity",
                "/api/monitoring/analytics/status",
                "/api/monitoring/analytics/suggestions",
                "/api/monitoring/analytics/export?format=csv",
            )
        ]
        assert "post_created" in told[-1]
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != balancer.file}
    assert any(path.suffix == ".db" for path in kept)
    for name, planted in PLANTED.items():
        needles = {planted.encode(), planted.replace("@", "%40").replace("+", "%2B").encode()}
        for needle in needles:
            for path, content in kept.items():
                assert needle not in content, f"{name} is in {path.name}"
            assert needle not in bytes(balancer.output), f"{name} is in the log"
            assert all(needle.decode() not in one for one in told), f"{name} is told"
    assert KEY.encode() not in b"".join(kept.values())
