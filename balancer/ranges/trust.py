"""Whose word on clients is believed: the networks that `trusted_proxies` writes out, and those that it names."""

from __future__ import annotations

from balancer.guards.address import Networks
from balancer.ranges.book import Ranges
from config.addresses import CdnName
from config.schema import Config
from config.values import Network


def named(config: Config) -> tuple[CdnName, ...]:
    """The CDNs of a configuration."""
    return tuple(dict.fromkeys(one for one in config.trusted_proxies if isinstance(one, str)))


class Trust:
    """What all listeners of a plane look at. New networks of a CDN are in force for the next connection."""

    __slots__ = ("_names", "_written", "by_name", "cdn", "proxies")

    def __init__(self, config: Config | None = None, ranges: Ranges | None = None) -> None:
        self._written: tuple[Network, ...] = ()
        self._names: tuple[CdnName, ...] = ()
        self.proxies = Networks(())
        """All of them."""
        self.cdn = Networks(())
        """Those of CDNs alone."""
        self.by_name = False
        """CDNs are named, though their networks may not be known."""
        if config is not None:
            self.take(config, ranges)

    def take(self, config: Config, ranges: Ranges | None) -> None:
        """A configuration comes into force."""
        self._written = tuple(one for one in config.trusted_proxies if not isinstance(one, str))
        self._names = named(config)
        self.by_name = bool(self._names)
        self.renew(ranges)

    def renew(self, ranges: Ranges | None) -> None:
        """The networks of a CDN are others than before."""
        cdn = tuple(network for name in self._names for network in (ranges.networks(name) if ranges else ()))
        self.cdn = Networks(cdn)
        self.proxies = Networks((*self._written, *cdn))
