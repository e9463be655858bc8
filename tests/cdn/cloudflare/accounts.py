"""Providers that speak to the fake."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from time import monotonic

from balancer.cdn.cloudflare.provider import Cloudflare
from balancer.cdn.purging.patterns import target
from balancer.cdn.types import PurgePlan, PurgeTarget
from config.cdn import Cdn
from tests.cdn.fakes.cloudflare import ACCOUNT, TOKEN, ZONE, FakeCloudflare

GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b")
"""One pixel."""


def settings(base: str = "", **changed: object) -> Cdn:
    """The account of the fake; keys of `cloudflare` without a prefix, those of `cdn` with cdn_."""
    own = {"zone_id": ZONE, "account_id": ACCOUNT} | {
        name: value for name, value in changed.items() if not name.startswith("cdn_")
    }
    whole = {
        "provider": "cloudflare",
        "url": "https://www.example.com",
        "api_key": TOKEN,
        "endpoints": {"api": base},
        "cloudflare": own,
    } | {name.removeprefix("cdn_"): value for name, value in changed.items() if name.startswith("cdn_")}
    return Cdn.model_validate(whole)


@asynccontextmanager
async def account(
    fake: FakeCloudflare, clock: Callable[[], float] = monotonic, at: str | None = None, **changed: object
) -> AsyncIterator[Cloudflare]:
    """A started provider; of the fake at this URL, or one that is started for it."""
    async with nullcontext(at) if at is not None else fake.running() as base:
        provider = Cloudflare(settings(base, **changed), clock, today=lambda: fake.now)
        await provider.start()
        try:
            yield provider
        finally:
            await provider.close()


def targets(*written: str) -> list[PurgeTarget]:
    return [target(text) for text in written]


async def purge(provider: Cloudflare, *written: str, soft: bool = False, widen: bool = False) -> PurgePlan:
    """All of the plan, call by call."""
    plan = provider.plan_purge(targets(*written), soft=soft, widen=widen)
    for batch in plan.batches:
        await provider.purge(batch, "key")
    return plan
