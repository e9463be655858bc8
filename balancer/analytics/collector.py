"""Finished requests become events here: who it was is hashed, what is no visitor's is left out, and the rest waits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from hashlib import blake2b
from ipaddress import ip_address
from time import monotonic
from time import time as wall_time  # noqa: TID251  # when something happened is what the wall clock said
from typing import Any, Final

from balancer.analytics.event import COMMENT, COMMUNITY, POST, REPORT, TARGET_USER
from balancer.analytics.salts import Salts, key_of
from balancer.decision import Decision
from balancer.events.bots import Bots
from balancer.events.duplicates import Duplicates
from balancer.events.rules import Rules
from balancer.events.safe import is_harmless
from balancer.events.shapes import Shapes
from balancer.events.watched import Watched
from balancer.http1.cookies import cookie
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
        clock: Callable[[], float] = monotonic,
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
        self._clock = clock
        self._who = tuple(_way(source) for source in settings.user)
        self._bots = Bots()
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
        head = watched.head
        status = decision.status
        answer = watched.answer
        events = [
            (rule, found)
            for rule, found in watched.matches
            if rule.counts(status, head, answer) and (not rule.hosts or _host(head.host) in rule.hosts)
        ]
        if not events or decision.outcome not in _WHOLE:
            return
        if self._bots.is_one(decision.user_agent):
            self._exclude("bot")
            return
        if self._honor and (head.value(b"dnt") == b"1" or head.value(b"sec-gpc") == b"1"):
            self._exclude("opt-out")
            return
        name = self._name(decision, watched)
        user = self._user(name) if name is not None else None
        visitor = self._visitor(decision) if user is None else None
        now = self._wall()
        repeats = decision.method not in SAFE
        duration = round((decision.finished - decision.started) * 1e6)
        for rule, found in events:
            if repeats and self._duplicates.is_one(
                (rule.name, *_same(watched, user if user is not None else visitor)), self._clock()
            ):
                self._exclude("duplicate")
                continue
            dims = rule.taken(found, head, answer)
            if dims:
                dims = {dimension: self._kept(dimension, value, name) for dimension, value in dims.items()}
            if len(self.queue) >= self._room:
                self.dropped += 1
                continue
            self.counted += 1
            self.queue.append((round(now * 1000), rule.name, user, visitor, status, duration, decision.bytes_out, dims))

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

    def _name(self, decision: Decision, watched: Watched) -> bytes | None:
        for way in self._who:
            found = way(decision, watched)
            if found:
                return found
        return None

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
Way = Callable[[Decision, Watched], bytes | None]


def _way(source: str) -> Way:
    """Who a request is from, from one place."""
    kind, _, name = source.partition(":")
    if kind == "jwt":
        return lambda decision, _: _claim(decision, name)
    if kind == "auth":
        return lambda decision, _: decision.identity.name.encode() if decision.identity is not None else None
    field = name.encode("latin-1")
    if kind == "cookie":

        def session(_: Decision, watched: Watched) -> bytes | None:
            value = cookie(watched.head, field)
            return b"cookie\0" + value if value else None

        return session
    lower = field.lower()
    return lambda _, watched: watched.answer.value(lower) if watched.answer is not None else None


def _claim(decision: Decision, name: str) -> bytes | None:
    identity = decision.identity
    value = identity.claims.get(name) if identity is not None else None
    return str(value).encode() if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _same(watched: Watched, who: int | None) -> Sequence[object]:
    """What makes two requests the same one, tried again."""
    head = watched.head
    key = head.value(b"idempotency-key")
    if key is not None:
        return who, blake2b(key, digest_size=16).digest()
    location = watched.answer.value(b"location") if watched.answer is not None else None
    return who, head.target[:512], location[:512] if location is not None else None


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
