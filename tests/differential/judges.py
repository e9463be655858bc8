"""Two parsers that others wrote, h11 and httptools (llhttp), and what each makes of the same bytes.

Both are asked for the messages that they see, one after the other, up to where they refuse or want more. Where they are
known to differ from RFC 9112 or from us for a reason, a function here says so and why; nothing else is excused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import h11
import httptools

from tests.differential.reference import Broken, Incomplete, decode_chunked

Pairs = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """One message as a judge read it. Names of fields are in lower case."""

    first: tuple[bytes, bytes] = (b"", b"")
    """Method and target, or status and nothing."""
    version: bytes = b""
    fields: Pairs = field(default_factory=list)
    body: bytes = b""
    trailers: Pairs = field(default_factory=list)
    whole: bool = False
    persistent: bool = True
    raw: bytes = b""
    """Its bytes as h11 has counted them, if it is whole."""
    end: int = 0
    """Where the message after it begins, if it is whole (h11 only)."""


# What h11 sees.


def h11_requests(data: bytes, most: int = 100) -> list[Message]:
    """The requests in `data`; the last one is not whole where h11 refused or the bytes ran out."""
    found: list[Message] = []
    at = 0
    while at < len(data) and len(found) < most:
        if data.startswith(b"\r\n", at):
            at += 2  # h11 refuses an empty line before a request; one is to be skipped (RFC 9112 section 2.2)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(data[at:])
        message = _h11_message(connection)
        if message is None:
            break
        if (b"transfer-encoding", b"chunked") in message.fields and (not message.whole or message.trailers):
            changed = data[:at] + framing_in_trailers_is_read_by_both(data[at:])
            if changed != data:
                data = changed
                continue
        found.append(message)
        if not message.whole:
            break
        message.end = len(data) - len(connection.trailing_data[0])
        message.raw = data[at : message.end]
        at = message.end
    return found


def framing_in_trailers_is_read_by_both(data: bytes) -> bytes:
    """Both judges take framing fields among trailers for what they are in a head, or check them as such.

    They come too late for that, and are to be ignored (RFC 9110 section 6.5.1): here they get other names, of the same
    length. `data` is a message with a chunked body and whatever comes after it.
    """
    at = data.find(b"\r\n\r\n") + 4
    try:
        body = decode_chunked(data, at)
    except (Broken, Incomplete):
        return data
    start = body.end - 2 - len(body.lines)
    return data[:start] + late_names_changed(body.lines) + data[body.end - 2 :]


def late_names_changed(trailers: bytes) -> bytes:
    return _LATE.sub(lambda match: b"late" + match[0][4:], trailers)


_LATE = re.compile(rb"(?im)^(?:transfer-encoding|content-length|connection|proxy-connection|upgrade|host)(?=:)")


def h11_knows_no_persistent_http_1_0(message: Message) -> bool:
    """h11 closes after every HTTP/1.0 message; `keep-alive` keeps such a connection, too (RFC 9112 section 9.3)."""
    return message.version == b"1.0"


def h11_responses(data: bytes, method: bytes, *, upgrade: bool = False, eof: bool = False) -> list[Message]:
    """The responses to one request: interim ones and then the final one."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    fields = [(b"Host", b"a")]
    if upgrade:
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    connection.send(h11.Request(method=method, target=b"/", headers=fields))
    connection.send(h11.EndOfMessage())
    if data:
        connection.receive_data(data)
    if eof:
        connection.receive_data(b"")
    found: list[Message] = []
    while True:
        message = _h11_message(connection)
        if message is None:
            return found
        start = found[-1].end if found else 0
        found.append(message)
        message.end = len(data) - len(connection.trailing_data[0])
        message.raw = data[start : message.end]
        if (b"transfer-encoding", b"chunked") in message.fields and (not message.whole or message.trailers):
            changed = data[:start] + framing_in_trailers_is_read_by_both(data[start:])
            if changed != data:
                return h11_responses(changed, method, upgrade=upgrade, eof=eof)
        if message.first[0] == b"101" or not message.first[0].startswith(b"1"):
            return found


