"""The record that every finished exchange leaves; log, metrics and all other observers are views of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from balancer.events.watched import Watched
    from balancer.http1.substitution import Substitution
    from balancer.server import Server


class Place(Protocol):
    """Something that a request has until it is over."""

    def release(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whom a route's `auth` knows."""

    kind: Literal["api-key", "basic", "jwt", "forward"]
    name: str
    """The id of the key, the user, the subject; as logs may show it."""
    claims: Mapping[str, object] = field(default_factory=dict)
    """Of a token."""


class Decision:
    """What was asked, what was decided and what came of it. Filled in place while the exchange runs.

    Times are monotonic seconds, 0.0 for what did not happen. `outcome` is one word: "ok" (the client got the
    server's whole answer), "answered" (the balancer's own: redirect, fixed answer, maintenance), "refused" (the
    request was at fault), "unserved" (no server could be asked), "client-abort", "upstream-connect",
    "upstream-reset", "upstream-timeout", "upstream-malformed", "deadline", "tunnel".
    """

    __slots__ = (
        "asked",
        "attempts",
        "bytes_in",
        "bytes_out",
        "cache",
        "client",
        "denied",
        "event",
        "extra",
        "finished",
        "first_byte",
        "guarded",
        "holds",
        "host",
        "identity",
        "listener",
        "method",
        "moment",
        "outcome",
        "pool",
        "queued",
        "reasons",
        "request_id",
        "reused",
        "route",
        "sent",
        "server",
        "started",
        "status",
        "substitution",
        "target",
        "tls",
        "user_agent",
        "version",
    )

    def __init__(self, listener: str, client: str, started: float) -> None:
        self.listener = listener
        self.client = client  # the client's address, behind trusted proxies too
        self.started = started  # head complete
        self.method = ""
        self.host = b""
        self.target = b""
        self.version = b""
        self.user_agent = b""
        self.tls = ""  # the version the client speaks, such as TLSv1.3; empty for plain HTTP
        self.request_id = b""
        self.route = ""
        self.pool = ""
        self.server: Server | None = None  # the last one asked
        self.attempts = 0
        self.reasons: list[tuple[str, str]] | None = None  # (server name, why it was left) of failed attempts
        self.reused = False  # the last attempt went over a pooled connection
        self.queued = 0.0  # seconds spent waiting for a server
        self.sent = 0.0  # the last attempt's head went out
        self.first_byte = 0.0
        self.finished = 0.0
        self.status = 0
        self.bytes_in = 0  # request body
        self.bytes_out = 0  # response body as the client got it
        self.outcome = ""
        self.cache = ""  # what the cache did; empty on routes without one
        self.identity: Identity | None = None  # who it is from, once it has shown it
        self.guarded = ""  # why a guard of the route refused it, or would have in a dry run; empty when none did
        self.denied = ""  # what each way of `auth` had against it, until one let it in
        self.event: Watched | None = None  # what it may mean for the product
        self.moment = started  # by which guards judge: when it came, or when its last question was answered
        self.asked = 0  # the step of the guard that has, or had, a question
        self.holds: list[Place] | None = None
        self.substitution: Substitution | None = None  # what the server is told in the place of what the client said
        self.extra = b""  # complete field lines for the answer, from a guard
