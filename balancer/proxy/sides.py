"""The seams of an exchange: what it asks of the client's side, of the server's side and of the plane."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, Protocol

from balancer.decision import Decision
from balancer.http1.error_page import ErrorPage
from balancer.http1.fields import Field
from balancer.http1.outgoing import Client
from balancer.http1.proxy_protocol import Endpoint
from balancer.routing import Route
from balancer.server import Server
from balancer.tally import ListenerTally

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange

NEVER = float("inf")
MANY_PIECES: Final = 64
"""Chunks of a body that came in one go, after which other connections get their turn."""
SLICE: Final = 16 * 1024
"""Bytes of a body in many small chunks that are worked on in one turn."""


class Finished(Protocol):
    """A request whose decision is complete, as those see it who count."""

    decision: Decision
    listener: ListenerTally
    route: Route


class Serving(Finished, Protocol):
    """What answers a request, as its client's connection sees it."""

    def start(self) -> None: ...

    def request_body(self, pieces: list[bytes]) -> None:
        """The next pieces of the client's body, unframed."""

    def request_end(self, trailers: list[Field]) -> None: ...

    def client_fault(self, status: int, reason: str) -> None:
        """The client broke its framing or stopped in mid-body."""

    def client_gone(self) -> None: ...

    def client_full(self) -> None:
        """The client does not take what it is sent, until `client_drained`."""

    def client_drained(self) -> None: ...


class ClientSide(Client, Protocol):
    """The connection a request came in by."""

    address: str
    deadline: float
    last: bool
    """The listener is closing: the answer under way is the last one of this connection."""

    def ends(self) -> tuple[Endpoint | None, Endpoint | None]:
        """The client's address and port, and those it has connected to; None for what has none."""

    def serve(self, serving: Serving) -> None:
        """From now on this is what answers the request under way; it is started."""

    def send(self, data: bytes) -> None: ...

    def hold(self) -> None:
        """Stop reading: the server does not take more for now. Idempotent, as is `resume`."""

    def resume(self) -> None: ...

    def invite(self) -> None:
        """The server wants the body that the client has announced; from now on it is the client that is waited for."""

    def finished(self, reusable: bool) -> None:
        """The answer is complete. Without `reusable` the connection closes once it has been sent."""

    def cut(self) -> None:
        """Close at once, so that an incomplete answer looks incomplete."""

    def tunnel(self, upstream: UpstreamSide, idle: float) -> None:
        """From now on everything that comes is for the other side, untouched; `idle` seconds of silence end it."""

    def end(self) -> None:
        """Of a tunnel: the other side will send no more."""

    def shut(self) -> None:
        """Of a tunnel: the other side is gone."""


class UpstreamSide(Protocol):
    """A connection to a server."""

    deadline: float
    """Monotonic; `NEVER` when nothing is awaited. The sweeper calls the exchange's `deadline_passed`."""
    heard: bool
    """Something has come of an answer, if not its whole head."""
    excess: bool
    """More has come than the answer that just ended: where that ends may not be what its server meant."""

    def send(self, data: bytes) -> None: ...

    def hold(self) -> None: ...

    def resume(self) -> None: ...

    def release(self, reusable: bool) -> None:
        """The exchange has no more business with it: it becomes idle, or closes."""

    def end(self) -> None: ...

    def shut(self) -> None: ...

    def tunnel(self, client: ClientSide, idle: float) -> None: ...


class Surroundings(Protocol):
    """What an exchange finds in its plane."""

    rng: Random
    date: bytes
    """The Date field's value, refreshed by the plane's tick."""
    error_page: ErrorPage
    """What browsers see of an error."""

    def connect(self, server: Server, exchange: Exchange, *, recent_only: bool, fresh: bool) -> None:
        """Find or open a connection; `upstream_ready` or `upstream_failed` follows, perhaps before this returns.

        `recent_only` takes a pooled connection only when it was in use a moment ago; `fresh` takes none at all.
        """

    def gave_up(self, exchange: Exchange) -> None:
        """The exchange no longer wants the connection that is being opened for it."""

    def over(self, finished: Finished) -> None:
        """A request is over and its decision complete."""
