"""Addresses that are nobody's on the public internet, or not always the same one's."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Final

SPECIAL_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # between a provider and its customers; one cloud keeps its metadata here
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by its number; one cloud's own services, seen from its machines only
        "169.254.0.0/16",  # link-local; most clouds keep their metadata here
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
"""Our own list beside Python's `is_global`, which differs between its releases."""
UNICAST: Final = IPv6Network("2000::/3")
"""All that is given out of IPv6 so far (RFC 4291 section 2.4)."""
SPECIAL_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # special purposes (RFC 6890), Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
"""Of `UNICAST`."""
