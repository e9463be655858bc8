"""A server as the policies of one plane see it."""

from __future__ import annotations

import errno
from typing import Final

from balancer.ewma import PeakEwma
from balancer.tally import ServerTally
from config.schema import Connections

ServerKey = tuple[str, str]
"""Pool name and server name."""

OURS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
"""Errors of connecting for which the server is not to blame: descriptors, memory or local ports have run out."""


class Server:
    """One member of a pool: what the operator said of it and what this plane knows of it.

    Kept over reloads while its key and its URL stay the same, with its counts, latency and idle connections.
    Each reason to be out of rotation has one owner; whoever flips one calls the pool's `refresh`.
    """

    __slots__ = (
        "backup",
        "cap",
        "checking",
        "down",
        "drained",
        "ejected",
        "ejected_until",
        "host",
        "idle",
        "inflight",
        "keeping",
        "key",
        "latency",
        "maintenance",
        "name",
        "outlier",
        "port",
        "ramp",
        "removed",
        "tally",
        "tunnels",
        "up_since",
        "url",
        "way",
        "weight",
        "weight_set",
    )

    def __init__(self, key: ServerKey, url: str, host: str, port: int, latency: PeakEwma) -> None:
        self.key = key
        self.name = key[1]
        self.url = url
        self.host = host  # a path when port is 0: a Unix socket
        self.port = port
        self.latency = latency
        self.tally = ServerTally()
        # What the operator says (owner: control, through a snapshot).
        self.weight_set = 1  # as configured
        self.weight = 1.0  # as strategies see it: `weight_set` times `ramp`
        self.ramp = 1.0  # rises from a tenth to 1 during slow start (owner: the pool)
        self.keeping = Connections()  # how many idle connections, and how long
        self.way: object | None = None  # a `server_tls.Way` if connections do not begin with the first request
        self.cap = 0  # requests in flight it may have; 0 means no cap
        self.backup = False
        self.drained = False
        self.maintenance = False
        self.removed = False  # left the configuration; lives on only in exchanges and tunnels under way
        # What the prober says (owner: control).
        self.checking = False  # never passed nor failed a check
        self.down = False
        # What live traffic says (owner: this plane's outlier detector).
        self.ejected = False
        self.outlier: object | None = None
        self.ejected_until: float | None = None
        self.up_since = 0.0  # came into rotation (owner: the pool)
        # inflight rises in Pool.take and falls in Pool.give.
        self.inflight = 0
        self.tunnels = 0
        self.idle: list[object] = []  # upstream connections, last used on top (owner: proxy.dialer)

    def __repr__(self) -> str:
        return f"<Server {self.key[0]}/{self.name} {self.state} inflight={self.inflight}>"

    @property
    def state(self) -> str:
        """The first reason to be out of rotation, or "up"."""
        for reason in ("maintenance", "drained", "checking", "down", "ejected"):
            if getattr(self, reason):
                return reason
        return "up"
