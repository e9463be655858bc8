"""What an operator says of a key, and what an operator sees of keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

from balancer.guards.address import client_key, network_key
from balancer.guards.keys import short

Order = Literal["lift", "block", "restore"]
"""No limit for a key, no request of it, or the limit that all have."""
SHOWN: Final = 4
"""Characters of a value that are shown: enough to know one's own again, too few to use somebody's."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """An order for one key of a policy. Either `key` or `name` is given."""

    policy: str
    order: Order
    seconds: float
    """For how long; of no meaning with restore."""
    key: tuple[str, ...] = ()
    """The values that the policy's key is made of, as clients send them."""
    name: str = ""
    """What `name_of` called it."""


class NamedKey(NamedTuple):
    """A key as an operator may know it."""

    name: str
    masked: str


class UnknownKey(LookupError):
    """There is no such policy, or none of its keys is called so."""


def text_of(parts: Sequence[str], values: Sequence[str]) -> str:
    """The key that requests with these values have. ValueError: they are none."""
    if len(parts) != len(values):
        raise ValueError(f"must have {len(parts)} values, for {', '.join(parts)}, not {len(values)}")
    return "\n".join(_value(part, value) for part, value in zip(parts, values, strict=True))


def _value(part: str, value: str) -> str:
    if part in ("client", "network"):
        address, slash, _ = value.partition("/")
        try:
            ip_address(address)
        except ValueError:
            raise ValueError(f"must be an address such as 192.0.2.7 for {part}") from None
        key = client_key(address) if part == "client" else network_key(address)
        if slash and value != key:
            what = "one client, which is an address or an IPv6 /64" if part == "client" else "a network, such as"
            raise ValueError(f"must be {what} {key}, not {value}: `access` has rules for other networks")
        return key
    if part == "route":
        return value
    found = short(value.encode("utf-8"))
    if found is None:
        raise ValueError(f"must have a value for {part}")
    return found


def name_of(policy: str, key: str, secret: bytes) -> str:
    """What a key is called where it must not be shown: always the same, and no way back without the secret."""
    return blake2b(f"{policy}\n{key}".encode("latin-1", "replace"), key=secret[:64], digest_size=8).hexdigest()


def masked_key(key: str) -> str:
    """A key as an operator may see it: the network of an address, the beginning of anything else."""
    return " ".join(_masked(part) for part in key.split("\n"))


def _masked(part: str) -> str:
    text = part.removeprefix("\x00")
    if text.startswith("#"):
        return "(long)"
    address, slash, _ = text.partition("/")
    try:
        ip = ip_address(address)
    except ValueError:
        return f"{text[:SHOWN]}…" if len(text) > SHOWN else "…"
    if slash:
        return text  # it is a network already
    return f"{text.rpartition('.')[0]}.*" if ip.version == 4 else f"{':'.join(text.split(':')[:3])}:*"
