"""The server that sentinels say is the master of this moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from balancer.redis_connection import Reach, Unreached, asked, disconnect
from config.redis_url import RedisPlace, RedisUrl

PATIENCE: Final = 0.5
"""Seconds for one sentinel; there are others."""
SWITCH: Final = b"+switch-master"
"""The channel on which sentinels say that there is a new master."""


class Sentinels:
    """Asks one sentinel after the other, the one that has answered last first."""

    def __init__(self, reach: Reach, url: RedisUrl, moved: Callable[[RedisPlace], None] = lambda place: None) -> None:
        """`moved` is told of each master that is another than the one before."""
        self.master: RedisPlace | None = None
        """The one that was connected to last."""
        self._reach = reach
        self._url = url
        self._moved = moved
        self._order = list(url.nodes)

    @property
    def name(self) -> str:
        """What the sentinels call the master."""
        return self._url.master

    async def ask(self) -> RedisPlace:
        """Where the master is. Raises `Unreached`."""
        said = []
        for place in tuple(self._order):
            try:
                found = await self._asked(place)
            except Exception as error:  # whatever it was, there are others
                said.append(f"{place}: {self._reach.reason(error)}")
                continue
            if found is not None:
                self._order.remove(place)
                self._order.insert(0, place)
                return found
            said.append(f"{place}: it does not know {self._url.master}")
        raise Unreached("sentinel", "no sentinel says where the master is: " + "; ".join(said))

    async def open(self, patience: float) -> AbstractConnection:
        """A connection to the master. Raises `Unreached`, and what opening it raises."""
        place = await self.ask()
        connection = await self._reach.open(place, patience)
        try:
            role = await asked(connection, patience, "ROLE")
        except ResponseError:
            role = None  # a user who may not ask: READONLY will tell
        except BaseException:
            await disconnect(connection)
            raise
        if isinstance(role, list) and role and role[0] != b"master":
            await disconnect(connection)
            raise Unreached("READONLY", f"{place} is not the master that the sentinels take it for: they know soon")
        before, self.master = self.master, place
        if before is not None and place != before:
            self._moved(place)
        return connection

    async def open_sentinel(self, patience: float) -> AbstractConnection:
        """A connection to any of them, to listen on."""
        last: Exception = Unreached("sentinel", "there is no sentinel")
        for place in tuple(self._order):
            try:
                return await self._reach.open(place, patience, sentinel=True)
            except Exception as error:  # as above
                last = error
        raise last

    def concerns(self, message: bytes) -> bool:
        """Whether what was said on `SWITCH`, a name, where it was and where it is, makes another server this master."""
        name, _, _, *now = (*message.split(b" "), b"", b"", b"")[:5]
        here = self.master
        return name == self._url.master.encode() and (here is None or now != [here.host.encode(), b"%d" % here.port])

    async def _asked(self, place: RedisPlace) -> RedisPlace | None:
        connection = await self._reach.open(place, PATIENCE, sentinel=True, lasting=False)
        try:
            answer = await asked(connection, PATIENCE, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.master)
        finally:
            await disconnect(connection)
        if not isinstance(answer, list) or len(answer) != 2:
            return None
        host, port = answer
        if not isinstance(host, bytes) or not isinstance(port, bytes) or not port.isdigit():
            return None
        return RedisPlace(host.decode("utf-8", "replace"), int(port[:6]))
