"""The lists of networks that CDNs publish: where they are, how they are read, and what is believed of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final

import orjson

from balancer.guards.special import SPECIAL_V4, SPECIAL_V6, UNICAST
from config.addresses import CdnName
from config.values import Network

PLACES: Final[Mapping[CdnName, tuple[str, ...]]] = {
    "cloudflare": ("https://www.cloudflare.com/ips-v4", "https://www.cloudflare.com/ips-v6"),
    "cloudfront": ("https://ip-ranges.amazonaws.com/ip-ranges.json",),
    "bunny": (
        "https://bunnycdn.com/api/system/edgeserverlist",
        "https://bunnycdn.com/api/system/edgeserverlist/IPv6",
    ),
}
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of one list; that of AWS, with all of its services, has some two millions."""
MOST: Final = 20_000
"""Networks of one CDN; Bunny has named ten thousand, each a single server."""
WIDEST: Final = {4: 8, 6: 20}
"""Prefixes; the widest that there are have 12 and 28 bits."""
MOST_ADDRESSES: Final = {4: 1 << 25, 6: 1 << 110}
"""All of one CDN's together: less than one in a hundred. The largest has two millions, and a dozen of /32."""
ORIGIN_FACING: Final = "CLOUDFRONT_ORIGIN_FACING"
"""What AWS calls the addresses from which CloudFront connects; CLOUDFRONT has those that clients connect to as well."""


class BadList(Exception):
    """Nothing that could be the networks of a CDN; says why."""


def read(name: CdnName, parts: Sequence[bytes]) -> tuple[Network, ...]:
    """The networks in what is at each of `PLACES`, sorted and without overlaps. Raises BadList."""
    try:
        texts = [text for part in parts for text in _texts(name, part)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadList(f"it is not in the form that {name} uses: {type(error).__name__}") from None
    return judged(texts)


def judged(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks as text, if all of them could be a CDN's: it is one wrong network that would trust everybody."""
    if len(texts) > MOST:
        raise BadList(f"it has {len(texts)} networks, {MOST} are the most")
    found: list[IPv4Network | IPv6Network] = []
    for text in texts:
        try:
            network = ip_network(text)
        except ValueError:
            raise BadList(f"it has {text[:64]!r}, which is no network") from None
        if network.prefixlen < WIDEST[network.version]:
            raise BadList(f"it has {network}, which is too wide to be a CDN's")
        if not _is_public(network):
            raise BadList(f"it has {network}, which is not public")
        found.append(network)
    if not found:
        raise BadList("it is empty")
    four = list(collapse_addresses(one for one in found if isinstance(one, IPv4Network)))
    six = list(collapse_addresses(one for one in found if isinstance(one, IPv6Network)))
    for version, count in ((4, sum(n.num_addresses for n in four)), (6, sum(n.num_addresses for n in six))):
        if count > MOST_ADDRESSES[version]:
            raise BadList(f"its networks of IPv{version} are too many addresses to be a CDN's")
    return (*four, *six)


def held_against(new: Sequence[Network], known: Sequence[Network]) -> None:
    """Raise BadList for a list that has lost more than half of what was known: that is a mishap, or somebody's work."""
    if 2 * len(new) < len(known):
        raise BadList(f"it has {len(new)} networks, where {len(known)} were known")


def _texts(name: CdnName, data: bytes) -> Iterator[str]:
    if name == "cloudflare":
        lines = data.decode("ascii").splitlines()
        yield from (line.strip() for line in lines if line.strip())
    elif name == "cloudfront":
        whole = orjson.loads(data)
        for key, field in (("prefixes", "ip_prefix"), ("ipv6_prefixes", "ipv6_prefix")):
            for entry in whole[key]:
                if entry["service"] == ORIGIN_FACING:
                    yield _text(entry[field])
    else:
        listed = orjson.loads(data)
        if not isinstance(listed, list):
            raise TypeError
        yield from map(_text, listed)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _is_public(network: Network) -> bool:
    if isinstance(network, IPv4Network):
        return not any(network.overlaps(special) for special in SPECIAL_V4)
    return network.subnet_of(UNICAST) and not any(network.overlaps(special) for special in SPECIAL_V6)
