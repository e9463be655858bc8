"""Whether an answer may be stored, and for how long it is fresh: RFC 9111 sections 3 and 4.2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Final, NamedTuple

from http_sf import parse

from balancer.cache.asks import Asks
from balancer.cache.dates import parse_date
from balancer.cache.directives import NO_DIRECTIVES, Directives, of_answer, seconds
from balancer.cache.entry import Entry
from balancer.cache.roles import (
    AGE,
    CACHE_CONTROL,
    DATE,
    ETAG,
    EXPIRES,
    GROUPS,
    LAST_MODIFIED,
    NOT_STORED,
    NOTHING,
    SET_COOKIE,
    TAG,
    TARGETED,
    VARY,
)
from balancer.cache.rules import Lane, Rule
from balancer.cache.targeted import TARGETS, targeted
from balancer.cache.variants import selection, without
from balancer.http1.fields import EXPECT, REQUEST_ID, TRAILER, Field, nominated
from balancer.http1.head import RequestHead, ResponseHead

HEURISTIC: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
"""Statuses that may be stored without being told to (RFC 9110 section 15.1), but for 206."""
UNDERSTOOD: Final = frozenset(
    (
        *(200, 201, 202, 203, 204, 205, 207, 208, 226, 300, 301, 302, 303, 307, 308),
        *range(400, 418),
        *(421, 422, 423, 424, 425, 426, 428, 429, 431, 451),
        *range(500, 509),
        *(510, 511),
    )
)
"""Statuses whose rules for caching are known, for must-understand (RFC 9111 section 5.2.2.3)."""
MOST_TAGS: Final = 256
LONGEST_TAG: Final = 256
"""An answer with more tags, or with longer ones, is not stored: the purge of a tag has to reach all that have it."""
MOST_GROUPS: Final = 32
"""Names that are looked at in Cache-Groups (RFC 9875 section 2 asks for at least 32)."""
LONGEST_GROUP: Final = 128  # it asks for at least 32

_FIRST_COUNTS: Final = frozenset((AGE, DATE))  # RFC 9111 section 5.1; a second Date is not stored
_ESSENTIAL: Final = frozenset(
    (b"content-encoding", b"content-range", b"content-type", b"date", b"vary", b"cache-control", *TARGETS)
)
"""Fields without which a stored answer would be another one, or would be used otherwise."""
_DATED: Final = frozenset((b"date",))
_TAG: Final = re.compile(rb"[^\s,]+")
_ETAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


class Refused(NamedTuple):
    """Why an answer is not stored: a word for figures."""

    reason: str


METHOD: Final = Refused("method")
STATUS: Final = Refused("status")
PARTIAL: Final = Refused("partial")
TOO_LARGE: Final = Refused("too-large")
VARIES: Final = Refused("vary")
TAGS: Final = Refused("tags")
PRIVATE: Final = Refused("private")
COOKIE: Final = Refused("set-cookie")
NO_LIFETIME: Final = Refused("no-lifetime")
OLD: Final = Refused("old")  # no longer fresh when it came, and with nothing to check it by
NO_STORE: Final = Refused("no-store")
ASKED_NOT_TO: Final = Refused("request-no-store")
NOT_UNDERSTOOD: Final = Refused("must-understand")
AUTHORIZATION: Final = Refused("authorization")


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
    if request.method != b"GET":
        return METHOD
    return entry_for(request, asks, response, rule, key, lane, asked, now, wall)


def entry_for(
    request: RequestHead,
    asks: Asks,
    response: ResponseHead,
    rule: Rule,
    key: bytes,
    lane: Lane,
    asked: float,
    now: float,
    wall: float,
) -> Entry | Refused:
    """The same for a request of any method that what is stored may answer."""
    status = response.status
    if status < 200 or status == 304:
        return STATUS
    if status == 206 or status == 416:  # of a part, not of the URL
        return PARTIAL
    role_of = rule.roles.get
    told = list(NOTHING)
    lines: list[bytes] = []
    for name, value, _, kind, line, _ in response.fields:
        role = role_of(name)
        if role is None:
            if not kind or (kind >= EXPECT and kind != TRAILER and kind != REQUEST_ID):
                lines.append(line)
            continue
        if role == NOT_STORED:
            continue
        before = told[role]
        if before is None:
            told[role] = value
        elif role in _FIRST_COUNTS:
            continue
        elif before != value:
            told[role] = b"%b, %b" % (before, value)
        if role != AGE:
            lines.append(line)
    control = told[CACHE_CONTROL]
    said = of_answer(control) if control is not None else NO_DIRECTIVES
    expires = told[EXPIRES]
    if told[TARGETED] is not None and (aimed := targeted(response.fields)) is not None:
        said, expires = aimed, None  # RFC 9213 section 2.2
    refused = _forbidden(asks, status, said)
    if refused is not None:
        return refused
    if response.length > rule.max_object:
        return TOO_LARGE
    gone = said.hidden
    if gone and not gone.isdisjoint(_ESSENTIAL):
        return PRIVATE
    vary = told[VARY]
    if vary is not None and rule.key_images:
        vary = without(vary, b"accept")  # what it says of pictures is in the lane
    selected = selection(vary, request) if vary is not None else ()
    if selected is None:
        return VARIES
    stamp = told[DATE]
    date = parse_date(stamp, wall) if stamp is not None else None
    stamp = told[LAST_MODIFIED]
    modified = parse_date(stamp, wall) if stamp is not None else None
    made = date if date is not None else int(wall)
    lifetime, explicit = _lifetime(status, said, expires, modified, rule, made, wall)
    if lifetime is None:
        return NO_LIFETIME
    if (
        told[SET_COOKIE] is not None
        and (rule.store_set_cookie == "never" or not (explicit or said.public))
        and b"set-cookie" not in gone
    ):
        return COOKIE
    etag = told[ETAG]
    if etag is not None and _ETAG.fullmatch(etag) is None:
        etag = None
    if response.names:
        gone |= nominated(response.names)
    if date is None:
        gone |= _DATED  # what it says is no date
    if gone:
        lines = [line for line in lines if line.partition(b":")[0].lower() not in gone]
    if date is None:
        lines.append(_dated(made))
    entry = Entry(key, lane, selected, status, response.line, b"".join(lines))
    entry.born = born = now - initial_age(told[AGE], date, asked, now, wall)
    # The rule's windows prolong what is known to be for all, and not what says nothing of itself, nor an error that is
    # kept for a moment.
    lasting = explicit or (lifetime > 0 and status not in rule.negative)
    _set_times(entry, said, lifetime + (born if rule.ttl is None else now), rule, windows=lasting)
    # With nothing to check it by, only what may be served is of any use.
    if etag is None and modified is None and now >= max(entry.fresh_until, entry.revalidate_until, entry.error_until):
        return NO_LIFETIME if lifetime <= 0 else OLD
    entry.etag = etag
    entry.last_modified = modified
    tagged = told[TAG]
    if tagged is not None:
        tags = tuple(dict.fromkeys(_TAG.findall(tagged)))
        if len(tags) > MOST_TAGS or max(map(len, tags), default=0) > LONGEST_TAG:
            return TAGS
        entry.tags = tags
    grouped = told[GROUPS]
    if grouped is not None:
        entry.groups = groups(grouped)
    return entry


def _forbidden(asks: Asks, status: int, said: Directives) -> Refused | None:
    """Why this may not be stored, whatever its lifetime (RFC 9111 section 3)."""
    if said.must_understand:
        if status not in UNDERSTOOD:
            return NOT_UNDERSTOOD
    elif said.no_store:
        return NO_STORE
    if said.private:
        return PRIVATE
    if asks.wishes.no_store:
        return ASKED_NOT_TO
    if asks.authorization and not (said.public or said.must_revalidate or said.s_maxage is not None):
        return AUTHORIZATION  # section 3.5
    return None


def _lifetime(
    status: int,
    said: Directives,
    expires: bytes | None,
    modified: int | None,
    rule: Rule,
    made: int,
    wall: float,
) -> tuple[float | None, bool]:
    """Seconds of freshness (section 4.2.1), and whether the answer itself says so; None: it may not be stored.

    What has to be checked each time (no-cache) has none, whatever it says or the rule does. The rule's `ttl` is not for
    errors: one that is made to last by it would go on when what was wrong has been put right; see `negative` for them.
    """
    lifetime: float | None = said.max_age if said.s_maxage is None else said.s_maxage
    if lifetime is None and expires is not None:
        until = parse_date(expires, wall)
        lifetime = until - made if until is not None else 0.0  # section 5.3
    explicit = lifetime is not None
    if lifetime is None:
        if status in rule.negative:
            lifetime = rule.negative[status]
        elif status in HEURISTIC or said.public:
            lifetime = 0.0
            if modified is not None and modified < made:  # section 4.2.2
                lifetime = min((made - modified) * rule.heuristic_share, rule.heuristic_longest)
        else:
            return None, False
    if rule.ttl is not None and status < 400:
        lifetime = rule.ttl
    return (0.0 if said.no_cache else lifetime), explicit


def initial_age(age: bytes | None, date: int | None, asked: float, now: float, wall: float) -> float:
    """The age in seconds with which an answer came (section 4.2.3): what it says, or by its date, or its way here.

    Dates are whole seconds, so the clock is read as such beside them: what was made within this second is new.
    """
    corrected = now - asked if now > asked else 0.0
    if age is not None:
        corrected += _age(age)
    if date is None:
        return corrected
    apparent = int(wall) - date
    return apparent if apparent > corrected else corrected


def _age(value: bytes) -> int:
    """Of several ages the first counts; what is no number says nothing (section 5.1)."""
    return seconds(value.partition(b",")[0].strip(b"\t "))


def _set_times(entry: Entry, said: Directives, fresh_until: float, rule: Rule, *, windows: bool) -> None:
    """Until when it may be used how: fresh, and stale as RFC 5861 has it unless that is forbidden (section 4.2.4).

    `windows`: whether those of the rule are for this answer.
    """
    entry.fresh_until = entry.revalidate_until = entry.error_until = fresh_until
    if (
        said.must_revalidate
        or said.proxy_revalidate
        or said.no_cache
        or (said.s_maxage is not None and rule.ttl is None)
    ):
        entry.strict = True
        return
    window: float | None = said.stale_while_revalidate
    if window is None and windows:
        window = rule.stale_while_revalidate
    entry.revalidate_until = fresh_until + (window or 0.0)
    window = said.stale_if_error
    if window is None and windows:
        window = rule.stale_if_error
    entry.error_until = fresh_until + (window or 0.0)


@lru_cache(16)
def _dated(wall: int) -> bytes:
    """The Date that an answer without one is given when it comes (RFC 9110 section 6.6.1)."""
    return b"Date: %b\r\n" % formatdate(wall, usegmt=True).encode("ascii")


def groups(value: bytes) -> tuple[bytes, ...]:
    """The names in Cache-Groups or Cache-Group-Invalidation: a list of strings (RFC 9875 sections 2 and 3).

    A field with anything else in it is no such list, and says nothing. What is more, or longer, than has to be
    supported is left out.
    """
    try:
        members = parse(value, tltype="list")
    except (ValueError, KeyError, IndexError, UnicodeError, OverflowError):
        return ()
    names: list[bytes] = []
    if not isinstance(members, list):
        return ()
    for item in members:
        name = item[0] if isinstance(item, tuple) else item
        if type(name) is not str:
            return ()
        if len(name) <= LONGEST_GROUP:
            names.append(name.encode("ascii"))
    return tuple(dict.fromkeys(names[:MOST_GROUPS]))


def made_at(fields: Sequence[Field]) -> int | None:
    """Date as Unix seconds."""
    for field in fields:
        if field[0] == b"date":
            return parse_date(field[1])
    return None
