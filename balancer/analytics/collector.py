"""Finished requests become events here: who it was is hashed, what is no visitor's is left out, and the rest waits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from hashlib import blake2b
from ipaddress import ip_address
from itertools import repeat
from time import time as wall_time  # noqa: TID251  # when something happened is what the wall clock said
from typing import Any, Final

from balancer.analytics.event import COMMENT, COMMUNITY, POST, REPORT, TARGET_USER
from balancer.analytics.salts import Salts, key_of
from balancer.decision import Decision
from balancer.events.bots import Bots
from balancer.events.duplicates import Duplicates
from balancer.events.rules import Fields, Rule, Rules
from balancer.events.safe import is_harmless
from balancer.events.shapes import Shapes
from balancer.events.watched import Watched
from balancer.http1.cookies import cookie
from balancer.http1.head import RequestHead
from config.schema import Analytics

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
THINGS: Final = frozenset((COMMUNITY, POST, COMMENT, REPORT))
"""Dimensions whose numbers may happen to be those of users."""
REMEMBERED: Final = 20_000
"""Hashes of users, and of visitors, that are not worked out again."""
PEOPLE: Final = frozenset((TARGET_USER, "user", "user_id", "username", "author", "member", "name", "email", "mail"))
"""Dimensions that are hashed as users are, whatever they look like."""
Row = tuple[int, str, int | None, int | None, int, int, int, dict[str, str]]
"""An `Event`, as it is sent."""


class Collector:
    """An observer of decisions. It appends to a queue, and nothing else."""

    def __init__(
        self,
        settings: Analytics,
        salts: Salts,
        wall: Callable[[], float] = wall_time,
    ) -> None:
        self.rules = Rules(settings.events)
        self.queue: deque[Row] = deque()
        self.dropped = 0
        """Events for which there was no room."""
        self.counted = 0
        self.excluded: Counter[str] = Counter()
        """Requests that count for nothing, by why: bot, opt-out, duplicate."""
        self.shapes = Shapes()
        """Of requests that no rule is about."""
        self._room = settings.queue
        self._honor = settings.honor_opt_out
        self._salts = salts
        self._wall = wall
        self._who = tuple(_way(source) for source in settings.user)
        self._request_fields = self.rules.request_fields | {b"idempotency-key", b"dnt", b"sec-gpc"}
        headers = [source.partition(":")[2] for source in settings.user if source.startswith("response-header:")]
        self._answer_fields = self.rules.answer_fields | {name.lower().encode("latin-1") for name in headers}
        self._bots = Bots()
        self._window = settings.duplicates
        self._duplicates = Duplicates(settings.duplicates)
        self._users: dict[bytes, int] = {}
        self._visitors: dict[tuple[str, bytes, bytes], int] = {}
        self._visitors_of = 0
        self._unsent: Counter[str] = Counter()  # of `excluded`

    def adopt(self, other: Collector) -> None:
        """Go on where another one, of the configuration before, has ended."""
        self.queue, self.dropped, self.counted = other.queue, other.dropped, other.counted
        self.excluded, self._unsent, self.shapes = other.excluded, other._unsent, other.shapes

    def observe(self, decision: Decision) -> None:
        """Take in a finished request that some rule's method and path fit."""
        watched = decision.event
        assert watched is not None  # only such are shown
        if decision.outcome not in _WHOLE:
            return
        head = watched.head
        wanted = self._request_fields
        asked = {field[0]: field[1] for field in head.common.fields if field[0] in wanted}
        answer = watched.answer
        wanted = self._answer_fields
        answered = {f[0]: f[1] for f in answer.fields if f[0] in wanted} if answer is not None else _NOTHING
        status = decision.status
        method = decision.method
        user: int | None = None
        visitor: int | None = None
        name: bytes | None = None
        known = False
        more = watched.more is not None
        for rule, found in _pairs(watched) if more else zip(watched.rules, repeat(watched.found)):
            if not rule.counts(status, asked, answered) or (rule.hosts and _host(head.host) not in rule.hosts):
                continue
            if not known:
                if self._bots.is_one(decision.user_agent):
                    self._exclude("bot")
                    return
                if self._honor and (asked.get(b"dnt") == b"1" or asked.get(b"sec-gpc") == b"1"):
                    self._exclude("opt-out")
                    return
                for way in self._who:
                    name = way(decision, head, answered)
                    if name:
                        user = self._user(name)
                        break
                else:
                    visitor = self._visitor(decision)
                known = True
            if self._window and method not in SAFE:
                who = user if user is not None else visitor
                key = asked.get(b"idempotency-key")
                same: tuple[object, ...] = (
                    (rule.name, who, head.target, answered.get(b"location"))
                    if key is None
                    else (rule.name, who, blake2b(key, digest_size=16).digest())
                )
                if self._duplicates.is_one(same, decision.finished):
                    self._exclude("duplicate")
                    continue
            dims = rule.taken(found, head.target, asked, answered) if rule.takes else {}
            for dimension, value in dims.items():
                if not value.isdecimal() or len(value) > 20 or dimension not in THINGS:
                    dims[dimension] = self._kept(dimension, value, name)
            if len(self.queue) >= self._room:
                self.dropped += 1
                continue
            self.counted += 1
            self.queue.append(
                (
                    int(self._wall() * 1000),
                    rule.name,
                    user,
                    visitor,
                    status,
                    int((decision.finished - decision.started) * 1e6),
                    decision.bytes_out,
                    dims,
                )
            )

    def learn(self, decision: Decision) -> None:
        """Take in a successful request that no rule is about, for what rules might be written."""
        self.shapes.learn(decision.method, decision.target, decision.status == 201)

    def take(self, most: int) -> list[tuple[Any, ...]]:
        """The oldest events, at most so many, and how many were left out since the last time."""
        queue = self.queue
        taken: list[tuple[Any, ...]] = [queue.popleft() for _ in range(min(most, len(queue)))]
        if self._unsent and len(taken) < most:
            at = round(self._wall() * 1000)
            taken += [(at, f"~{why}", None, None, 0, 0, n, {}) for why, n in self._unsent.items()]
            self._unsent.clear()
        return taken

    @property
    def has_some(self) -> bool:
        return bool(self.queue or self._unsent)

    def key_of_user(self, name: str) -> int:
        """The key of a user of the app, as their id is in its answers or tokens."""
        return self._user(name.encode())

    def _exclude(self, why: str) -> None:
        self.excluded[why] += 1
        self._unsent[why] += 1

    def _user(self, name: bytes) -> int:
        key = self._users.get(name)
        if key is None:
            if len(self._users) >= REMEMBERED:
                self._users.clear()
            key = self._users[name] = key_of(self._salts.users, name)
        return key

    def _visitor(self, decision: Decision) -> int:
        now = self._wall()
        day = int(now // 86_400)
        if day != self._visitors_of or len(self._visitors) >= REMEMBERED:
            self._visitors.clear()
            self._visitors_of = day
        seen = (decision.client, decision.user_agent, decision.host)
        key = self._visitors.get(seen)
        if key is None:
            text = b"\0".join((network_of(decision.client), decision.user_agent, decision.host))
            key = self._visitors[seen] = key_of(self._salts.of_day(now), text)
        return key

    def _kept(self, dimension: str, value: str, name: bytes | None) -> str:
        """A dimension as it may be kept."""
        own = name is not None and value.encode() == name and not (dimension in THINGS and value.isdecimal())
        if own or dimension in PEOPLE or not is_harmless(value):
            return f"~{self._user(value.encode()) & (1 << 64) - 1:016x}"
        return value


_WHOLE: Final = frozenset(("ok", "answered", "tunnel"))
"""Outcomes of requests that their clients have had the whole answer to."""
_NOTHING: Final[Fields] = {}
Way = Callable[[Decision, RequestHead, Fields], bytes | None]


def _way(source: str) -> Way:
    """Who a request is from, from one place."""
    kind, _, name = source.partition(":")
    if kind == "jwt":
        return lambda decision, head, answered: _claim(decision, name)
    if kind == "auth":
        return lambda decision, head, answered: _identity(decision)
    field = name.encode("latin-1")
    if kind == "cookie":

        def session(decision: Decision, head: RequestHead, answered: Fields) -> bytes | None:
            value = cookie(head, field)
            return b"cookie\0" + value if value else None

        return session
    lower = field.lower()
    return lambda decision, head, answered: answered.get(lower)


def _pairs(watched: Watched) -> Iterable[tuple[Rule, tuple[bytes, ...]]]:
    """Each rule that fits, with what its path's names stand for."""
    found = watched.found
    pairs = [(rule, found) for rule in watched.rules]
    more = watched.more
    while more is not None:
        pairs += [(rule, more.found) for rule in more.rules]
        more = more.more
    return pairs


def _identity(decision: Decision) -> bytes | None:
    return decision.identity.name.encode() if decision.identity is not None else None


def _claim(decision: Decision, name: str) -> bytes | None:
    identity = decision.identity
    value = identity.claims.get(name) if identity is not None else None
    return str(value).encode() if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def network_of(client: str) -> bytes:
    """The network of an address: /24 of IPv4 and /48 of IPv6, within which a visitor's address may change."""
    try:
        address = ip_address(client)
    except ValueError:
        return client.encode()
    return address.packed[:3] if address.version == 4 else address.packed[:6]


def _host(host: bytes) -> bytes:
    """Without its port."""
    return host.partition(b":")[0].lower()
