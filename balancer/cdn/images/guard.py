"""Which addresses pictures may be fetched from: those of the public internet, and those that somebody has named."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from balancer.guards.special import SPECIAL_V4, SPECIAL_V6, UNICAST
from config.values import Network

Address = IPv4Address | IPv6Address

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_TEREDO: Final = IPv6Network("2001::/32")
_6TO4: Final = IPv6Network("2002::/16")
_ISATAP: Final = frozenset((0x0000_5EFE, 0x0200_5EFE))
"""The upper half of an interface's number that carries an IPv4 address in its lower half (RFC 5214 section 6.1)."""
_LOW: Final = 0xFFFF_FFFF


def carried(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that what is sent to this one may end up at; none if it is an address of its own.

    The networks of a site's own NAT64 cannot be told from others, so they have no place here: they are public
    addresses of that site, and it is the site's to keep its translator from private ones (RFC 6052 section 5.2).
    """
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        return (IPv4Address(number & _LOW),)
    if address in _6TO4:
        return (IPv4Address(number >> 80 & _LOW),)
    if address in _TEREDO:
        return IPv4Address(number >> 64 & _LOW), IPv4Address(~number & _LOW)  # its server, and itself
    if number >> 32 & _LOW in _ISATAP:
        return (IPv4Address(number & _LOW),)
    return ()


def is_public(address: Address) -> bool:
    """Whether everybody means the same machine by it, and it is one that shows itself to the world."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in SPECIAL_V4)
    if address.scope_id is not None:
        return False
    inner = carried(address)
    if inner and not all(is_public(one) for one in inner):
        return False
    if address in _MAPPED or address in _NAT64 or address in _TEREDO or address in _6TO4:
        return True
    return address in UNICAST and address.is_global and not any(address in network for network in SPECIAL_V6)


class Guard:
    """The addresses that may be connected to."""

    __slots__ = ("_networks",)

    def __init__(self, networks: tuple[Network, ...] = ()) -> None:
        """`networks` are allowed though they are not public, in every way in which IPv6 carries them, too."""
        self._networks = networks

    def admits(self, address: str) -> bool:
        """What is not an address at all, or has a scope ("fe80::1%eth0"), is not admitted."""
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        if isinstance(ip, IPv6Address):
            if ip.scope_id is not None:
                return False
            if not self._named(ip) and (inner := carried(ip)):
                return is_public(ip) or all(self._named(one) or is_public(one) for one in inner)
        return self._named(ip) or is_public(ip)

    def _named(self, ip: Address) -> bool:
        return any(ip in network for network in self._networks)
