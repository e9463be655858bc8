"""How the account and the zone are: what the credential is, what it may do, and what keeps the zone from caching."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter

from balancer.cdn.cloudflare.answers import Token, Zone, inside
from balancer.cdn.cloudflare.images import Images
from balancer.cdn.cloudflare.limits import Plan
from balancer.cdn.errors import AuthError, CdnError
from balancer.cdn.http import Call, Caller
from balancer.cdn.types import StatusProblem

Value = TypeVar("Value")
Detail = str | int | float | bool | None

TOKEN: Final = TypeAdapter(Token)
ZONE: Final = TypeAdapter(Zone)
_PLANS: Final[tuple[Plan, ...]] = ("free", "pro", "business", "enterprise")


class Checked(Protocol):
    """A storage that can be asked whether it can be used."""

    async def check(self) -> None:
        """CdnError: it can not."""


@dataclass(slots=True)
class Findings:
    """What was found on the way."""

    problems: list[StatusProblem] = field(default_factory=list)
    details: dict[str, Detail] = field(default_factory=dict)
    account: str | None = None

    def add(self, code: str, message: str) -> None:
        problem = StatusProblem(code, message)
        if problem not in self.problems:
            self.problems.append(problem)

    async def tried(self, what: Callable[[], Awaitable[Value]]) -> Value | None:
        """What comes of it; a failure is one of the problems, and None."""
        try:
            return await what()
        except CdnError as error:
            self.add(error.code, str(error))
            return None


async def look_at_token(caller: Caller, account_id: str, findings: Findings) -> None:
    """Whether the token is good; one of a user, or of the account where that is known."""

    async def verify() -> Token:
        try:
            return inside(await caller.make(Call("verify", "GET", "/user/tokens/verify")), TOKEN)
        except AuthError:
            if not account_id:
                raise
        account = quote(account_id, safe="")
        return inside(await caller.make(Call("verify", "GET", f"/accounts/{account}/tokens/verify")), TOKEN)

    token = await findings.tried(verify)
    if token is None:
        return
    findings.details["token"] = token.status
    findings.details["token_expires"] = token.expires_on
    if token.status != "active":
        findings.add("cdn_auth", f"the API token in cdn.api_key is {token.status}: make another one")


async def look_at_zone(caller: Caller, zone_id: str, plan: Plan, hosts: tuple[str, ...], findings: Findings) -> None:
    """Whether the zone is there, caches, and is the one of our hosts."""

    async def get() -> Zone:
        return inside(await caller.make(Call("zone", "GET", f"/zones/{quote(zone_id, safe='')}")), ZONE)

    zone = await findings.tried(get)
    if zone is None:
        return
    findings.account = zone.name
    findings.details |= {"zone": zone.name, "zone_status": zone.status, "zone_plan": zone.plan.name}
    findings.details["development_mode_s"] = max(zone.development_mode, 0)
    if zone.status not in ("active", None):
        findings.add("zone_not_active", f"the zone {zone.name} is {zone.status}: Cloudflare caches nothing of it yet")
    if zone.paused:
        findings.add("zone_paused", f"the zone {zone.name} is paused: its requests do not go through Cloudflare")
    if zone.development_mode > 0:
        left = f"{zone.development_mode:g} s are left"
        findings.add("development_mode", f"development mode is on for {zone.name} and bypasses its cache: {left}")
    bare = [host.partition(":")[0].lower() for host in hosts]
    foreign = [host for host in bare if host != zone.name and not host.endswith(f".{zone.name}")]
    if foreign:
        names = ", ".join(foreign[:5])
        findings.add(
            "foreign_host", f"{names}: not of the zone {zone.name}, whose purges do not reach it; see cdn.hosts"
        )
    actual = zone.plan.legacy_id
    if actual in _PLANS and _PLANS.index(actual) < _PLANS.index(plan):
        findings.add(
            "plan", f"cdn.cloudflare.plan says {plan}, and the zone has {actual}: more would be sent than it takes"
        )


async def look_at_storage(images: Images | None, bucket: Checked | None, findings: Findings) -> None:
    """Whether files can be stored, and how much room there is for pictures."""
    if bucket is not None:
        await findings.tried(bucket.check)
    if images is None:
        return
    usage = await findings.tried(images.usage)
    if usage is not None:
        current, allowed = usage
        findings.details |= {"images": current, "images_allowed": allowed}
        if current >= allowed:
            findings.add("images_full", f"Cloudflare Images holds {current} pictures, as many as are paid for")
