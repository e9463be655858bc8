"""Whose fault it was: the two errors of the data path."""

from __future__ import annotations


class ClientFault(Exception):
    """The request cannot be served as it came; `status` is the answer it deserves.

    The connection closes after it, because nothing after a doubtful message may be read as a request. `extra` is
    complete field lines that the answer has to have.
    """

    def __init__(self, status: int, reason: str, extra: bytes = b"") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.extra = extra


class UpstreamFault(Exception):
    """A server sent what is no HTTP/1.x response."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
