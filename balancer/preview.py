"""A question to a plane, whom would a request get now, and its answer; picklable, and no turn is spent on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preview:
    """A request that nobody makes."""

    pool: str
    strategy: str | None = None
    """One of the built-in names or the pool's own; None asks every built-in one and the pool's own."""
    client: str = "127.0.0.1"
    path: str = "/"
    """With its query, if it matters."""
    headers: tuple[tuple[str, str], ...] = ()
    """Cookies too, for sticky sessions and hashing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One server of the pool, as the strategy that is asked sees it."""

    server: str
    state: str
    in_rotation: bool
    weight: float
    """As it counts now; 0 out of rotation."""
    inflight: int
    latency: float | None
    """The moving average in seconds; None before the first answer."""
    score: float | None
    """What the strategy compares, lowest first; None when it compares nothing."""


@dataclass(frozen=True, slots=True)
class PreviewAnswer:
    """What one strategy would pick."""

    strategy: str
    server: str | None
    """None: no server could be picked."""
    reason: str
    """A few words: "next in turn", "by its cookie", "no server in rotation"."""
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class RouteQuestion:
    """A request that nobody makes, of which only the route is wanted."""

    method: str
    host: str
    path: str
    """With its query, if it matters."""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RouteVerdict:
    """Why a route does not take it."""

    route: str
    reason: str


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """Which route takes it."""

    route: str | None
    """None: none does, and `reason` says what is answered."""
    reason: str
    others: tuple[RouteVerdict, ...]
    """Every other route, in the order of the configuration."""
