"""Where listeners listen and servers are reached, and the networks that clients come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import core_schema

from config.problems import Unfit, nearest

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[0-9A-Za-z._-]+)?)\]|([A-Za-z0-9_.*-]*)):([0-9]{1,5})")
_EXAMPLES = [":8080", "127.0.0.1:8080", "[::1]:8080", "unix:/run/balancer.sock"]
_EXPECTED_ADDRESS = 'must be an address such as ":8080", "127.0.0.1:8080" or "unix:/run/balancer.sock"'
_EVERY = ("", "0.0.0.0", "::")


INTERNAL = "internal:"
"""What the URLs of servers begin with that this process is itself."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens, or a server is reached: a host and port, or the path of a Unix socket.

    The host "" means every interface. Port 0 asks the system for a free one. With a path, host is "" and
    port 0. What is reached without leaving the process has its whole URL for a path.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def of(cls, text: str) -> Address:
        """From ":8080", "127.0.0.1:80", "[::1]:80" or "unix:/path"."""
        if text.startswith("unix:"):
            path = text[5:]
            # 107 bytes and a NUL is what the kernel's address has room for.
            if not path.startswith("/") or "\0" in path or len(path.encode()) > 107:
                raise Unfit("must be unix: and an absolute path of at most 107 bytes", text)
            return cls(path=path)
        found = _ADDRESS.fullmatch(text)
        if found is None or int(found[3]) > 65535:
            raise Unfit(_EXPECTED_ADDRESS, text)
        host = (found[1] or found[2] or "").lower()
        if found[1] is not None:
            try:
                ip_address(found[1])
            except ValueError:
                raise Unfit(_EXPECTED_ADDRESS, text) from None
        elif host == "*":
            host = ""
        elif "*" in host or host.startswith("-"):
            raise Unfit(_EXPECTED_ADDRESS, text)
        return cls(host, int(found[3]))

    def __str__(self) -> str:
        if self.path:
            return self.path if self.path.startswith(INTERNAL) else f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it: a loopback address, "localhost", or a Unix socket."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def overlaps(self, other: Address) -> bool:
        """Whether the two cannot be listened on at once. Port 0 never overlaps."""
        if self.path or other.path:
            return self.path == other.path
        if self.port != other.port or not self.port:
            return False
        mine, others = self.host, other.host
        if mine == others or "" in (mine, others):
            return True
        if "localhost" in (mine, others):
            return mine in _EVERY or others in _EVERY or (self.is_loopback and other.is_loopback)
        if mine in _EVERY or others in _EVERY:
            return (":" in mine) == (":" in others)
        return False

    @classmethod
    def _validated(cls, value: object) -> Address:
        if isinstance(value, Address):
            return value
        if isinstance(value, str):
            return cls.of(value)
        raise Unfit(_EXPECTED_ADDRESS, value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "string",
            "pattern": r"^(unix:/.+|(\[[0-9A-Fa-f:.]+(%.+)?\]|[A-Za-z0-9_.*-]*):[0-9]{1,5})$",
            "examples": _EXAMPLES,
        }


def network(value: object) -> IPv4Network | IPv6Network:
    """A network from "10.0.0.0/8", or from a single address."""
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    if isinstance(value, str):
        try:
            return _unmapped(ip_network(value))
        except ValueError:
            try:
                meant = ip_network(value, strict=False)
            except ValueError:
                pass
            else:
                raise Unfit("must have no bits set after the prefix", value, f": write {meant}") from None
    raise Unfit("must be a network such as 10.0.0.0/8 or an address such as 192.0.2.7", value)


def _unmapped(found: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """A network of IPv4 in the clothes of IPv6 (RFC 4291 2.5.5.2) as what it is, as clients' addresses are told."""
    if isinstance(found, IPv6Network) and found.network_address.ipv4_mapped is not None and found.prefixlen >= _MAPPED:
        return IPv4Network((found.network_address.ipv4_mapped, found.prefixlen - _MAPPED))
    return found


_MAPPED = 96
"""Bits of an IPv6 address before the IPv4 address that it may stand for."""


def network_text(value: IPv4Network | IPv6Network) -> str:
    """The network as it is written; one address without its prefix length."""
    return str(value.network_address) if value.num_addresses == 1 else str(value)


CdnName = Literal["cloudflare", "cloudfront", "bunny"]
CDN_NAMES: tuple[CdnName, ...] = get_args(CdnName)
"""CDNs whose networks the balancer knows, or finds out."""


def _proxy(value: object) -> object:
    """A network, or the name of a CDN for all of its networks."""
    if value in CDN_NAMES:
        return value
    try:
        return network(value)
    except Unfit as error:
        if isinstance(value, str) and not _LIKE_A_NETWORK.fullmatch(value):
            close = _OTHERS.get(value.lower()) or nearest(value, CDN_NAMES)
            hint = f': did you mean "{close}"?' if close is not None else ""
            expected = f"must be a network such as 10.0.0.0/8, or one of {', '.join(CDN_NAMES)}"
            raise Unfit(expected, value, hint) from None
        raise error


_OTHERS = {"aws": "cloudfront", "amazon": "cloudfront"}
"""What people call them, too."""
_LIKE_A_NETWORK = re.compile(r"[0-9A-Fa-f:./]+")

TrustedProxy = Annotated[
    IPv4Network | IPv6Network | CdnName,
    BeforeValidator(_proxy),
    PlainSerializer(lambda value: value if isinstance(value, str) else network_text(value), return_type=str),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8", "cloudflare", "cloudfront", "bunny"]}),
]


Network = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(network),
    PlainSerializer(network_text, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]}),
]


_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")
_EXPECTED_URL = "must be a server such as http://10.0.0.11:8000, https://app.internal or unix:/run/app.sock"
_PORTS = {"http": "80", "https": "443"}


def server_address(url: str) -> Address:
    """Where the server of a URL is reached; port 80, or 443 for https, when the URL has none.

    Raises Unfit, whose text repeats nothing of the URL: somebody may have put a password into it.
    """
    if url.startswith("unix:"):
        return Address.of(url)
    if url == INTERNAL + "cdn":
        return Address(path=url)
    found = _URL.fullmatch(url)
    scheme, place, rest = found.groups() if found else (None, "", "")
    if scheme is None:
        raise Unfit(f"{_EXPECTED_URL}, with its scheme", "no scheme")
    default_port = _PORTS.get(scheme.lower())
    if default_port is None:
        raise Unfit(_EXPECTED_URL, "another scheme")
    if "@" in place:
        raise Unfit("must hold no user name or password", "one that does")
    if rest not in ("", "/"):
        raise Unfit("must end after the port; a route's `rewrite: {add_prefix: /path}` adds a path", "more")
    host, colon, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not colon:
        host, port = place, default_port
    if host.replace(".", "").isdigit():
        try:
            ip_address(host)
        except ValueError:
            raise Unfit(f"{_EXPECTED_URL}, with four numbers up to 255", "another") from None
    if not _HOST.fullmatch(host) or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= 65535:
        raise Unfit(f"{_EXPECTED_URL}, with a port between 1 and 65535", "another")
    return Address.of(f"{host}:{port}")
