"""The CDN: whether what it needs is there, and its pool its own."""

from __future__ import annotations

from config.cdn_needs import check_needs
from config.cdn_routes import FILES, IMAGES, POOL, SERVER, URL
from config.findings import Findings
from config.schema import Config


def check_cdn(config: Config, found: Findings) -> None:
    _check_pool(config, found)
    if config.cdn is not None:
        check_needs(config.cdn, found)
    _check_tags(config, found)


def _check_tags(config: Config, found: Findings) -> None:
    """Whether the provider can come to read them."""
    cdn = config.cdn
    if cdn is not None and cdn.tags and cdn.provider != "local" and not config.trusted_proxies:
        why = f"tags are told to connections from `trusted_proxies` alone, so {cdn.provider} gets none"
        found.warn(("cdn", "tags"), f"{why}: name its networks there, or write `tags: false`")


def _check_pool(config: Config, found: Findings) -> None:
    """What is reached inside of this process is the CDN's, and nobody else's."""
    derived = config.cdn is not None and any(name in config.routes for name in (FILES, IMAGES))
    for name, pool in config.pools.items():
        own = derived and name == POOL
        if own and set(pool.servers) != {SERVER}:
            found.add(("pools", name), "is the name of the CDN's own pool: give this one another name")
        for server, settings in pool.servers.items():
            if (settings.url == URL) is not own and not (own and server != SERVER):
                message = (
                    "is reached inside of the balancer by the CDN's own pool alone" if not own else f"must be {URL}"
                )
                found.add(("pools", name, "servers", server, "url"), message)
    if not derived:
        return
    for name, route in config.routes.items():
        if name in (FILES, IMAGES):
            if route.pool != POOL:
                message = f"must be {POOL}, as it is the CDN's own route; give yours another name"
                found.add(("routes", name, "pool"), message)
        elif POOL in (route.pool, *(route.split or ())):
            message = f"must be another one than {POOL}, which is reached by the routes {FILES} and {IMAGES} alone"
            found.add(("routes", name, "pool" if route.pool == POOL else "split"), message)
