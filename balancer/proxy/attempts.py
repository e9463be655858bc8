"""Whether a request that failed is tried again, and where: the rules, apart from the doing."""

from __future__ import annotations

from typing import Final, Literal

from balancer.routing import Route
from balancer.server import Server

Verdict = Literal["give-up", "same-server", "elsewhere", "elsewhere-on-budget"]

MOST_DIALS: Final = 5
"""Servers that may refuse the connection before the client is told."""


class Attempts:
    """What has been tried for one request. Made when something fails for the first time.

    A connection that could not be opened cost no server anything: it counts neither as an attempt nor against the
    retry budget. A pooled connection that its server was just closing is replaced once, on the same server, if the
    request may be repeated at all. Everything else may have been acted on, so it needs a method that may be repeated
    (RFC 9110 section 9.2.2), a body still at hand, attempts left and the budget's consent.
    """

    __slots__ = ("_dials", "_renewed", "_spent", "tried")

    def __init__(self) -> None:
        self.tried: list[Server] = []
        self._dials = 0
        self._spent = 0  # attempts that a server may have worked on
        self._renewed = False

    def verdict(self, kind: str, route: Route, *, repeatable: bool, stale: bool) -> Verdict:
        """What to do after a failure of this kind, which it counts.

        `kind` is one of `Exchange.upstream_failed`, or "status" for an answer that is to be had elsewhere. `stale`
        says that the request went out on a pooled connection and not a byte came back.
        """
        if kind in ("connect", "connect-timeout"):
            self._dials += 1
            return "elsewhere" if "connect" in route.retry_when and self._dials < MOST_DIALS else "give-up"
        if not repeatable:
            return "give-up"
        if kind == "reset" and stale and not self._renewed and "stale-connection" in route.retry_when:
            self._renewed = True
            return "same-server"
        if kind == "status" or (kind == "reset" and "reset-before-response" in route.retry_when):
            self._spent += 1
            return "elsewhere-on-budget" if self._spent < route.attempts else "give-up"
        return "give-up"
