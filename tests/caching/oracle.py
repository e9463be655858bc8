"""What RFC 9111 allows to be done with an answer, worked out a second time and in another way than the cache does."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

SERVED: Final = "from the cache"
ASKED: Final = "from the server"
REFUSED: Final = "504"
EITHER: Final = "either"
"""From the cache, or as if nothing were stored."""

DAY: Final = 86400
MODIFIED: Final = 10 * DAY
"""Seconds since Last-Modified."""
GUESSED: Final = (200, 404)
"""Of STATUSES those for which a lifetime may be guessed."""
STATUSES: Final = (200, 200, 200, 404, 403, 500, 302)


@dataclass(frozen=True)
class Said:
    """An answer. Seconds; None: not said."""

    status: int = 200
    flags: frozenset[str] = frozenset()
    max_age: int | None = None
    s_maxage: int | None = None
    window: bool = False
    """stale-while-revalidate, as long as anybody needs."""
    expires: int | None = None
    """From Date."""
    broken_expires: bool = False
    age: int = 0
    modified: bool = False
    etag: bool = False
    vary: str = ""
    cookie: bool = False

    def lines(self) -> list[str]:
        directives = sorted(self.flags)
        if self.max_age is not None:
            directives.append(f"max-age={self.max_age}")
        if self.s_maxage is not None:
            directives.insert(0, f"s-maxage={self.s_maxage}")
        if self.window:
            directives.append("stale-while-revalidate=99999")
        lines = [f"Cache-Control: {', '.join(directives)}"] if directives else []
        if self.broken_expires:
            lines.append("Expires: 0")
        elif self.expires is not None:
            lines.append(f"Expires: {{{self.expires:+d}}}")
        if self.age:
            lines.append(f"Age: {self.age}")
        if self.modified:
            lines.append(f"Last-Modified: {{-{MODIFIED}}}")
        if self.etag:
            lines.append('ETag: "a"')
        if self.vary:
            lines.append(f"Vary: {self.vary}")
        if self.cookie:
            lines.append("Set-Cookie: a=1")
        return lines


@dataclass(frozen=True)
class Wished:
    """A request."""

    foo: str = "1"
    authorization: bool = False
    flags: frozenset[str] = frozenset()
    max_age: int | None = None
    min_fresh: int | None = None
    max_stale: int | None = None

    def lines(self) -> list[str]:
        directives = sorted(self.flags)
        directives += [
            f"{name}={value}"
            for name, value in (
                ("max-age", self.max_age),
                ("min-fresh", self.min_fresh),
                ("max-stale", self.max_stale),
            )
            if value is not None
        ]
        lines = [f"Foo: {self.foo}"]
        if directives:
            lines.append(f"Cache-Control: {', '.join(directives)}")
        if self.authorization:
            lines.append("Authorization: Basic dTpw")
        return lines


def lifetime(said: Said) -> tuple[float, bool] | None:
    """Section 4.2.1: seconds, and whether they were said; None: it may not even be stored."""
    if said.s_maxage is not None:
        return said.s_maxage, True
    if said.max_age is not None:
        return said.max_age, True
    if said.broken_expires:
        return 0, True
    if said.expires is not None:
        return said.expires, True
    if said.status in GUESSED or "public" in said.flags:
        return min(MODIFIED * 0.1, DAY) if said.modified else 0, False
    return None


def storable(said: Said, first: Wished) -> bool:
    """Section 3."""
    if "no-store" in first.flags:
        return False
    if "no-store" in said.flags and "must-understand" not in said.flags:  # all of STATUSES are understood
        return False
    if "private" in said.flags or "*" in said.vary:
        return False
    if first.authorization and not ({"public", "must-revalidate"} & said.flags or said.s_maxage is not None):
        return False
    found = lifetime(said)
    return found is not None and (found[1] or not said.cookie)


def verdict(said: Said, first: Wished, then: Wished) -> str:
    """What becomes of the second request, when the first brought this answer a moment ago."""
    unserved = REFUSED if "only-if-cached" in then.flags else ASKED
    found = lifetime(said)
    if not storable(said, first) or found is None:
        return unserved
    if said.vary and first.foo != then.foo:
        return unserved
    if "no-cache" in said.flags or "no-cache" in then.flags:
        return unserved
    left = found[0] - said.age
    older = then.max_age is not None and said.age > then.max_age
    staler = then.min_fresh is not None and left < then.min_fresh
    if older or staler:
        # A preference, which what is fresh may go against when the server has nothing but an error.
        return EITHER if said.status >= 500 and left > 0 and unserved is ASKED else unserved
    if left > 0:
        return SERVED
    if {"must-revalidate", "proxy-revalidate"} & said.flags or said.s_maxage is not None:
        return unserved
    if said.window or (then.max_stale is not None and -left <= then.max_stale):
        return EITHER
    return unserved


def some(values: tuple[int | None, ...], rng: Random) -> int | None:
    return rng.choice(values)


def any_answer(rng: Random) -> Said:
    flags = ("no-store", "private", "no-cache", "public", "must-revalidate", "proxy-revalidate", "must-understand")
    odds = (0.08, 0.06, 0.08, 0.25, 0.15, 0.1, 0.08)
    return Said(
        status=rng.choice(STATUSES),
        flags=frozenset(flag for flag, odd in zip(flags, odds, strict=True) if rng.random() < odd),
        max_age=some((None, None, 0, 50, 1000, 5000), rng),
        s_maxage=some((None, None, None, None, 0, 50, 1000), rng),
        window=rng.random() < 0.15,
        expires=some((None, None, None, -1000, 50, 1000), rng),
        broken_expires=rng.random() < 0.08,
        age=rng.choice((0, 0, 0, 20, 500, 2000)),
        modified=rng.random() < 0.4,
        etag=rng.random() < 0.6,
        vary=rng.choice(("", "", "", "Foo", "Foo, Bar", "*", "Foo, *")),
        cookie=rng.random() < 0.15,
    )


def any_request(rng: Random, *, first: bool = False) -> Wished:
    flags = ("no-store", "no-cache") if first else ("no-cache", "only-if-cached", "no-transform")
    return Wished(
        foo=rng.choice("112"),
        authorization=rng.random() < 0.2,
        flags=frozenset(flag for flag in flags if rng.random() < 0.12),
        max_age=some((None, None, None, 10, 1000), rng),
        min_fresh=some((None, None, None, None, 100, 800), rng),
        max_stale=some((None, None, None, 100, 99999), rng),
    )
