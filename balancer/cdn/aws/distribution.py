"""What a distribution of CloudFront says of itself, held against what is configured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from yarl import URL

from balancer.cdn.types import StatusProblem

DEPLOYED: Final = "deployed"


@dataclass(frozen=True, slots=True)
class Described:
    """A distribution as CloudFront tells of it."""

    identifier: str
    domain: str
    """d111111abcdef8.cloudfront.net."""
    aliases: tuple[str, ...]
    enabled: bool
    status: str
    """Deployed, or InProgress while a change of its settings is on its way to the edges."""
    in_progress: int | None
    """Invalidations."""
    tag_field: str | None
    """Of its CacheTagConfig."""

    @property
    def details(self) -> Mapping[str, str | int | float | bool | None]:
        return {
            "domain": self.domain,
            "enabled": self.enabled,
            "status": self.status,
            "invalidations_in_progress": self.in_progress,
            "cache_tag_header": self.tag_field,
        }

    def problems(self, url: str, tag_field: str) -> Iterator[StatusProblem]:
        """What keeps it from being the CDN at `url` that reads tags from `tag_field`; empty: from none."""
        if not self.enabled:
            yield StatusProblem("disabled", f"the distribution {self.identifier} is disabled: enable it")
        if self.status.lower() != DEPLOYED:
            text = f"the distribution is {self.status}: a change of its settings has not reached all edges yet; wait"
            yield StatusProblem("deploying", text)
        host = URL(url).host if url else None
        if host is not None and not self.serves(host):
            names = ", ".join((*self.aliases, self.domain))
            yield StatusProblem("url", f"cdn.url names {host}, which is none of the distribution's: {names}")
        if tag_field and (self.tag_field or "").lower() != tag_field.lower():
            reads = f"reads tags from {self.tag_field}" if self.tag_field else "reads no tags"
            text = (
                f"the distribution {reads}, and cdn.aws.cache_tag_header is {tag_field}: purges by tag will find "
                "nothing; set its CacheTagConfig, or leave the option empty"
            )
            yield StatusProblem("tags", text)

    def serves(self, host: str) -> bool:
        """Whether it answers to this name. An alias may begin with a star in the place of one label."""
        host = host.lower()
        names = {name.lower() for name in (self.domain, *self.aliases)}
        return host in names or f"*.{host.partition('.')[2]}" in names


def described(answer: Mapping[str, Any]) -> Described:
    """Out of what `get_distribution` answers."""
    found: Mapping[str, Any] = answer["Distribution"]
    configured: Mapping[str, Any] = found.get("DistributionConfig") or {}
    tags: Mapping[str, Any] = configured.get("CacheTagConfig") or {}
    return Described(
        identifier=str(found.get("Id")),
        domain=str(found.get("DomainName")),
        aliases=tuple(map(str, (configured.get("Aliases") or {}).get("Items") or ())),
        enabled=bool(configured.get("Enabled")),
        status=str(found.get("Status")),
        in_progress=found.get("InProgressInvalidationBatches"),
        tag_field=tags.get("HeaderName"),
    )
