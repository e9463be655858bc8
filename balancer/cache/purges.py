"""What is purged: a URL, a path with all its queries, a prefix, a pattern, a tag, a group, a host, or everything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple, get_args
from urllib.parse import quote

from balancer.cache.entry import Entry
from balancer.cache.keys import normal

Kind = Literal["url", "path", "prefix", "pattern", "tag", "group", "host", "everything"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MOST_STARS: Final = 16
"""Of one pattern: each stored answer is held against it, and each star is one more thing to look for."""
LONGEST: Final = 8192
"""Characters of what is to be purged: as long as a target may be."""
_VISIBLE: Final = re.compile(r"[^\x00-\x20\x7f#]+")
_HOST: Final = re.compile(r"[a-z0-9._~-]+(?::[0-9]{1,5})?|\[[0-9a-f:.]+\](?::[0-9]{1,5})?")
_WILD_HOST: Final = re.compile(r"[][a-z0-9._~:*?-]+")
_TAG: Final = re.compile(r"[^\x00-\x20\x7f,]+")
_DEFAULT_PORT: Final = re.compile(r":(?:80|443)\Z")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_EXPECTED: Final = {
    "url": "https://example.com/path, example.com/path for both schemes, or /path for every host",
    "path": "a URL without a query, such as example.com/path",
    "prefix": "https://example.com/path, example.com/path for both schemes, or /path for every host",
    "pattern": "the same as for a URL, with * for any characters, 16 times at most, and ? for one, such as /posts/*",
    "tag": "a tag as it stands in Surrogate-Key or Cache-Tag, without white space and commas",
    "group": 'an origin and a group, such as "https://example.com articles"',
    "host": "example.com, example.com:8080 for that port alone, or *.example.com",
    "everything": "nothing more to be said",
}


class Place(NamedTuple):
    """The parts of an entry's key, "scheme://host:port/path?query"."""

    name: bytes
    """The host without its port."""
    host: bytes
    path: bytes
    """With the query."""
    host_path: bytes


def place(key: bytes) -> Place:
    """Take a key apart."""
    start = key.find(b"//") + 2
    slash = key.find(b"/", start)
    if slash < 0:
        slash = len(key)
    host = key[start:slash]
    return Place(without_port(host), host, key[slash:], key[start:])


def without_port(host: bytes) -> bytes:
    """The name in "name:port", where an IPv6 address has its colons in brackets."""
    colon = host.rfind(b":")
    return host[:colon] if colon > host.rfind(b"]") and colon >= 0 else host


@lru_cache(maxsize=512)
def matcher(pattern: bytes) -> re.Pattern[bytes]:
    """The pattern as an expression that matches in a time proportional to the text, however many stars there are.

    What stands between two stars may be taken where it is found first, and never has to be looked for again.
    """
    first, *others = (_literal(part) for part in pattern.split(b"*"))
    if not others:
        return re.compile(first + rb"\Z", re.DOTALL)
    *middle, last = others
    return re.compile(
        first + b"".join(b"(?>.*?" + part + b")" for part in middle if part) + b".*" + last + rb"\Z", re.S
    )


def _literal(part: bytes) -> bytes:
    return b".".join(re.escape(piece) for piece in part.split(b"?"))


