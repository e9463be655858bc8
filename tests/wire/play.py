"""Plays a script through a proxy, and holds what was seen against what had to be."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Final

import h11

from tests.wire.script import Case, Expected, Step
from tests.wire.server import AFTER, PAUSE, RESET, Message, Record, ScriptedServer, parse_head

QUESTION: Final = b"GET " + AFTER + b" HTTP/1.1\r\nHost: s\r\n\r\n"
LETTERLESS: Final = (b"connection", b"expect", b"te", b"transfer-encoding", b"upgrade")
"""Fields whose values are the same in any letters."""
OPEN, CLOSED, BROKEN = "open", "closed", "reset"


class Patience:
    """How long to wait for what has to come, and for what should not."""

    def __init__(self, answer: float, end: float) -> None:
        self.answer = answer
        self.end = end


@dataclass(slots=True)
class Seen:
    """What came of one script."""

    answers: list[Message] = field(default_factory=list)
    rest: bytes = b""
    """What the client got that is no answer."""
    end: str = ""
    """kept, closed, silent (open, but the next question is not answered), waiting (the next question was taken for
    the rest of what had been sent, and refused) or poisoned (it got another's answer)."""
    broken: bool = False
    """The client's connection ended with a reset."""
    record: Record = field(default_factory=lambda: Record([]))
    others: bool = True
    """A new client afterwards got its own answer."""


class Client:
    """A client's connection, with all that came on it."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw = b""
        self.state = OPEN

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            pass  # it was refused before it was all sent: what was answered is still to be read

    def more(self, until: float) -> bool:
        """Take what comes before `until`; False when nothing does, or nothing can any more."""
        left = until - monotonic()
        if left <= 0 or self.state != OPEN:
            return False
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(1 << 20)
        except TimeoutError:
            return False
        except OSError:
            self.state = BROKEN
            return False
        finally:
            if self.sock.fileno() >= 0:
                self.sock.settimeout(None)
        if not data:
            self.state = CLOSED
            return False
        self.raw += data
        return True

    def close(self) -> None:
        self.sock.close()


def answers(raw: bytes, ended: str, *, head: bool) -> tuple[list[Message], bytes]:
    """The responses in what a client has got, the last one perhaps not whole, and what is none.

    `head`: the first final one is the answer to a HEAD.
    """
    found: list[Message] = []
    while raw.startswith(b"HTTP/") and (at := raw.find(b"\r\n\r\n")) >= 0:
        message = parse_head(raw[:at])
        found.append(message)
        raw = raw[at + 4 :]
        status = status_of(message)
        length = message.values(b"content-length")
        if 100 <= status < 200 and status != 101:
            message.whole = True
        elif status == 101:
            message.whole = True
            message.body, raw = raw, b""
        elif status in (204, 304) or head:
            message.whole = True
            head = False
        elif message.values(b"transfer-encoding"):
            raw = _chunks(message, raw)
        elif length:
            size = int(length[0]) if length[0].isdigit() else 0
            message.body, raw = raw[:size], raw[size:]
            message.whole = len(message.body) == size
        else:
            message.body, raw = raw, b""
            message.whole = ended == CLOSED
        if not message.whole:
            break
    return found, raw


def _chunks(message: Message, raw: bytes) -> bytes:
    while (at := raw.find(b"\r\n")) >= 0:
        digits = raw[:at].partition(b";")[0]
        try:
            size = int(digits, 16)
        except ValueError:
            return raw
        if not size:
            end = raw.find(b"\r\n\r\n", at - 2 if raw[at : at + 4] == b"\r\n\r\n" else at)
            if raw[at : at + 4] == b"\r\n\r\n":
                message.whole = True
                return raw[at + 4 :]
            if end < 0:
                return raw
            for line in raw[at + 2 : end].split(b"\r\n"):
                name, _, value = line.partition(b":")
                message.fields.append((b"trailer/" + name.lower(), value.strip(b" \t")))
            message.whole = True
            return raw[end + 4 :]
        piece = raw[at + 2 : at + 2 + size]
        message.body += piece
        if len(raw) < at + 2 + size + 2:
            return b""
        raw = raw[at + 2 + size + 2 :]
    return raw


def status_of(message: Message) -> int:
    words = message.line.split(b" ")
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def finals(messages: Sequence[Message]) -> list[Message]:
    return [m for m in messages if m.whole and (status_of(m) >= 200 or status_of(m) == 101)]


def play(
    case: Case, port: int, server: ScriptedServer, patience: Patience, pieces: Sequence[bytes] | None = None
) -> Seen:
    """Play it once; `pieces` are the client's bytes cut up in another way."""
    seen = Seen(record=server.begin(case.turns))
    client = Client(port)
    steps = case.client if pieces is None else [Step("send", piece) for piece in pieces]
    head = case.data.startswith(b"HEAD ")
    wanted = sum(1 for answer in case.sees if not answer.line.startswith(b"1") or answer.line == b"101")
    try:
        for step in _joined(steps) if pieces is None else steps:
            _act(client, step, patience, server, seen.record)
        until = monotonic() + patience.answer
        while True:
            found, _ = answers(client.raw, client.state, head=head)
            if (case.sees and len(finals(found)) >= wanted) or not client.more(until):
                break
        if case.end == "closed" or any(answer.cut for answer in case.sees):
            until = monotonic() + patience.end
            while client.more(until):
                pass
        _look_at_the_end(client, case, seen, patience, head=head)
    finally:
        client.close()
    short = patience.answer if case.gets else 0
    server.wait(lambda: _arrived(case, seen.record), short)
    if case.gone:
        server.wait(lambda: all(link.closed for link in seen.record.links), patience.end)
    seen.others = _ask_anew(port, patience)
    return seen


def _joined(steps: Sequence[Step]) -> list[Step]:
    """Lines that follow each other leave in one write."""
    joined: list[Step] = []
    for step in steps:
        if step.act == "send" and joined and joined[-1].act == "send":
            joined[-1] = Step("send", joined[-1].data + step.data)
        else:
            joined.append(step)
    return joined


def _act(client: Client, step: Step, patience: Patience, server: ScriptedServer, record: Record) -> None:
    if step.act == "send":
        client.send(step.data)
    elif step.act == "pause":
        sleep(float(step.data or PAUSE))
    elif step.act == "until":
        until = monotonic() + patience.answer
        while step.data not in client.raw and client.more(until):
            pass
    elif step.act == "arrived":
        server.wait(lambda: record.arrived, patience.answer)
    elif step.act == "gone":
        server.wait(lambda: record.links and all(link.closed for link in record.links), patience.answer)
    elif step.act == "half-close":
        client.sock.shutdown(socket.SHUT_WR)
    elif step.act == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        client.state = BROKEN
    else:
        raise ValueError(f"no such act of a client: {step.act}")


def _look_at_the_end(client: Client, case: Case, seen: Seen, patience: Patience, *, head: bool) -> None:
    before, _ = answers(client.raw, client.state, head=head)
    if client.state == OPEN and case.end:
        client.send(QUESTION)
        until = monotonic() + patience.end
        while client.more(until):
            found, _ = answers(client.raw, client.state, head=head)
            if len(finals(found)) > len(finals(before)):
                break
    found, seen.rest = answers(client.raw, client.state, head=head)
    seen.broken = client.state == BROKEN
    if not case.end:
        seen.answers = found
        return
    last = found[-1] if len(found) > len(before) else None
    if last is not None and last.whole and last.body == b"after":
        found.pop()
        seen.end = "kept"
    elif last is not None:
        seen.end = "waiting" if status_of(last) >= 400 else "poisoned"
    else:
        seen.end = "closed" if client.state != OPEN else "silent"
    seen.answers = found


def _arrived(case: Case, record: Record) -> bool:
    if len(record.arrived) < len(case.gets):
        return False
    pairs = zip(case.gets, record.arrived, strict=False)
    return all(message.whole or (expected.cut and _given_up(record)) for expected, message in pairs)


def _given_up(record: Record) -> bool:
    return all(link.closed for link in record.links)


def _ask_anew(port: int, patience: Patience) -> bool:
    try:
        client = Client(port)
    except OSError:
        return False
    try:
        client.send(QUESTION)
        until = monotonic() + patience.answer
        while client.more(until):
            found, rest = answers(client.raw, client.state, head=False)
            if finals(found):
                return found[-1].body == b"after" and len(found) == 1 and not rest
        return False
    finally:
        client.close()


def complaints(case: Case, seen: Seen) -> list[str]:
    """What is not as the script has it, each in a few words; none: all is well."""
    wrong: list[str] = []
    _compare(wrong, "client", case.sees, seen.answers, broken=seen.broken)
    if seen.rest and not (seen.answers and not seen.answers[-1].whole):
        wrong.append(f"the client got bytes that are no answer: {seen.rest[:60]!r}")
    if case.end and seen.end != case.end:
        wrong.append(f"the connection is {seen.end}, not {case.end}")
    _compare(wrong, "server", case.gets, seen.record.arrived, broken=True)
    if seen.record.stray and not any(expected.cut for expected in case.gets):
        wrong.append(f"the server got bytes that are no request: {seen.record.stray[:60]!r}")
    if case.gone and not all(link.closed for link in seen.record.links):
        wrong.append("the connection to the server is still open")
    judged = [_judge(link.raw, link.heads) for link in seen.record.links if not link.switched]
    wrong += [f"h11 on what the server got: {fault}" for fault in judged if fault]
    if not seen.others:
        wrong.append("the next client did not get its own answer")
    return wrong


def _compare(wrong: list[str], side: str, wanted: Sequence[Expected], got: Sequence[Message], *, broken: bool) -> None:
    for number, expected in enumerate(wanted):
        if number >= len(got):
            wrong.append(f"the {side} did not get {expected.line.decode('latin-1')}")
            continue
        _compare_one(wrong, side, expected, got[number], broken=broken)
    wrong += [f"the {side} also got {_short(message.line)}" for message in got[len(wanted) :]]


def _compare_one(wrong: list[str], side: str, expected: Expected, message: Message, *, broken: bool) -> None:
    line = _short(message.line)
    if side == "client":
        if str(status_of(message)).encode() not in expected.line.split(b"|"):
            wrong.append(f"the client got {line}, not {expected.line.decode()}")
    elif message.line != expected.line:
        wrong.append(f"the server got {line}, not {_short(expected.line)}")
    for name, value in expected.fields:
        values = message.values(name)
        alike = len(values) == 1 and values[0].lower() == value.lower() and name in LETTERLESS
        if values != [value] and not alike:
            shown = ", ".join(_short(v) for v in values) if values else "none"
            wrong.append(f"the {side} got {name.decode('latin-1')}: {shown}, not {_short(value)}")
    unwanted = [(name, message.values(name)) for name in expected.absent]
    wrong += [f"the {side} got {name.decode('latin-1')}: {_short(v[0])}" for name, v in unwanted if v]
    if expected.body is not None and message.body != expected.body:
        wrong.append(f"the {side} got the body {_short(message.body)!r}, not {_short(expected.body)!r}")
    if message.whole == expected.cut:
        wrong.append(f"the {side} {'took a cut body for whole' if expected.cut else 'got a cut body'}")
    elif expected.cut and side == "client" and not broken and not _declares_its_end(message):
        wrong.append("the client cannot tell that the body was cut")


def _declares_its_end(message: Message) -> bool:
    return bool(message.values(b"content-length") or message.values(b"transfer-encoding"))


def _short(data: bytes) -> str:
    text = data.decode("latin-1")
    return text if len(text) <= 60 else f"{text[:57]}..."


def _judge(raw: bytes, heads: int) -> str:
    """What h11 has against this stream of requests, or that it counts another number of them."""
    judge = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    judge.receive_data(raw)
    count = 0
    try:
        while True:
            event = judge.next_event()
            if isinstance(event, h11.Request):
                count += 1
            elif isinstance(event, h11.EndOfMessage):
                judge.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                judge.send(h11.EndOfMessage())
                if judge.our_state is not h11.DONE:
                    break
                judge.start_next_cycle()
            elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                break
    except h11.ProtocolError as error:
        return str(error)
    return "" if count == heads or judge.our_state is h11.MUST_CLOSE else f"{count} requests, not {heads}"
