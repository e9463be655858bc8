"""Whether an answer may be stored, and for how long it is fresh: RFC 9111 sections 3 and 4.2."""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import Final, NamedTuple

from http_sf import parse

from balancer.cache.asks import Asks
from balancer.cache.dates import parse_date
from balancer.cache.directives import NO_DIRECTIVES, NO_FIELDS, Directives, of_answer
from balancer.cache.entry import Entry
from balancer.cache.rules import DROPPED, TAG, Lane, Rule
from balancer.cache.targeted import TARGETS, targeted
from balancer.cache.variants import selecting, vary_names
from balancer.http1.fields import DATE, EXPECT, REQUEST_ID, TRAILER, nominated
from balancer.http1.head import RequestHead, ResponseHead

HEURISTIC: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
"""Statuses that may be stored without being told to (RFC 9110 section 15.1), but for 206."""
UNDERSTOOD: Final = frozenset((*range(200, 206), 207, 208, 226, *range(300, 304), 307, 308, *range(400, 418), 421, 422))
UNDERSTOOD_TOO: Final = frozenset((423, 424, 425, 426, 428, 429, 431, 451, *range(500, 509), 510, 511))
"""Statuses whose rules for caching are known, for must-understand (RFC 9111 section 5.2.2.3)."""
MOST_TAGS: Final = 128
LONGEST_TAG: Final = 256
MOST_GROUPS: Final = 32
"""Names that are looked at in Cache-Groups (RFC 9875 section 2.1 asks for at least 32)."""
UNBOUNDED: Final = 365 * 86400.0
"""Seconds for which an answer is kept to be validated or served where no server can be reached."""
_TAG: Final = re.compile(rb"[^\s,]+")
_DIGITS: Final = re.compile(rb"[0-9]+")


class Refused(NamedTuple):
    """Why an answer is not stored: a word for figures."""

    reason: str


def judge(
    request: RequestHead,
    asks: Asks,
    response: ResponseHead,
    rule: Rule,
    key: bytes,
    lane: Lane,
    *,
    asked: float,
    now: float,
    wall: float,
) -> Entry | Refused:
    """The entry for an answer, all but its body, or why there is none.

    `request` is the client's own. `asked` and `now` are the monotonic times when the request was sent and when the
    head of the answer came, `wall` the Unix time of the latter.
    """
    status = response.status
    if request.method != b"GET":
        return Refused("method")
    if status == 206 or status == 304 or status < 200:
        return Refused("partial" if status == 206 else "status")
    roles = rule.roles
    told: dict[bytes, bytes] = {}
    lines: list[bytes] = []
    tags: list[bytes] = []
    date: int | None = None
    for name, value, _, kind, line, _ in response.fields:
        role = roles.get(name)
        if role is not None:
            if role == TAG:
                tags += _TAG.findall(value)
            elif name not in told:
                told[name] = value
            elif name != b"expires":  # of which the first counts
                told[name] = b"%b, %b" % (told[name], value)
            if role == DROPPED:
                continue
        elif kind:
            if kind == DATE:
                date = parse_date(value)
                if date is None:
                    continue
            elif kind < EXPECT or kind in (TRAILER, REQUEST_ID):
                continue
        lines.append(line)
    targeted_says = targeted(response.fields) if TARGETS[0] in told or TARGETS[1] in told else None
    if targeted_says is not None:
        said = targeted_says
    else:
        control = told.get(b"cache-control")
        said = of_answer(control) if control else NO_DIRECTIVES
    refused = _forbidden(asks, status, said)
    if refused is not None:
        return Refused(refused)
    names = vary_names(response.fields) if b"vary" in told else ()
    if names is None:
        return Refused("vary")
    if response.length > rule.max_object:
        return Refused("too-large")
    if date is None:
        lines.append(b"Date: %b\r\n" % formatdate(wall, usegmt=True).encode("ascii"))
    lifetime, explicit = _lifetime(
        status, said, told, rule, wall if date is None else date, targeted_says=targeted_says is not None
    )
    if lifetime is None or (lifetime <= 0 and not (b"etag" in told or b"last-modified" in told)):
        return Refused("no-lifetime")
    gone = said.no_cache_fields | said.private_fields if said is not NO_DIRECTIVES else NO_FIELDS
    if b"set-cookie" in told and b"set-cookie" not in gone and (rule.store_set_cookie == "never" or not explicit):
        return Refused("set-cookie")
    if response.names:
        gone |= nominated(response.names)
    if gone:
        lines = [line for line in lines if line.partition(b":")[0].lower() not in gone]
    entry = Entry(key, lane, selecting(names, request) if names else (), status, response.line, b"".join(lines))
    born = entry.born = now - initial_age(told.get(b"age"), date, asked, now, wall)
    fresh_until = born + lifetime if rule.ttl is None else now + lifetime
    if said.no_cache:
        fresh_until = min(fresh_until, now)
    entry.fresh_until = fresh_until
    if said.strict or (said.s_maxage is not None and rule.ttl is None):
        entry.strict = True
        entry.revalidate_until = entry.error_until = fresh_until
    else:
        revalidate: float | None = said.stale_while_revalidate
        on_error: float | None = said.stale_if_error
        if revalidate is None:
            revalidate = rule.stale_while_revalidate
        if on_error is None:
            on_error = rule.stale_if_error
        entry.revalidate_until = fresh_until + revalidate if revalidate else fresh_until
        entry.error_until = fresh_until + on_error if on_error else fresh_until
    if b"etag" in told:
        entry.etag = told[b"etag"]
    if b"last-modified" in told:
        entry.last_modified = parse_date(told[b"last-modified"])
    if tags:
        entry.tags = tuple(dict.fromkeys(tag for tag in tags if len(tag) <= LONGEST_TAG))[:MOST_TAGS]
    if b"cache-groups" in told:
        entry.groups = groups(told[b"cache-groups"])
    return entry


