"""The client of an exchange that has none."""

from __future__ import annotations

from balancer.http1.proxy_protocol import Endpoint
from balancer.proxy.sides import ClientSide, Serving, UpstreamSide


class Nobody:
    """It takes nothing; what is said of a client to servers is what was said of another one."""

    def __init__(self, client: ClientSide) -> None:
        self.address = client.address
        self.shown = client.shown
        self.trusted = client.trusted
        self.scheme = client.scheme
        self.node = client.node
        self.vouched = client.vouched
        self._ends = client.ends()
        self.deadline = 0.0
        self.last = False

    def ends(self) -> tuple[Endpoint | None, Endpoint | None]:
        return self._ends

    def serve(self, exchange: Serving) -> None:
        pass

    def send(self, data: bytes) -> None:
        pass

    def hold(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def invite(self) -> None:
        pass

    def finished(self, reusable: bool) -> None:
        pass

    def cut(self) -> None:
        pass

    def end(self) -> None:
        pass

    def shut(self) -> None:
        pass

    def tunnel(self, upstream: UpstreamSide, idle: float) -> None:
        pass
