"""The shipped alert rules and the dashboard ask for nothing that a running balancer does not tell."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest
import trustme

from bench.program import free_port
from tests.analytics import seeded
from tests.redis_server import RedisServer, redis_server
from tests.system.process import AppServer, Balancer, running, until
from tests.telemetry.test_documents import ELSEWHERE, queries

__all__ = ["redis_server"]  # a fixture

pytestmark = pytest.mark.slow
NOT_HERE = {
    "balancer_database_lag_seconds": "there is no standby",
    "balancer_cdn_breaker_open": "the balancer itself is the CDN: there is no provider to be left alone",
    "balancer_cdn_calls_total": "the same",
    "balancer_cdn_picture_failures_total": "by reason, each from the first one on",
    "balancer_pool_retries_total": "the same",
    "balancer_pool_unserved_total": "the same, by status",
}


async def test_every_metric_in_the_rules_and_the_dashboard_is_in_a_scrape(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    certificate = trustme.CA().issue_cert("localhost")
    (tmp_path / "site.pem").write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    (tmp_path / "site.key").write_bytes(certificate.private_key_pem.bytes())
    server, port = AppServer("a"), free_port()
    database = await asyncio.to_thread(lambda: seeded.template().url("community"))
    settings = {
        "listen": None,
        "listeners": {
            "main": f"127.0.0.1:{port}",
            "tls": {
                "address": "127.0.0.1:0",
                "tls": {"certificates": [{"cert": str(tmp_path / "site.pem"), "key": str(tmp_path / "site.key")}]},
            },
        },
        "servers": [f"http://127.0.0.1:{server.port}"],
        "redis": redis_server.url,
        "cache": {"enabled": True, "redis": True},
        "trusted_proxies": ["cloudflare"],
        "rate_limits": {"calm": {"rate": "1000/s", "shared": True}},
        "auth": {"tokens": {"jwt": {"jwks": "http://127.0.0.1:1/keys", "issuer": "i", "audience": "a"}}},
        "routes": {
            "site": {"pool": "default", "rate_limit": "calm"},
            "closed": {"match": "/closed/**", "pool": "default", "auth": "tokens"},
        },
        "cdn": {"local": {"directory": str(tmp_path / "cdn")}},
        "databases": {"app": database},
        "analytics": {"events": {"post_viewed": {"match": {"path": "/posts/{post}"}}}},
        "alerts": {"webhooks": {"team": "http://127.0.0.1:1/x"}},
    }
    balancer = Balancer(tmp_path, settings)
    balancer.port = port
    async with running(server, balancer):
        url = f"http://127.0.0.1:{balancer.admin}/metrics"

        async def page() -> str:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return await answer.text()

        async def is_whole() -> bool:
            told = await page()
            last = ("balancer_database_up{", "balancer_redis_nodes{", "\nbalancer_event_loop_lag_seconds")
            return all(name in told for name in last)

        await until(is_whole, balancer)
        site = balancer.port
        async with aiohttp.ClientSession() as session:
            for path in ("/", "/", "/closed/x", "/img/nothing.jpg"):
                async with session.get(f"http://127.0.0.1:{site}{path}") as answer:
                    await answer.read()
        await balancer.call("POST", "/api/infrastructure/cdn/purge", ["/a"])
        there = set(re.findall(r"^(balancer_\w+)", await page(), re.MULTILINE))
    asked = {
        name
        for query in queries()
        for name in re.findall(r"\b((?:balancer|process)_\w+|up\b)", query)
        if name not in ELSEWHERE
    }
    assert len(asked) > 50
    missing = sorted(asked - there - NOT_HERE.keys())
    assert missing == [], missing
