"""Rules by a client's address."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from config.guards import Access
from config.values import Network

REMEMBERED: Final = 4096
"""Addresses whose verdict is kept: reading one takes longer than everything else about it."""


@lru_cache(16_384)
def client_key(address: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 /64, which one household or machine is given."""
    ip = parsed(address)
    if isinstance(ip, IPv6Address):
        return f"{IPv6Address(int(ip) >> 64 << 64)}/64"
    return str(ip) if ip is not None else address


@lru_cache(16_384)
def network_key(address: str) -> str:
    """What counts as one network: an IPv4 /24, or an IPv6 /48, which one site is given."""
    ip = parsed(address)
    if isinstance(ip, IPv6Address):
        return f"{IPv6Address(int(ip) >> 80 << 80)}/48"
    return f"{IPv4Address(int(ip) >> 8 << 8)}/24" if ip is not None else address


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """An address, an IPv4 one in the clothes of IPv6 as what it is; None for what has none, as a Unix socket."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


class NetworkSet:
    """Networks as they are looked up: sorted, without overlaps, and found by halving."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, networks: Iterable[Network]) -> None:
        self._starts: dict[int, list[int]] = {4: [], 6: []}
        self._ends: dict[int, list[int]] = {4: [], 6: []}
        spans = [(one.version, int(one.network_address), one.max_prefixlen - one.prefixlen) for one in networks]
        for version, start, bits in sorted(spans):
            starts, ends = self._starts[version], self._ends[version]
            end = start + (1 << bits) - 1
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)

    def __contains__(self, ip: IPv4Address | IPv6Address) -> bool:
        number = int(ip)
        at = bisect_right(self._starts[ip.version], number) - 1
        return at >= 0 and number <= self._ends[ip.version][at]


class Networks:
    """Whether addresses are in one of some networks, with a memory."""

    __slots__ = ("_known", "_networks", "_set")

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks
        self._set = NetworkSet(networks)
        self._known: dict[str, bool] = {}

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        known = self._known.get(address)
        if known is None:
            ip = parsed(address)
            known = ip is not None and ip in self._set
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[address] = known
        return known

    def __bool__(self) -> bool:
        return bool(self._networks)


class AddressRule:
    """Which clients may come: never those that are denied, and if some are allowed, those alone."""

    __slots__ = ("_allow", "_deny")

    def __init__(self, settings: Access) -> None:
        self._allow = Networks(settings.allow)
        self._deny = Networks(settings.deny)

    def admits(self, address: str) -> bool:
        """A client without an address, on a Unix socket, is in no network."""
        if self._deny and address in self._deny:
            return False
        return not self._allow or address in self._allow
