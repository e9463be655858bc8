"""/api/infrastructure/load-balancer/pools/{pool}/servers: the operator's word on single servers."""

from __future__ import annotations

from urllib.parse import quote

from api.answers import ServerList, ServerStatus
from api.operation import Call, Operation, Reply
from api.problems import Problem
from api.requests import NewServer, ServerChange, WaitQuery
from api.services import Services
from api.status import View
from api.translation import as_problems
from balancer import changes
from config.overlay import ServerState
from config.problems import path_text

POOLS = "/api/infrastructure/load-balancer/pools"
WAITING = 32
"""Callers who wait for a server to be empty. Each holds a connection, of which there must be some for others."""
_CONFLICT = {409: "What is in force does not allow it."}
_UNKEPT = {507: "The change could not be kept on disk, and so was not made."}


class Servers:
    """Every change here goes into the overlay and survives a restart; `done` means in force in every plane."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._control = services.control
        self._waiting = 0

    def operations(self) -> tuple[Operation, ...]:
        every = POOLS + "/{pool}/servers"
        one = every + "/{server}"
        done = {200: "Done; what holds for the server now."}
        drained = {**done, 202: "Done, but `wait` is over and something is still in flight."}
        return (
            Operation("GET", every, "viewer", self.list_servers, {200: "Every server of the pool."}),
            Operation("POST", every, "admin", self.add_server, {201: "Added."}, {**_CONFLICT, **_UNKEPT}),
            Operation("GET", one, "viewer", self.get_server, {200: "The server."}),
            Operation("PATCH", one, "operator", self.change_server, done, _UNKEPT),
            Operation("DELETE", one, "admin", self.remove_server, {204: "Removed."}, {**_CONFLICT, **_UNKEPT}),
            Operation("POST", one + "/drain", "operator", self.drain_server, drained, _UNKEPT),
            Operation("POST", one + "/maintenance", "operator", self.maintain_server, drained, _UNKEPT),
            Operation("POST", one + "/ready", "operator", self.ready_server, done, _UNKEPT),
        )

    async def list_servers(self, call: Call) -> ServerList:
        """Every server of a pool."""
        pool = call.path["pool"]
        with as_problems():
            self._control.standing.pool(pool)
        view = await View.now(self._services)
        found = view.report.pools.get(pool)
        items = list(view.pool(found).servers.values()) if found is not None else []
        return ServerList(items=items, next=None)

    async def get_server(self, call: Call) -> ServerStatus:
        """One server of a pool."""
        return await self._status(call)

    async def add_server(self, call: Call, body: NewServer) -> Reply[ServerStatus]:
        """Add a server to a pool.

        It gets traffic once its first health check has passed.
        """
        pool, name = call.path["pool"], body.called
        with as_problems({path_text(("pools", pool, "servers", name)): ""}):
            await self._control.change(changes.add_server(pool, name, body.settings), call.author)
        where = f"{POOLS}/{quote(pool, safe='')}/servers/{quote(name, safe='')}"
        return Reply(await self._server(pool, name), 201, {"Location": where})

    async def change_server(self, call: Call, body: ServerChange) -> ServerStatus:
        """Change a server's weight, its cap, or whether it is a backup."""
        settings = {name: getattr(body, name) for name in body.model_fields_set}
        with as_problems():
            await self._control.change(
                changes.change_server(call.path["pool"], call.path["server"], settings), call.author
            )
        return await self._status(call)

    async def remove_server(self, call: Call) -> None:
        """Take a server out of its pool.

        It finishes what it has. The last server of a pool stays.
        """
        with as_problems():
            await self._control.change(changes.remove_server(call.path["pool"], call.path["server"]), call.author)

    async def drain_server(self, call: Call, query: WaitQuery) -> Reply[ServerStatus]:
        """Let a server finish what it has and give it nothing new.

        With `wait`, the answer comes when nothing is in flight any more (200), or when the time is up (202); the
        server stays drained either way. While 32 wait already, it comes at once.
        """
        return await self._mark(call, "drained", query)

    async def maintain_server(self, call: Call, query: WaitQuery) -> Reply[ServerStatus]:
        """As drain, and do not check its health either."""
        return await self._mark(call, "maintenance", query)

    async def ready_server(self, call: Call) -> ServerStatus:
        """Let a drained server, or one in maintenance, have traffic again."""
        with as_problems():
            await self._control.change(changes.set_state(call.path["pool"], call.path["server"], None), call.author)
        return await self._status(call)

    async def _mark(self, call: Call, state: ServerState, query: WaitQuery) -> Reply[ServerStatus]:
        pool, server = call.path["pool"], call.path["server"]
        with as_problems():
            await self._control.change(changes.set_state(pool, server, state), call.author)
        empty = query.wait is None or await self._emptied(pool, server, query.wait)
        return Reply(await self._status(call), 200 if empty else 202)

    async def _emptied(self, pool: str, server: str, wait: float) -> bool:
        """Whether nothing is in flight there within the time; with too many who wait, whether nothing is now."""
        if self._waiting >= WAITING:
            return await self._control.emptied(pool, server, 0.0)
        self._waiting += 1
        try:
            return await self._control.emptied(pool, server, wait)
        finally:
            self._waiting -= 1

    async def _status(self, call: Call) -> ServerStatus:
        return await self._server(call.path["pool"], call.path["server"])

    async def _server(self, pool: str, name: str) -> ServerStatus:
        with as_problems():
            self._control.standing.server(pool, name)
        view = await View.now(self._services)
        found = view.report.pools.get(pool)
        servers = view.pool(found).servers if found is not None else {}
        if name not in servers:  # it has gone while planes were asked
            raise Problem(404, f"pool {pool!r} has no server {name!r} any more")
        return servers[name]
