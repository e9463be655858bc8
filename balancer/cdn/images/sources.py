"""Which URLs pictures may be fetched from, read by one parser and in one spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from yarl import URL

from balancer.http1.paths import climbs

LONGEST: Final = 4096
"""Characters of a URL."""
_PORTS: Final = {"http": 80, "https": 443}
_BEGINNING: Final = re.compile(r"(?i)(https?)://([^/?#]*)")
_PLACE: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:[0-9]{1,5})?")
_NUMBER: Final = re.compile(r"(?i)[0-9]+|0x[0-9a-f]*")
"""A last label that makes whoever reads a host as browsers do take it for an IPv4 address."""
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_SEPARATOR: Final = re.compile(r"(?i)%2f|%5c|%00")


class NoSource(Exception):
    """A URL that is not fetched. The text is for the log, never for who asked."""


@dataclass(frozen=True, slots=True)
class Source:
    """A URL that has been read, and what was read of it."""

    url: URL
    """What is asked for: nobody parses the text again."""
    scheme: str
    host: str
    """In ASCII and small letters; addresses in their one spelling, without brackets."""
    port: int
    path: str
    literal: bool
    """The host is an address."""


def read(text: str) -> Source:
    """One URL with all that servers, resolvers and parsers are known to disagree about refused. Raises NoSource."""
    if len(text) > LONGEST:
        raise NoSource(f"has {len(text)} characters, {LONGEST} are the most")
    if any(not sign.isprintable() or sign.isspace() or sign == "\\" for sign in text):
        raise NoSource("has a space, a backslash or a character that does not print")
    found = _BEGINNING.match(text)
    if found is None:
        raise NoSource("does not begin with http:// or https://")
    place = found[2]
    if "@" in place:
        raise NoSource("has a user in it")
    if "%" in place:
        raise NoSource("has a host that is percent-encoded")
    if _PLACE.fullmatch(place) is None:
        raise NoSource("has a port that is no number")
    try:
        url = URL(text).with_fragment(None)
        host, port = (url.raw_host or "").lower(), url.explicit_port
    except ValueError as error:
        raise NoSource(f"is none: {error}") from None
    literal = _literal(host, place)
    if climbs(text[found.end() :].encode()) or _SEPARATOR.search(url.raw_path):
        raise NoSource("has a path that servers read in several ways")
    scheme = url.scheme
    return Source(url, scheme, host, _PORTS[scheme] if port is None else port, url.raw_path, literal)


def spelled(text: str) -> str:
    """The one spelling of a URL: as it is asked for, and without a fragment, which never is. Raises NoSource."""
    one = str(read(text).url)
    found = _BEGINNING.match(one)
    assert found is not None  # it has been read
    rest = one[found.end() :]
    return one if rest.startswith("/") else f"{found[0]}/{rest}"


def _literal(host: str, place: str) -> bool:
    """Whether the host is an address. Raises NoSource for what is neither one nor a name, or one in disguise."""
    if place.startswith("["):
        if host != place[1:].partition("]")[0].lower() or _plain(host) != host:
            raise NoSource("has an address that is none, or that has a plainer form")
        return True
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(host) > 253:
        raise NoSource("has a host that is no name")
    if _NUMBER.fullmatch(labels[-1]) is None:
        return False
    if not place.isascii() or _plain(host) != host:
        raise NoSource("has an address in an unusual form")
    return True


def _plain(host: str) -> str | None:
    """An address in its one spelling."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


class Sources:
    """What URLs may begin with: a scheme, a host and a port, "*." for all names below one, the beginning of a path."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """Raises NoSource for one that no URL could ever begin with."""
        self._allowed = [_beginning(one) for one in allowed]

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def read(self, text: str) -> Source:
        """The URL if it is one of ours. Raises NoSource."""
        source = read(text)
        for scheme, host, port, path in self._allowed:
            if source.scheme == scheme and source.port == port and source.path.startswith(path):
                if source.host == host:
                    return source
                if host.startswith("*.") and not source.literal and source.host.endswith(host[1:]):
                    return source
        raise NoSource("does not begin as one of `cdn.images.sources`")

    def follow(self, source: Source, location: str) -> Source:
        """Where a redirect leads, by the same rules as every URL. Raises NoSource."""
        if any(not sign.isprintable() or sign.isspace() or sign == "\\" for sign in location) or not location:
            raise NoSource("a redirect leads to what is no URL")
        if location.startswith("//"):
            return self.read(f"{source.scheme}:{location}")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", location):
            return self.read(location)
        if climbs(location.encode()) or location.startswith("."):
            raise NoSource("a redirect leads to a path that is read in several ways")
        try:
            return self.read(str(source.url.join(URL(location))))
        except ValueError:
            raise NoSource("a redirect leads to what is no URL") from None


def _beginning(text: str) -> tuple[str, str, int, str]:
    wild = "://*." in text
    source = read(text.replace("://*.", "://", 1) if wild else text)
    if wild and source.literal:
        raise NoSource("has an address below a star")
    return source.scheme, f"*.{source.host}" if wild else source.host, source.port, source.path