@dataclass(frozen=True, slots=True)
class Purge:
    """One order to purge. What it meets is gone; if it is `soft`, stale.

    `value` is a URL of one of three forms: with a scheme, with a host (both schemes), or a path (every host).
    """

    kind: Kind
    value: bytes = b""
    soft: bool = False

    def meets(self, entry: Entry) -> bool:
        """Whether the entry is among what is to be purged."""
        if self.kind == "tag":
            return self.value in entry.tags
        if self.kind == "everything":
            return True
        if self.kind == "group":
            origin, _, group = self.value.partition(b" ")
            return group in entry.groups and entry.key.startswith(origin + b"/")
        if self.kind == "host":
            name, host, _, _ = place(entry.key)
            value = self.value
            return name.endswith(value[1:]) if value.startswith(b"*.") else value in (name, host)
        text = self._text(entry.key)
        if self.kind == "url":
            return text == self.value
        if self.kind == "path":
            return text.partition(b"?")[0] == self.value
        if self.kind == "prefix":
            return text.startswith(self.value)
        return matcher(self.value).match(text) is not None

    @property
    def exact(self) -> bool:
        """Whether what it meets can be looked up, so that it costs nothing to have many of its kind."""
        if self.kind == "host":
            return not self.value.startswith(b"*.")
        return self.kind in ("url", "path", "tag", "group")

    def _text(self, key: bytes) -> bytes:
        """The part of a key that the value is held against."""
        if self.value.startswith(b"/"):
            return place(key).path
        head, found, _ = self.value.partition(b"://")
        return key if found and b"/" not in head else place(key).host_path


EVERYTHING: Final = Purge("everything")


def of_group(key: bytes, group: bytes, soft: bool = False) -> Purge:
    """Purge a group of the origin that this key is of (RFC 9875)."""
    return Purge("group", key[: key.find(b"/", key.find(b"//") + 2)] + b" " + group, soft)


def parse(kind: str, value: str = "", soft: bool = False) -> Purge:
    """What an operator wants purged; raises ValueError with a sentence that says what was expected."""
    if kind not in KINDS:
        raise ValueError(f"purge by one of {', '.join(KINDS)}, not by {kind!r}")
    text = value.strip()
    if len(text) > LONGEST:
        raise ValueError(f"purge by {kind}: at most {LONGEST} characters, not {len(text)}")
    parsed = _PARSERS[kind](text)
    if parsed is None:
        raise ValueError(f"purge by {kind}: expected {_EXPECTED[kind]}, not {value!r}")
    return Purge(kind, parsed, soft)


def _everything(text: str) -> bytes | None:
    return None if text else b""


def _tag(text: str) -> bytes | None:
    return text.encode() if _TAG.fullmatch(text) else None


def _host(text: str) -> bytes | None:
    text = _DEFAULT_PORT.sub("", text.lower())
    return text.encode() if _HOST.fullmatch(text.removeprefix("*.")) else None


def _origin(text: str) -> str | None:
    """An origin as it stands in keys: in lower case, without the default port."""
    scheme, found, host = text.lower().partition("://")
    if not found or scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host):
        return None
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS[scheme])}"


def _group(text: str) -> bytes | None:
    given, _, group = text.partition(" ")
    origin = _origin(given)
    return f"{origin} {group}".encode() if origin and group and group.isascii() and group.isprintable() else None


def _path(text: str) -> bytes | None:
    return None if "?" in text else _url(text)


def _url(text: str, wild: bool = False) -> bytes | None:
    if not _VISIBLE.fullmatch(text) or (wild and text.count("*") > MOST_STARS):
        return None
    head, found, rest = text.partition("://")
    if not found or "/" in head:
        head, rest = "", text
    host, slash, path = rest.partition("/")
    if not slash or (head and not host):
        return None
    host = host.lower()
    if host and not (_WILD_HOST if wild else _HOST).fullmatch(host):
        return None
    if head:
        head = head.lower()
        if head not in _DEFAULT_PORTS:
            return None
        host = f"{head}://{host.removesuffix(_DEFAULT_PORTS[head])}"
    else:
        # Of one scheme it is the default, of the other hardly what is meant: rather too much than nothing.
        host = _DEFAULT_PORT.sub("", host)
    return normal(f"{host}/{quote(path, safe=_SAFE)}".encode())


_SAFE: Final = "".join(map(chr, range(0x21, 0x7F)))  # what is not ASCII is written as browsers write it
_PARSERS: Final = {
    "url": _url,
    "path": _path,
    "prefix": _url,
    "pattern": lambda text: _url(text, wild=True),
    "tag": _tag,
    "group": _group,
    "host": _host,
    "everything": _everything,
}
