"""A pull zone, looked at: what it lacks for what it is to do here."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import BaseModel, Field

from balancer.cdn.types import StatusProblem


class Hostname(BaseModel):
    value: str = Field("", alias="Value")


class Zone(BaseModel):
    """Of some 160 properties those that matter; what an answer does not have is taken as harmless."""

    id: int = Field(alias="Id")
    name: str | None = Field(None, alias="Name")
    enabled: bool = Field(True, alias="Enabled")
    suspended: bool = Field(False, alias="Suspended")
    hostnames: list[Hostname] | None = Field(None, alias="Hostnames")
    ignores_queries: bool = Field(False, alias="IgnoreQueryStrings")
    varies_by_country: bool = Field(False, alias="EnableCountryCodeVary")
    perma_cache: int | None = Field(None, alias="PermaCacheStorageZoneId")
    token_authentication: bool = Field(False, alias="ZoneSecurityEnabled")
    optimizer: bool = Field(False, alias="OptimizerEnabled")
    manipulation: bool = Field(False, alias="OptimizerEnableManipulationEngine")
    forced_classes: bool = Field(False, alias="OptimizerForceClasses")

    @property
    def hosts(self) -> frozenset[str]:
        return frozenset(one.value.lower() for one in self.hostnames or () if one.value)


def broken(zone: Zone, hosts: Collection[str]) -> Iterator[StatusProblem]:
    """What keeps it from being of use."""
    if zone.suspended:
        yield StatusProblem("zone_suspended", f"the pull zone {zone.name} is suspended: see its page at Bunny for why")
    if not zone.enabled:
        yield StatusProblem("zone_disabled", f"the pull zone {zone.name} is switched off: enable it at Bunny")
    if strange := sorted(set(hosts) - zone.hosts):
        has = ", ".join(sorted(zone.hosts)) or "none"
        message = f"{', '.join(strange)} is no hostname of the pull zone {zone.name}, which has {has}: see cdn.url"
        yield StatusProblem("unknown_host", message)


def hints(zone: Zone, *, pictures: bool, signed: bool) -> Iterator[StatusProblem]:
    """What works otherwise than one might think."""
    if zone.varies_by_country:
        message = "the zone varies by country: purges of single URLs do nothing there, only those of everything do"
        yield StatusProblem("varies_by_country", message)
    if (zone.perma_cache or 0) > 0:
        message = "the zone has Perma-Cache: purges by prefix and by tag do nothing there, those of single URLs do"
        yield StatusProblem("perma_cache", message)
    if zone.ignores_queries:
        message = "the zone ignores query strings: purging one URL that ends in a slash takes all that is below it"
        yield StatusProblem("ignores_queries", message)
    if zone.token_authentication and not signed:
        message = "the zone wants tokens: without cdn.bunny.token_key, its URLs of pictures and files are answered 403"
        yield StatusProblem("token_missing", message)
    if signed and not zone.token_authentication:
        message = "cdn.bunny.token_key signs URLs, and the zone does not look: switch its token authentication on"
        yield StatusProblem("token_ignored", message)
    if not pictures:
        return
    if not (zone.optimizer and zone.manipulation):
        lacks = "Optimizer" if not zone.optimizer else "the Dynamic Image API of its Optimizer"
        message = f"the zone has not {lacks} switched on: width, format and the like in URLs do nothing, unseen"
        yield StatusProblem("optimizer_off", message)
    elif zone.forced_classes:
        message = "the zone takes image classes only: URLs of pictures in other sizes are answered 403"
        yield StatusProblem("forced_classes", message)
