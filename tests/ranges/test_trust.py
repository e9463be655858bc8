"""What a connection from a CDN's network says of its client is believed, and new networks need no reload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from balancer.http1.proxy_protocol import encode_v1
from balancer.ranges.book import AGAIN, Ranges
from balancer.tally import RangesTally
from balancer.telemetry.ranges_report import RangesReport
from config.schema import Config
from tests.guards.sites import ask
from tests.proxy.wire import Peer, Site, config, ok, replies, serving, site

EDGE = "173.245.48.9"
"""One of Cloudflare's, by the shipped list."""
NEW = "8.8.8.8"
"""None of them, until its list says so."""
CLIENT = "203.0.113.7"


class Shown:
    """The list, which may change."""

    def __init__(self) -> None:
        self.data: bytes | OSError = OSError("no network")

    async def ask(self, place: str) -> bytes:
        if isinstance(self.data, OSError):
            raise self.data
        return self.data


def settings(port: int, *proxies: str) -> Config:
    listeners = {"main": {"address": "127.0.0.1:0", "proxy_protocol": "require"}}
    return config({"a": port}, whole={"listeners": listeners, "trusted_proxies": ["127.0.0.1", *proxies]})


@asynccontextmanager
async def behind(shown: Shown, *proxies: str) -> AsyncIterator[Site]:
    """A site that a proxy on this machine hands connections to, in the name of whom it likes."""
    ranges = Ranges(None, lambda *_: None, ask=shown.ask, places={"cloudflare": ("list",), "cloudfront": ("list",)})
    async with serving(replies(ok())) as (server,):
        async with site(settings(server.port, *proxies), ranges) as running:
            yield running


async def connected(here: Site, address: str) -> Peer:
    peer = await here.connect()
    await peer.send(encode_v1((address, 4711), ("192.0.2.1", 443)))
    return peer


async def client_of(here: Site, peer: Peer) -> str:
    """Whom the balancer takes for the client of a request that says it is `CLIENT`'s."""
    assert (await ask(peer, b"X-Forwarded-For: %b" % CLIENT.encode()))[0] == 200
    return here.decisions[-1].client


async def renewed(here: Site, shown: Shown, text: bytes) -> None:
    shown.data = text
    here.plane.ranges.second_passed(asyncio.get_running_loop().time() + 2 * AGAIN)
    await here.until(lambda: here.plane.ranges.report()["cloudflare"].origin == "fetched")


async def test_a_cdn_that_is_named_is_believed_and_others_are_not() -> None:
    async with behind(Shown(), "cloudflare") as here:
        assert await client_of(here, await connected(here, EDGE)) == CLIENT
        assert await client_of(here, await connected(here, NEW)) == NEW
        assert await client_of(here, await connected(here, "130.176.0.1")) == "130.176.0.1"  # CloudFront's


async def test_a_hop_of_a_cdn_is_passed_over() -> None:
    async with behind(Shown(), "cloudflare", "10.0.0.0/8") as here:
        peer = await connected(here, "10.1.2.3")
        await ask(peer, f"X-Forwarded-For: 6.6.6.6, {CLIENT}, {EDGE}".encode())
        assert here.decisions[-1].client == CLIENT


async def test_networks_that_are_fetched_are_believed_from_the_next_connection_on() -> None:
    shown = Shown()
    async with behind(shown, "cloudflare") as here:
        before = await connected(here, NEW)
        assert await client_of(here, before) == NEW
        more = "\n".join(f"8.8.{n}.0/24" for n in range(0, 60, 2)).encode()
        await renewed(here, shown, more)
        assert await client_of(here, await connected(here, NEW)) == CLIENT
        assert await client_of(here, before) == NEW  # it keeps what it began with
        assert await client_of(here, await connected(here, EDGE)) == EDGE  # and what the list has lost is a stranger's


async def test_a_reload_without_the_name_trusts_it_no_more() -> None:
    async with behind(Shown(), "cloudflare") as here:
        server = here.plane.snapshot.config.pools["app"].servers["a"] if here.plane.snapshot else None
        assert server is not None
        port = int(server.url.rpartition(":")[2])
        await here.apply(settings(port))
        assert await client_of(here, await connected(here, EDGE)) == EDGE
        assert here.plane.report().ranges == {}
        await here.apply(settings(port, "cloudfront"))
        assert await client_of(here, await connected(here, "130.176.0.1")) == CLIENT


async def test_a_report_tells_of_each_cdn_that_is_named() -> None:
    async with behind(Shown(), "cloudflare") as here:
        await here.until(lambda: here.plane.ranges.tallies["cloudflare"].failures)
        (name,), (report,) = here.plane.report().ranges.keys(), here.plane.report().ranges.values()
        assert name == "cloudflare"
        assert isinstance(report, RangesReport)
        assert isinstance(report.tally, RangesTally)
        assert (report.origin, report.networks, report.tally.failures) == ("shipped", 22, 1)
