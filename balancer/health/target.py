"""What is checked, and how: one server as its configuration describes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ssl import SSLContext
from typing import Literal

from balancer.server import ServerKey
from balancer.server_tls import Way, way
from config.schema import ActiveChecks, Config


@dataclass(frozen=True, slots=True)
class Target:
    """One server to watch."""

    url: str
    """http://host:port, https://host:port, or unix:/path of a socket."""
    checks: ActiveChecks | None
    """None: it is not probed and always up."""
    start: Literal["checking", "up"] = "checking"
    """Its verdict before the first result."""
    maintenance: bool = False
    """The operator's: it is not probed."""
    way: Way | None = None
    """How connections to it begin, as those of its traffic do."""

    @property
    def probed(self) -> bool:
        """Whether it is probed at all."""
        return self.checks is not None and not self.maintenance

    @property
    def socket(self) -> str | None:
        """The path of its Unix socket, None for one that is reached over the network."""
        return self.url.removeprefix("unix:") if self.url.startswith("unix:") else None


def targets(
    config: Config, maintenance: Collection[ServerKey] = (), contexts: Mapping[str, SSLContext] | None = None
) -> dict[ServerKey, Target]:
    """Every server of every pool, ready for `Monitor.watch`; `contexts` are those for TLS, by pool."""
    contexts = contexts or {}
    return {
        (pool_name, name): Target(
            server.url,
            pool.health.active,
            pool.health.start,
            (pool_name, name) in maintenance,
            way(server.url, pool, contexts.get(pool_name)),
        )
        for pool_name, pool in config.pools.items()
        for name, server in pool.servers.items()
    }
