"""Cache-Control as requests and answers have it (RFC 9111 section 5.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from balancer.http1.fields import TOKEN

LONGEST: Final = 2**31
"""Seconds: more is as good as for ever (RFC 9111 section 1.2.2)."""
_DIRECTIVE: Final = re.compile(
    rb"[\t ]*(" + TOKEN + rb")(?:=(?:([!#$%&'*+\-.^_`|~0-9A-Za-z:/@]*)|\"((?:[^\"\\]|\\.)*)\"))?[\t ]*(?:,|\Z)",
    re.DOTALL,
)
_ELEMENT: Final = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*+"?)++', re.DOTALL)
_NUMBER: Final = re.compile(rb"[0-9]+")
_WORDS: Final = re.compile(rb"[^a-z0-9-]+")
_NAMES: Final = re.compile(rb"[\t ,]+")
_NAME: Final = re.compile(TOKEN)
LONGEST_REMEMBERED: Final = 256
"""Bytes of a value that is parsed once: memories of values are bounded by number, so that their values have to be."""
NO_FIELDS: Final[frozenset[bytes]] = frozenset()


class Directives:
    """What an answer says of its caching (RFC 9111 section 5.2.2).

    Said twice, the shorter lifetime holds: as long as that lasts the answer is fresh by the first one too, and then it
    may be taken for stale (section 4.2.1). What forbids holds in any case, also with an argument that it has not; what
    allows does not count with one. A number that is none counts as 0: who tried to say how long must not be taken to
    have said nothing.
    """

    __slots__ = (
        "hidden",
        "immutable",
        "max_age",
        "must_revalidate",
        "must_understand",
        "no_cache",
        "no_store",
        "no_transform",
        "private",
        "proxy_revalidate",
        "public",
        "s_maxage",
        "stale_if_error",
        "stale_while_revalidate",
    )

    def __init__(self) -> None:
        self.no_store = False
        self.no_cache = False  # the whole answer, not only some fields
        self.private = False
        self.hidden = NO_FIELDS  # those that are private, or not to be used unasked
        self.public = False
        self.must_revalidate = False
        self.proxy_revalidate = False
        self.must_understand = False
        self.no_transform = False
        self.immutable = False
        self.max_age: int | None = None
        self.s_maxage: int | None = None
        self.stale_while_revalidate: int | None = None
        self.stale_if_error: int | None = None


class Wishes:
    """What a request asks of caches (RFC 9111 section 5.2.1).

    Of what is said twice, or with a number that is none, holds what leaves the cache the least.
    """

    __slots__ = ("max_age", "max_stale", "min_fresh", "no_cache", "no_store", "only_if_cached", "stale_if_error")

    def __init__(self) -> None:
        self.no_cache = False
        self.no_store = False
        self.only_if_cached = False
        self.max_age: int | None = None
        self.min_fresh: int | None = None
        self.max_stale: float | None = None  # infinite when it has no value
        self.stale_if_error: int | None = None


NO_DIRECTIVES: Final = Directives()
NO_WISHES: Final = Wishes()


def split(value: bytes) -> list[tuple[bytes, bytes | None]]:
    """Name in lower case and argument, unquoted, of each directive; what is none is left out."""
    found: list[tuple[bytes, bytes | None]] = []
    for element in _ELEMENT.findall(value):
        match = _DIRECTIVE.fullmatch(element)
        if match is None:
            # Badly written: what it forbids is forbidden, and of a lifetime nothing is left.
            words = frozenset(_WORDS.split(element.lower()))
            found += [(name, b"?") for name in (_LIFETIMES | _FORBIDDING) & words]
            continue
        argument = match[2] if match[3] is None else re.sub(rb"\\(.)", rb"\1", match[3], flags=re.DOTALL)
        found.append((match[1].lower(), argument))
    return found


_LIFETIMES: Final = frozenset((b"max-age", b"s-maxage"))
_FORBIDDING: Final = frozenset((b"no-store", b"private", b"no-cache", b"must-revalidate", b"proxy-revalidate"))


def _is_number(argument: bytes | None) -> bool:
    return argument is not None and _NUMBER.fullmatch(argument) is not None


def seconds(argument: bytes | None) -> int:
    """A number of seconds, no more than LONGEST; 0 for what is none."""
    if argument is None or _NUMBER.fullmatch(argument) is None:
        return 0
    digits = argument.lstrip(b"0")
    return LONGEST if len(digits) > 10 else min(int(digits or b"0"), LONGEST)


def _least(before: int | None, argument: bytes | None) -> int:
    now = seconds(argument)
    return now if before is None else min(before, now)


def of_answer(value: bytes) -> Directives:
    """The directives of an answer, by all its Cache-Control lines joined."""
    return _of_answer(value) if len(value) <= LONGEST_REMEMBERED else _of_answer.__wrapped__(value)


@lru_cache(1024)
def _of_answer(value: bytes) -> Directives:
    found = Directives()
    for name, argument in split(value):
        if name == b"max-age":
            found.max_age = _least(found.max_age, argument)
        elif name == b"s-maxage":
            found.s_maxage = _least(found.s_maxage, argument)
        elif name == b"no-store":
            found.no_store = True
        elif name == b"no-cache":
            fields = names_in(argument)
            found.no_cache = found.no_cache or not fields
            found.hidden |= fields
        elif name == b"private":
            fields = names_in(argument)
            found.private = found.private or not fields
            found.hidden |= fields
        elif name == b"stale-while-revalidate":
            found.stale_while_revalidate = _least(found.stale_while_revalidate, argument)
        elif name == b"stale-if-error":
            found.stale_if_error = _least(found.stale_if_error, argument)
        else:
            attribute = _FLAGS.get(name) or (_ALLOWING.get(name) if argument is None else None)
            if attribute is not None:
                setattr(found, attribute, True)
    return found


_FLAGS: Final = {
    b"must-revalidate": "must_revalidate",
    b"proxy-revalidate": "proxy_revalidate",
    b"no-transform": "no_transform",
}
_ALLOWING: Final = {
    b"public": "public",
    b"must-understand": "must_understand",  # it takes no-store back
    b"immutable": "immutable",
}


def names_in(argument: bytes | None) -> frozenset[bytes]:
    """Names of fields in an argument such as "Set-Cookie, X-Id"; none means the whole answer.

    So does an argument with anything that is no name: which fields were meant cannot be told.
    """
    if not argument:
        return NO_FIELDS
    names = frozenset(name.lower() for name in _NAMES.split(argument) if name)
    return names if all(map(_NAME.fullmatch, names)) else NO_FIELDS


def of_request(value: bytes | None, pragma: bytes = b"") -> Wishes:
    """The wishes of a request; Pragma counts where there is no Cache-Control (RFC 9111 section 5.4)."""
    if value is None:
        if not pragma:
            return NO_WISHES
        found = Wishes()
        found.no_cache = any(name == b"no-cache" for name, _ in split(pragma))
        return found
    return _of_request(value) if len(value) <= LONGEST_REMEMBERED else _of_request.__wrapped__(value)


@lru_cache(256)
def _of_request(value: bytes) -> Wishes:
    found = Wishes()
    for name, argument in split(value):
        if name == b"no-cache":
            found.no_cache = True
        elif name == b"no-store":
            found.no_store = True
        elif name == b"only-if-cached":
            found.only_if_cached = True
        elif name == b"max-age":
            found.max_age = _least(found.max_age, argument)
        elif name == b"min-fresh":
            asked = LONGEST if not _is_number(argument) else seconds(argument)
            found.min_fresh = max(found.min_fresh or 0, asked)
        elif name == b"max-stale":
            allowed = float("inf") if argument is None else float(seconds(argument))
            found.max_stale = allowed if found.max_stale is None else min(found.max_stale, allowed)
        elif name == b"stale-if-error":
            found.stale_if_error = _least(found.stale_if_error, argument)
    return found
