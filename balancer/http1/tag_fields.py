"""Tags of answers, in the one field and the form that a CDN reads them from."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from balancer.http1.fields import Field
from config.cdn import Cdn, Provider

MARK: Final = "!"
"""What a hashed tag begins with."""
_HASHED: Final = 12  # bytes of SHA-256: 16 characters, and no two tags of a site meet
KNOWN: Final = 1024
KNOWN_LENGTH: Final = 512
"""Values of fields whose lines are remembered, of each route, and the bytes of one: at most a MiB."""
_TAG: Final = re.compile(rb"[^\s,]+")
# Printable, and none of what separates tags, or stands for others in a purge, at one of the providers.
_FITS: Final = re.compile(rb"[!-~]+")
_UNFIT: Final = re.compile(rb"[*,?~]")


class Form(NamedTuple):
    """How one provider reads tags."""

    field: str
    between: bytes
    """What separates tags."""
    around: bytes
    """What stands before the first and behind the last."""
    longest: int
    """Bytes of a tag that is sent as it is."""
    most: int
    """Tags."""
    room: int
    """Bytes of the field's value."""


FORMS: Final[Mapping[Provider, Form]] = MappingProxyType(
    {
        # A single tag may have 1,024 characters. With at most 63, as many as the balancer's own cache takes of one
        # answer, 256, have room.
        "cloudflare": Form("Cache-Tag", b",", b"", 63, 1000, 16 * 1024),
        "aws": Form("x-amz-meta-cache-tag", b",", b"", 256, 50, 50 * 257),
        # Bunny takes the value for one tag, and stars in a purge for any characters: see `cdn.bunny.purging`. What is
        # longer than a hash would only take room, of which there is least.
        "bunny": Form("CDN-Tag", b"~", b"~", len(MARK) + 16, 1000, 1024),
    }
)


class Counted(Protocol):
    """Where it is counted what did not fit: the route's tally."""

    tags_left_out: int


def spelled(tag: str, provider: Provider) -> str:
    """A tag as it stands in this provider's field, for a purge of it.

    Whether a tag is hashed is told by nothing but the tag and the provider, so that a purge knows it, too.
    """
    return _spelled(tag.encode("utf-8", "surrogateescape"), FORMS[provider]).decode() if provider in FORMS else tag


def _spelled(tag: bytes, form: Form) -> bytes:
    if len(tag) <= form.longest and _FITS.fullmatch(tag) and not _UNFIT.search(tag):
        return tag
    return MARK.encode() + urlsafe_b64encode(sha256(tag).digest()[:_HASHED])


class TagFields:
    """The fields that name tags: kept from clients, and given to the CDN as it wants them. One per route."""

    __slots__ = ("_form", "_known", "_name", "_tally", "names")

    def __init__(self, cdn: Cdn, fields: Iterable[str], tally: Counted) -> None:
        """`fields` are those that tags are read from."""
        self._tally = tally
        form = FORMS.get(cdn.provider)
        name = cdn.aws.cache_tag_header if cdn.provider == "aws" else form.field if form is not None else ""
        self._name = name.encode("ascii")
        self._form = form if name else None
        self._known: dict[bytes, bytes] = {}  # lines by what the fields said: pages are asked for again and again
        self.names = frozenset(field.lower().encode("ascii") for field in (*fields, name) if field)

    @property
    def speaks(self) -> bool:
        """Whether there is a CDN that reads them."""
        return self._form is not None

    def line(self, fields: Iterable[Field]) -> bytes:
        """The provider's line, of all tags among these fields; nothing, if there are none."""
        names = self.names
        found = [field[1] for field in fields if field[0] in names]
        form = self._form
        if not found or form is None:
            return b""
        said = found[0] if len(found) == 1 else b",".join(found)
        line = self._known.get(said)
        if line is None:
            tags = dict.fromkeys(_TAG.findall(said))
            told = _fitting(tags, form)
            together = form.between.join(told)
            line = b"%b: %b%b%b\r\n" % (self._name, form.around, together, form.around) if told else b""
            if len(told) < len(tags):
                self._tally.tags_left_out += len(tags) - len(told)  # and again each time
            elif len(said) <= KNOWN_LENGTH:
                if len(self._known) >= KNOWN:
                    self._known.clear()
                self._known[said] = line
        return line


def _fitting(tags: Iterable[bytes], form: Form) -> list[bytes]:
    """The first of them, as the provider has room for them."""
    left = form.room - len(form.around) * 2 + len(form.between)
    told: list[bytes] = []
    for tag in tags:
        shown = _spelled(tag, form)
        left -= len(shown) + len(form.between)
        if left < 0 or len(told) == form.most:
            break
        told.append(shown)
    return told
