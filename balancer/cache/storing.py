"""Whether an answer may be stored, and for how long it is fresh: RFC 9111 sections 3 and 4.2."""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import Final, NamedTuple

from http_sf import parse

from balancer.cache.asks import Asks
from balancer.cache.dates import parse_date
from balancer.cache.directives import NO_DIRECTIVES, Directives, of_answer
from balancer.cache.entry import Entry
from balancer.cache.rules import Lane, Rule
from balancer.cache.targeted import TARGETS, targeted
from balancer.cache.variants import selecting, vary_names
from balancer.http1.fields import DATE, PLAIN, SERVER, Field, nominated, parse_line
from balancer.http1.head import NO_LENGTH, RequestHead, ResponseHead

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
_NOT_STORED: Final = frozenset(
    (b"age", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization", b"x-cache")
)
_LOOKED_AT: Final = frozenset(
    (
        b"cache-control",
        b"expires",
        b"age",
        b"vary",
        b"etag",
        b"last-modified",
        b"set-cookie",
        b"pragma",
        b"cache-groups",
        *TARGETS,
    )
)


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
    told: dict[bytes, bytes] = {}
    tags: list[bytes] = []
    for field in response.fields:
        name = field[0]
        if name in _LOOKED_AT:
            if name not in told:
                told[name] = field[1]
            elif name != b"expires":  # of which the first counts
                told[name] = b"%b, %b" % (told[name], field[1])
        elif name in rule.tag_fields:
            tags += _TAG.findall(field[1])
    said = _directives(response, told)
    refused = _forbidden(asks, status, said, told, rule)
    if refused is not None:
        return Refused(refused)
    names = vary_names(response.fields) if b"vary" in told else ()
    if names is None:
        return Refused("vary")
    if response.length != NO_LENGTH and response.length > rule.max_object:
        return Refused("too-large")
    date = _date(response)
    targeted_says = _is_targeted(told, said)
    lifetime, explicit = _lifetime(status, said, told, rule, date if date is not None else wall, targeted_says)
    if lifetime is None:
        return Refused("no-lifetime")
    sets_cookie = b"set-cookie" in told and b"set-cookie" not in (said.no_cache_fields | said.private_fields)
    if sets_cookie and (rule.store_set_cookie == "never" or not explicit):
        return Refused("set-cookie")
    validator = b"etag" in told or b"last-modified" in told
    if lifetime <= 0 and not validator:
        return Refused("no-lifetime")
    entry = Entry(
        key,
        lane,
        selecting(names, request) if names else (),
        status,
        response.line,
        _stored_fields(response, said, date, wall),
    )
    entry.born = now - initial_age(told.get(b"age"), date, asked, now, wall)
    _set_times(entry, said, lifetime, rule, now, validator=validator)
    entry.etag = told.get(b"etag")
    if b"last-modified" in told:
        entry.last_modified = parse_date(told[b"last-modified"])
    if tags:
        entry.tags = tuple(dict.fromkeys(tag for tag in tags if len(tag) <= LONGEST_TAG))[:MOST_TAGS]
    if b"cache-groups" in told:
        entry.groups = groups(told[b"cache-groups"])
    return entry


def _directives(response: ResponseHead, told: dict[bytes, bytes]) -> Directives:
    if TARGETS[0] in told or TARGETS[1] in told:
        found = targeted(response.fields)
        if found is not None:
            return found
    value = told.get(b"cache-control")
    return of_answer(value) if value else NO_DIRECTIVES


def _is_targeted(told: dict[bytes, bytes], said: Directives) -> bool:
    """Whether a targeted field has spoken: Cache-Control and Expires then mean nothing (RFC 9213 section 2.2)."""
    if TARGETS[0] not in told and TARGETS[1] not in told:
        return False
    value = told.get(b"cache-control")
    return said is not NO_DIRECTIVES and (not value or said is not of_answer(value))


def _forbidden(asks: Asks, status: int, said: Directives, told: dict[bytes, bytes], rule: Rule) -> str | None:
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
    status: int, said: Directives, told: dict[bytes, bytes], rule: Rule, date: float, targeted_says: bool
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
    if not says and (said.no_cache or said.public or status in HEURISTIC):
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


def _set_times(entry: Entry, said: Directives, lifetime: float, rule: Rule, now: float, *, validator: bool) -> None:
    entry.strict = bool(
        said.must_revalidate
        or said.proxy_revalidate
        or said.no_cache
        or (said.s_maxage is not None and rule.ttl is None)
    )
    entry.fresh_until = entry.born + lifetime if rule.ttl is None else now + lifetime
    if said.no_cache:
        entry.fresh_until = min(entry.fresh_until, now)
    if entry.strict:
        entry.revalidate_until = entry.error_until = entry.fresh_until
        return
    revalidate = rule.stale_while_revalidate if said.stale_while_revalidate is None else said.stale_while_revalidate
    on_error = said.stale_if_error if said.stale_if_error is not None else rule.stale_if_error
    entry.revalidate_until = entry.fresh_until + (revalidate or 0.0)
    entry.error_until = entry.fresh_until + (on_error or 0.0)


def _stored_fields(response: ResponseHead, said: Directives, date: float | None, wall: float) -> tuple[Field, ...]:
    """What is kept of the fields (sections 3.1 and 5.2.2.4): nothing of the connection or for one client only."""
    gone = said.no_cache_fields | said.private_fields
    if response.names:
        gone |= nominated(response.names)
    fields = tuple(
        field
        for field in response.fields
        if (field[3] == PLAIN or field[3] == DATE or field[3] == SERVER)
        and field[0] not in _NOT_STORED
        and field[0] not in gone
    )
    if date is None:
        fields = tuple(field for field in fields if field[3] != DATE)
        fields += (parse_line(b"Date: " + formatdate(wall, usegmt=True).encode("ascii")),)
    return fields


def _date(response: ResponseHead) -> int | None:
    for field in response.special:
        if field[3] == DATE:
            return parse_date(field[1])
    return None


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
