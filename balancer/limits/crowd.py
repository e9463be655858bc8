"""How many connections clients may hold: in all, and each client network for itself."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final, Literal

Refusal = Literal["too-many-connections", "too-many-of-client"]

V6_NETWORK: Final = 8
"""Bytes of an IPv6 address that tell networks apart: a household or a virtual machine is given a /64."""


def client_network(address: str) -> bytes | None:
    """What counts as one client: an IPv4 address, or an IPv6 /64; None for what has no address (a Unix socket)."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        return ip.ipv4_mapped.packed if ip.ipv4_mapped is not None else ip.packed[:V6_NETWORK]
    return ip.packed


class Crowd:
    """The open connections of a plane, counted by client network.

    There is an entry for each network that has a connection open, so the table is no larger than `most`.
    """

    __slots__ = ("_networks", "most", "most_of_client", "open")

    def __init__(self, most: int, most_of_client: int) -> None:
        self.most = most
        self.most_of_client = most_of_client
        self.open = 0
        self._networks: dict[bytes, int] = {}

    def enter(self, network: bytes | None) -> Refusal | None:
        """Count a connection in, or say why it may not stay. `None` as network has no cap of its own."""
        if self.open >= self.most:
            return "too-many-connections"
        if network is not None:
            held = self._networks.get(network, 0)
            if held >= self.most_of_client:
                return "too-many-of-client"
            self._networks[network] = held + 1
        self.open += 1
        return None

    def move(self, network: bytes | None, other: bytes | None) -> Refusal | None:
        """One that was counted in under the first turns out to be of the other; or why that cannot be.

        It has its place among all already: only the other network's own cap is asked, and refused it stays where it is.
        """
        if other == network:
            return None
        if other is not None:
            held = self._networks.get(other, 0)
            if held >= self.most_of_client:
                return "too-many-of-client"
            self._networks[other] = held + 1
        self.open += 1
        self.leave(network)
        return None

    def leave(self, network: bytes | None) -> None:
        """Count out a connection that was counted in under this network."""
        self.open -= 1
        if network is not None:
            held = self._networks[network] - 1
            if held:
                self._networks[network] = held
            else:
                del self._networks[network]
