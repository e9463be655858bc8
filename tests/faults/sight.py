"""What a client saw of an answer, as h11 reads it: whole, or visibly cut."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import h11

FIN = "fin"
RESET = "reset"
OPEN = "open"
SILENT = "silent"  # nothing more came in time, and the connection is open


@dataclass(slots=True)
class Seen:
    """One answer. It is `whole` only if its framing says so, never because it stopped."""

    status: int = 0  # 0: not even a head
    interim: list[int] = field(default_factory=list)
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    ending: str = OPEN
    raw: bytes = b""
    rest: bytes = b""  # what came after its end
    nonsense: str = ""  # why it is no answer


class Sight:
    """Reads one answer off a stream."""

    def __init__(self, method: str = "GET") -> None:
        self.seen = Seen()
        self._judge = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
        self._judge.send(h11.Request(method=method, target="/", headers=[("Host", "s")]))
        self._judge.send(h11.EndOfMessage())

    async def read(self, reader: asyncio.StreamReader, patience: float) -> Seen:
        """Until the answer is whole or the stream ends."""
        seen = self.seen
        try:
            async with asyncio.timeout(patience):
                while not seen.whole and not seen.nonsense:
                    data = await reader.read(65536)
                    if not data:
                        seen.ending = FIN
                        self._feed(b"")
                        break
                    seen.raw += data
                    self._feed(data)
        except ConnectionError:
            seen.ending = RESET
        except TimeoutError:
            seen.ending = SILENT
        return seen

    def _feed(self, data: bytes) -> None:
        seen, judge = self.seen, self._judge
        try:
            judge.receive_data(data)
            while True:
                event = judge.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    return
                if isinstance(event, h11.InformationalResponse):
                    seen.interim.append(event.status_code)
                elif isinstance(event, h11.Response):
                    seen.status = event.status_code
                    seen.fields = dict(event.headers)
                elif isinstance(event, h11.Data):
                    seen.body += bytes(event.data)
                else:
                    seen.whole = True
                    seen.rest = judge.trailing_data[0]
                    return
        except h11.RemoteProtocolError as error:
            if data:  # at the end of the stream it only says that the answer is cut
                seen.nonsense = str(error)