def _h11_message(connection: h11.Connection) -> Message | None:
    message: Message | None = None
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                message = Message((event.method, event.target), event.http_version, list(event.headers))
            elif isinstance(event, h11.Response | h11.InformationalResponse):
                status = b"%d" % event.status_code
                message = Message((status, b""), event.http_version, list(event.headers))
                if isinstance(event, h11.InformationalResponse):
                    message.whole = True
                    return message
            elif isinstance(event, h11.Data):
                assert message is not None
                message.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert message is not None
                message.trailers = list(event.headers)
                message.whole = True
                # With an Upgrade, h11's state is that it may switch, and says nothing of this.
                message.persistent = (
                    connection.their_state is not h11.MUST_CLOSE
                    and message.version != b"1.0"
                    and not closes(message.fields)
                )
                return message
            else:
                return message  # NEED_DATA, PAUSED, ConnectionClosed
    except h11.RemoteProtocolError:
        return message


def closes(fields: Pairs) -> bool:
    """Whether the close option is there (RFC 9112 section 9.6)."""
    options = [
        option.strip().lower() for name, value in fields if name == b"connection" for option in value.split(b",")
    ]
    return b"close" in options


# What httptools sees.


class _Taker:
    """Collects what the parser calls out."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser
        self._now = Message()
        self._head_over = False

    def on_message_begin(self) -> None:
        self._now = Message(whole=False)
        self._head_over = False

    def on_url(self, url: bytes) -> None:
        self._now.first = (b"", self._now.first[1] + url)

    def on_header(self, name: bytes, value: bytes) -> None:
        pair = (name.lower(), value.rstrip(b" \t"))
        (self._now.trailers if self._head_over else self._now.fields).append(pair)

    def on_headers_complete(self) -> None:
        self._head_over = True
        parser, now = self.parser, self._now
        if isinstance(parser, httptools.HttpRequestParser):
            now.first = (parser.get_method(), now.first[1])
        else:
            now.first = (b"%d" % parser.get_status_code(), b"")
        now.version = parser.get_http_version().encode()
        now.persistent = parser.should_keep_alive()
        self.messages.append(now)

    def on_body(self, body: bytes) -> None:
        self._now.body += body

    def on_message_complete(self) -> None:
        self._now.whole = True


def httptools_requests(data: bytes) -> list[Message]:
    found: list[Message] = []
    while data:
        taker = _Taker()
        taker.parser = httptools.HttpRequestParser(taker)
        rest = b""
        try:
            taker.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # It leaves HTTP to the caller where a request asks for another protocol; nobody has agreed to that yet.
            rest = data[upgrade.args[0] :]
            if taker.messages:
                taker.messages[-1].whole = True
        except httptools.HttpParserError:
            pass
        found += taker.messages
        data = rest
    return found


def httptools_responses(data: bytes) -> list[Message]:
    """The responses in `data`, interim ones too. The parser cannot be told that the request was HEAD."""
    taker = _Taker()
    taker.parser = httptools.HttpResponseParser(taker)
    try:
        taker.parser.feed_data(data)
    except (httptools.HttpParserUpgrade, httptools.HttpParserError):
        pass
    return taker.messages


def httptools_sees_more_in_a_coding_with_a_tab(head: bytes) -> bytes:
    """llhttp takes `chunked` with a tab after it for another coding; white space around a value is none of it.

    RFC 9110 section 5.5. What is sent on is written anew, so no server meets it.
    """
    return _TABBED.sub(rb"\1chunked", head)


_TABBED = re.compile(rb"(?i)(\r\ntransfer-encoding:)[ \t]*chunked[ \t]*(?=\r\n|\Z)")


def lower_coding(fields: Pairs) -> Pairs:
    """h11 gives Transfer-Encoding in lower case, which is what it means (RFC 9112 section 7)."""
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in fields]