def _forbidden(asks: Asks, status: int, said: Directives) -> str | None:
    """Why this may not be stored, whatever its lifetime (RFC 9111 section 3)."""
    if said.must_understand:
        if status not in UNDERSTOOD and status not in UNDERSTOOD_TOO:
            return "must-understand"
    elif said.no_store:
        return "no-store"
    if asks.wishes.no_store:
        return "request-no-store"
    if said.private:
        return "private"
    if asks.authorization and not (said.public or said.must_revalidate or said.s_maxage is not None):
        return "authorization"  # section 3.5
    return None


def _lifetime(
    status: int, said: Directives, told: dict[bytes, bytes], rule: Rule, date: float, *, targeted_says: bool
) -> tuple[float | None, bool]:
    """Seconds of freshness (section 4.2.1), and whether the answer has said so; None: it may not be stored."""
    explicit = said.lifetime
    lifetime: float | None = explicit
    if explicit is None and not targeted_says and b"expires" in told:
        until = parse_date(told[b"expires"])
        lifetime = until - date if until is not None else 0.0
    says = lifetime is not None
    if rule.ttl is not None and (status in HEURISTIC or says or said.public):
        return (0.0 if said.no_cache else rule.ttl), says
    if not says and status in rule.negative:
        return rule.negative[status], False
    if not says and (said.public or status in HEURISTIC):
        modified = parse_date(told[b"last-modified"]) if b"last-modified" in told else None
        lifetime = 0.0
        if modified is not None and rule.heuristic_share and modified <= date:
            lifetime = min((date - modified) * rule.heuristic_share, rule.heuristic_longest)
    if lifetime is None:
        return None, False
    return (0.0 if said.no_cache else lifetime), says


def initial_age(age: bytes | None, date: float | None, asked: float, now: float, wall: float) -> float:
    """The age in seconds with which an answer came (section 4.2.3): what it says, or by its date, or its way here."""
    apparent = max(0.0, wall - date) if date is not None else 0.0
    return max(apparent, _age(age) + now - asked)


def _age(value: bytes | None) -> float:
    """Of several ages the first counts; what is no number says nothing (section 5.1)."""
    if value is None:
        return 0.0
    first = value.partition(b",")[0].strip(b"\t ")
    return float(min(int(first[:12]), 2**31)) if _DIGITS.fullmatch(first) else 0.0


def groups(value: bytes) -> tuple[bytes, ...]:
    """The names in Cache-Groups or Cache-Group-Invalidation: a list of strings (RFC 9875 section 2)."""
    try:
        members = parse(value, tltype="list")
    except (ValueError, KeyError, IndexError, UnicodeError, OverflowError):
        return ()
    if not isinstance(members, list):
        return ()
    names = []
    for item in members[:MOST_GROUPS]:
        name = item[0] if isinstance(item, tuple) else item
        if type(name) is str:
            names.append(name.encode("ascii"))
    return tuple(names)
