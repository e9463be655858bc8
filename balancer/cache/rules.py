"""How a route's answers are cached: its rule, made ready for requests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from balancer.cache.accepted import image_formats
from balancer.cache.roles import ROLES, TAG
from balancer.http1.fields import apart, usual
from balancer.http1.head import RequestHead
from config.schema import Cache, CacheRule

Lane = tuple[bytes | None, ...]
BY_RFC: Final = "default"
"""The name of the rule that says nothing: everything is as RFC 9111 has it."""
NOT_NEGATIVE: Final = frozenset((400, 401, 407, 408, *range(411, 414), *range(415, 418), 421, 425, 426, 428, 429, 431))
"""What 4xx does not stand for: errors of one request, or of one client. Who makes one must not make it for all."""

MOST_COOKIES: Final = 256
"""That are looked at one by one: browsers hold fewer for a site, and a head has room for thousands of empty ones."""
_COOKIE: Final = re.compile(rb'[\t ]*[^\t =,;"\\]+(?:=("?)[^\t ,;"\\]*\1)?[\t ]*|[\t ]*')
"""One of the cookies in a field, without its semicolon."""


class Rule:
    """A `config.schema.CacheRule` with what the cache as a whole says, compiled. Times are seconds."""

    def __init__(self, name: str, settings: CacheRule, cache: Cache) -> None:
        self.name = name
        self.ttl = settings.ttl
        self.heuristic_share = settings.heuristic.share
        self.heuristic_longest = settings.heuristic.longest
        self.stale_while_revalidate = settings.stale_while_revalidate
        self.stale_if_error = settings.stale_if_error
        self.negative = _statuses(settings.negative)
        self.store_set_cookie = settings.store_set_cookie
        self.max_object = cache.max_object
        self.collapse = cache.collapse
        self.status_header = cache.status_header
        self.tag_fields = tuple(name.lower().encode("ascii") for name in cache.tags)
        self.key_headers = tuple(name.lower().encode("ascii") for name in settings.key.headers)
        self.key_cookies = tuple(name.encode("ascii") for name in settings.key.cookies)
        self.roles = dict.fromkeys(self.tag_fields, TAG) | ROLES
        self.key_images = settings.key.images
        self._keyed = bool(self.key_headers or self.key_cookies or self.key_images)
        self.bypass_headers = frozenset(usual(name.lower().encode("ascii")) for name in settings.bypass.headers)
        self.bypass_cookies = tuple(name.encode("ascii") for name in settings.bypass.cookies)
        self._cookies = tuple((name, _mention(name)) for name in (*self.key_cookies, *self.bypass_cookies))
        self.bypasses = bool(self.bypass_headers or self.bypass_cookies)
        self._ignored = _patterns(settings.ignore_query)
        self.ignores = self._ignored is not None
        named = (b"header", *self.key_headers, b"cookie", *self.key_cookies)
        if self.key_images:
            named = (*named, b"images")
        # Other names tell other things apart: what was stored before a reload changed them is not for what comes after.
        self._named = b" " + b" ".join(named) if len(named) > 2 else b""
        self._lanes: dict[tuple[str, str], Lane] = {}  # bounded: by routes and pools

    def ignored(self, query: bytes) -> bytes:
        """A query, with its question mark, without the parameters that make no other page.

        To some servers `;` separates as `&` does, and may hide a parameter behind an ignored one.
        """
        if self._ignored is None or not query:
            return query
        ignored = self._ignored.fullmatch
        kept = [part for part in query[1:].split(b"&") if b";" in part or ignored(part.partition(b"=")[0]) is None]
        return b"?" + b"&".join(kept) if kept else b""

    def lane(self, route: str, pool: str, request: RequestHead) -> Lane:
        """What tells the answers of one URL apart without their say."""
        lane = self._lanes.get((route, pool))
        if lane is None:
            lane = self._lanes[route, pool] = (route.encode(), pool.encode() + self._named)
        if self._keyed:
            cookies = _cookies(request, self._cookies) if self.key_cookies else {}
            return (
                *lane,
                *(_said(request, name) for name in self.key_headers),
                *(cookies.get(name) for name in self.key_cookies),
                *((_images(request),) if self.key_images else ()),
            )
        return lane

    def passes(self, request: RequestHead) -> bool:
        """Whether a request goes past the cache. Ask where `bypasses`."""
        if any(field[5] in self.bypass_headers for field in request.common.fields):
            return True
        return bool(self.bypass_cookies) and not _cookies(request, self._cookies).keys().isdisjoint(self.bypass_cookies)


def compile_rule(name: str, settings: CacheRule, cache: Cache) -> Rule:
    return Rule(name, settings, cache)


def _statuses(negative: dict[str, float]) -> dict[int, float]:
    found: dict[int, float] = {}
    for status, ttl in sorted(negative.items(), key=lambda pair: "x" not in pair[0]):  # 404 says it closer than 4xx
        if status.endswith("xx"):
            first = int(status[0]) * 100
            found.update((code, ttl) for code in range(first, first + 100) if code not in NOT_NEGATIVE)
        else:
            found[int(status)] = ttl
    return found


def _patterns(patterns: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """One expression for all: it takes a time proportional to the name, as no part is ever looked for twice."""
    return re.compile(b"|".join(map(_pattern, patterns))) if patterns else None


def _pattern(text: str) -> bytes:
    """As names stand in keys: percent-encoded where they have to be."""
    first, *others = (re.escape(quote(part, safe="%!$'()+,/:;?@").encode("ascii")) for part in text.split("*"))
    if not others:
        return first
    *middle, last = others
    return first + b"".join(b"(?>.*?" + part + b")" for part in middle if part) + b".*" + last


def _said(request: RequestHead, name: bytes) -> bytes | None:
    """What a request says in a field, and in all that some servers cannot tell from it."""
    known = usual(name)
    found = [field for field in request.common.fields if field[5] == known]
    if not found:
        return None
    return found[0][1] if len(found) == 1 and found[0][0] == name else apart(found)


def _images(request: RequestHead) -> bytes:
    """Which kinds of pictures a request takes."""
    said = b",".join([field[1] for field in request.common.fields if field[0] == b"accept"])
    return b" ".join(sorted(image_formats(said)))


def _mention(name: bytes) -> re.Pattern[bytes]:
    """Where this cookie may be meant: servers differ in letters, percent-encoding, punctuation (PHP: a_b for a.b)."""
    return re.compile(b"".join(_written(letter) for letter in name.decode("ascii")), re.IGNORECASE)


def _written(letter: str) -> bytes:
    return rb"(?:%s|%%%02x)" % (letter.encode(), ord(letter)) if letter.isalnum() else rb"(?:%[0-9a-f]{2}|[^0-9a-z%])"


def _cookies(request: RequestHead, wanted: Sequence[tuple[bytes, re.Pattern[bytes]]]) -> dict[bytes, bytes]:
    """Those of these cookies that some server may find in a request, with what they may be there.

    By the grammar of RFC 6265 section 4.2.1 there is one way to read `a=1; theme=dark`. What is not written by it,
    servers take apart at commas, white space and quotes: there a cookie is wherever its name is, and is all that stands
    around it. Of one that comes more than once it is all values, as servers differ in which they take.
    """
    found: dict[bytes, bytes] = {}
    text = b";".join([field[1] for field in request.common.fields if field[0] == b"cookie"])
    parts = text.split(b";")
    if len(parts) > MOST_COOKIES or (b'"' in text and not all(map(_COOKIE.fullmatch, parts))):
        parts = [text]  # to some servers, what is quoted may have semicolons in it
    for part in parts:
        told, _, value = part.strip(b" \t").partition(b"=")
        regular = _COOKIE.fullmatch(part) is not None
        for name, mention in wanted:
            if regular and told == name:
                said = value
            elif mention.fullmatch(told) if regular else mention.search(part):
                said = b"\t" + part
            else:
                continue
            found[name] = b"%b;%b" % (found[name], said) if name in found else said
    return found
