import asyncio
import shutil
import ssl
from collections.abc import Iterator
from functools import cache
from random import Random

import pytest
import trustme

from balancer.proxy.sides import SLICE
from balancer.proxy.tls_layer import BARREN, TlsLayer, Truncated

NAME = "site.test"


@cache
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def server_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.maximum_version = version
    authority().issue_cert(NAME, key_type=trustme.KeyType.ECDSA).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


class Pipe(asyncio.Transport):
    """A transport that keeps what is written until the wire carries it to the other end."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.total = 0
        self.finished = self.closed = self.aborted = self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.finished, "written after its end"
        if not self.closed:
            self.written += data
            self.total += len(data)

    def write_eof(self) -> None:
        self.finished = True

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return len(self.written)


class End(asyncio.Protocol):
    """What sits on top of a layer, and notes what it hears."""

    def __init__(self, keep_open: bool = False) -> None:
        self.layer: TlsLayer | None = None
        self.heard = b""
        self.calls = 0
        self.keep_open = keep_open
        self.ended = self.lost = False
        self.lost_by: Exception | None = None
        self.blocked = False
        self.pause_after = 1 << 60

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsLayer)
        assert self.layer is None
        self.layer = transport

    def data_received(self, data: bytes) -> None:
        assert not self.ended, "data after the end"
        assert data
        self.heard += data
        self.calls += 1
        if self.calls >= self.pause_after:
            assert self.layer is not None
            self.layer.pause_reading()

    def eof_received(self) -> bool:
        assert not self.ended
        self.ended = True
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.lost
        self.lost = True
        self.lost_by = exc

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False

    @property
    def up(self) -> TlsLayer:
        assert self.layer is not None
        return self.layer


class Wire:
    """Two layers back to back, and whoever carries the bytes between them."""

    def __init__(
        self,
        rng: Random | None = None,
        server: ssl.SSLContext | None = None,
        client: ssl.SSLContext | None = None,
        name: str = NAME,
        keep_open: bool = False,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.rng = rng
        self.failures: list[str] = []
        self.a, self.b = End(keep_open), End(keep_open)  # the client's end and the server's
        self.client = TlsLayer(
            client or client_context(),
            self.a,
            server_side=False,
            server_hostname=name,
            failed=lambda reason: self.failures.append(f"client: {reason}"),
            session=session,
        )
        self.server = TlsLayer(
            server or server_context(),
            self.b,
            server_side=True,
            failed=lambda reason: self.failures.append(f"server: {reason}"),
        )
        self.up, self.down = Pipe(), Pipe()  # what the client and what the server writes to
        self.over: set[TlsLayer] = set()
        self.server.connection_made(self.down)
        self.client.connection_made(self.up)

    def _pieces(self, pipe: Pipe) -> Iterator[bytes]:
        data = bytes(pipe.written)
        pipe.written.clear()
        while data:
            size = len(data) if self.rng is None else self.rng.choice((1, 3, 50, 4000, 70000))
            yield data[:size]
            data = data[size:]

    def carry(self) -> None:
        """Bytes and ends, both ways, until nothing is on its way."""
        ways = ((self.up, self.server, self.down), (self.down, self.client, self.up))
        while True:
            idle = True
            for sender, receiver, back in ways:
                if sender.written and not back.paused:
                    idle = False
                    for piece in self._pieces(sender):
                        if not back.closed and receiver not in self.over:
                            receiver.data_received(piece)
                over = (sender.finished or sender.closed) and not sender.written and receiver not in self.over
                if over and not back.paused:
                    self.over.add(receiver)
                    idle = False
                    if not back.closed and not receiver.eof_received():
                        back.close()
            if idle:
                return

    def lose(self) -> None:
        """Both transports end, as the loop would tell it after they have been closed."""
        self.client.connection_lost(None)
        self.server.connection_lost(None)


@pytest.mark.parametrize("seed", range(12))
def test_bytes_arrive_whole_however_they_are_cut_into_pieces(seed: int) -> None:
    rng = Random(seed)
    wire = Wire(rng, server_context(rng.choice((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))))
    wire.carry()
    sent = {wire.a: b"", wire.b: b""}
    for _ in range(20):
        end = rng.choice((wire.a, wire.b))
        data = rng.randbytes(rng.choice((1, 100, 16384, 16385, 100_000)))
        sent[end] += data
        end.up.write(data)
        if rng.random() < 0.5:
            wire.carry()
    wire.carry()
    assert (wire.b.heard, wire.a.heard) == (sent[wire.a], sent[wire.b])
    wire.a.up.close()
    wire.carry()
    assert wire.b.ended
    wire.lose()
    assert (wire.a.lost_by, wire.b.lost_by) == (None, None)
    assert wire.failures == []


def test_nothing_is_heard_before_the_handshake_is_done() -> None:
    wire = Wire()
    assert wire.a.layer is None
    assert wire.b.layer is None
    wire.carry()
    assert wire.a.layer is wire.client
    assert wire.b.layer is wire.server


def test_words_that_come_with_the_end_of_the_handshake_are_heard() -> None:
    wire = Wire()
    wire.server.data_received(bytes(wire.up.written))
    wire.up.written.clear()
    wire.client.data_received(bytes(wire.down.written))
    wire.down.written.clear()
    wire.a.up.write(b"hello")
    wire.server.data_received(bytes(wire.up.written))
    assert wire.b.heard == b"hello"


def test_the_records_of_one_read_are_handed_over_in_one_piece() -> None:
    wire = Wire()
    wire.carry()
    for _ in range(5):
        wire.a.up.write(b"x" * 20000)
    wire.carry()
    assert (len(wire.b.heard), wire.b.calls) == (100_000, 1)


@pytest.mark.parametrize("way", ["end of the transport", "reset", "loss"])
def test_a_cut_is_not_taken_for_an_end(way: str) -> None:
    wire = Wire()
    wire.carry()
    wire.a.up.write(b"half of it")
    wire.carry()
    if way == "end of the transport":
        wire.server.eof_received()
        assert wire.down.aborted
    wire.server.connection_lost(ConnectionResetError("reset by peer") if way == "reset" else None)
    assert wire.b.heard == b"half of it"
    assert not wire.b.ended
    assert isinstance(wire.b.lost_by, Truncated if way != "reset" else ConnectionResetError)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_one_half_may_end_while_the_other_goes_on(version: ssl.TLSVersion) -> None:
    wire = Wire(server=server_context(version), keep_open=True)
    wire.carry()
    wire.b.up.write(b"all of it")
    wire.b.up.write_eof()
    wire.b.up.write(b"too late")
    wire.carry()
    assert (wire.a.heard, wire.a.ended) == (b"all of it", True)
    assert wire.down.finished
    assert not wire.down.closed
    wire.a.up.write(b"still speaking" * 5000)
    wire.carry()
    assert wire.b.heard == b"still speaking" * 5000
    wire.a.up.close()
    wire.carry()
    assert wire.b.ended
    wire.lose()
    assert wire.b.lost_by is None


def test_an_end_may_be_said_while_words_of_the_other_are_on_their_way() -> None:
    wire = Wire(keep_open=True)
    wire.carry()
    wire.b.up.pause_reading()
    wire.a.up.write(b"on its way" * 3000)
    wire.server.data_received(bytes(wire.up.written))  # it comes although reading is paused
    wire.up.written.clear()
    wire.b.up.write_eof()
    wire.carry()
    assert wire.a.ended
    assert wire.b.heard == b""


async def test_a_pause_holds_back_what_has_come_and_its_end_too() -> None:
    wire = Wire(keep_open=True)
    wire.carry()
    wire.b.pause_after = 1
    wire.a.up.write(b"one")
    wire.a.up.close()
    wire.carry()
    assert (wire.b.heard, wire.b.ended, wire.down.paused) == (b"one", False, True)
    wire.b.up.resume_reading()
    assert not wire.b.ended  # never from inside the call
    await asyncio.sleep(0)
    assert wire.b.ended
    assert not wire.down.paused


async def test_what_was_held_back_comes_before_what_follows() -> None:
    wire = Wire()
    wire.carry()
    wire.b.up.pause_reading()
    for word in (b"one ", b"two "):
        wire.a.up.write(word)
        wire.server.data_received(bytes(wire.up.written))
        wire.up.written.clear()
    wire.a.up.write(b"three ")
    wire.b.up.resume_reading()
    assert wire.down.paused
    await asyncio.sleep(0)
    wire.carry()
    assert wire.b.heard == b"one two three "


async def test_a_pause_inside_of_a_resumption_holds() -> None:
    wire = Wire()
    wire.carry()
    wire.b.up.pause_reading()
    wire.a.up.write(b"one")
    wire.server.data_received(bytes(wire.up.written))
    wire.b.up.resume_reading()
    wire.b.up.pause_reading()
    await asyncio.sleep(0)
    assert (wire.b.heard, wire.down.paused) == (b"", True)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 300])
def test_what_is_no_handshake_fails_it_and_closes(garbage: bytes) -> None:
    wire = Wire()
    wire.server.data_received(garbage)
    assert wire.down.closed
    wire.server.connection_lost(None)
    assert len(wire.failures) == 1
    assert wire.failures[0].startswith("server: ")
    assert not wire.b.lost


def test_a_record_that_was_tampered_with_ends_the_connection() -> None:
    wire = Wire()
    wire.carry()
    wire.a.up.write(b"first")
    wire.a.up.write(b"second")
    data = bytes(wire.up.written)
    wire.server.data_received(data[:-1] + bytes([data[-1] ^ 1]))
    assert wire.b.heard == b"first"
    assert wire.down.aborted
    wire.server.connection_lost(None)
    assert isinstance(wire.b.lost_by, ssl.SSLError)


def test_a_certificate_for_another_name_is_refused() -> None:
    wire = Wire(name="elsewhere.test")
    wire.carry()
    wire.client.connection_lost(None)
    assert "certificate refused: " in wire.failures[0]
    assert "elsewhere.test" in wire.failures[0]
    assert wire.up.closed
    assert wire.a.layer is None


def test_a_name_that_is_none_fails_and_raises_nothing() -> None:
    wire = Wire(name=".")
    wire.client.connection_lost(None)
    assert wire.failures[0].startswith("client: the TLS handshake could not begin")
    assert wire.up.closed


@pytest.mark.parametrize("lost", [False, True])
def test_a_connection_that_ends_in_the_handshake_is_a_failure_once(lost: bool) -> None:
    wire = Wire()
    wire.server.data_received(bytes(wire.up.written)[:30])
    if not lost:
        wire.server.eof_received()
    wire.server.connection_lost(None)
    assert wire.failures == ["server: the connection was closed during the TLS handshake"]
    assert not wire.b.lost


def test_a_handshake_that_takes_too_long_is_cut() -> None:
    wire = Wire()
    wire.server.overdue()
    assert wire.down.aborted
    wire.server.connection_lost(None)
    assert wire.failures == ["server: the TLS handshake did not end in time"]


def test_whoever_is_refused_after_the_handshake_is_never_connected() -> None:
    wire = Wire()
    wire.server._established = lambda layer: layer.refuse("not wanted")
    wire.carry()
    assert wire.b.layer is None
    assert wire.down.aborted
    wire.server.connection_lost(None)
    assert wire.failures == ["server: not wanted"]
    assert not wire.b.lost


def test_a_deadline_is_over_with_the_handshake() -> None:
    wire = Wire()
    wire.server.deadline = 1.0
    wire.carry()
    assert wire.server.deadline == float("inf")


def test_the_writers_pauses_are_those_of_the_transport() -> None:
    wire = Wire()
    wire.carry()
    wire.server.pause_writing()
    assert wire.b.blocked
    wire.server.resume_writing()
    assert not wire.b.blocked


def test_a_transport_that_is_full_before_the_handshake_is_done_is_told_of() -> None:
    wire = Wire()
    wire.server.pause_writing()
    wire.carry()
    assert wire.b.blocked


def test_renegotiation_is_not_begun() -> None:
    wire = Wire(server=server_context(ssl.TLSVersion.TLSv1_2))
    wire.carry()
    # Neither side of this library can ask for it, so that what is left to see is that the option holds.
    assert wire.server.tls is not None
    assert wire.server.tls.context.options & ssl.OP_NO_RENEGOTIATION


def test_a_session_is_resumed() -> None:
    server, client = server_context(), client_context()
    wire = Wire(server=server, client=client)
    wire.carry()
    wire.b.up.write(b"the ticket comes with it")
    wire.carry()
    assert wire.client.tls is not None
    again = Wire(server=server, client=client, session=wire.client.tls.session)
    again.carry()
    assert again.client.tls is not None
    assert again.client.tls.session_reused


def test_nothing_is_written_after_the_close() -> None:
    wire = Wire()
    wire.carry()
    wire.b.up.close()
    total = wire.down.total
    wire.b.up.write(b"too late")
    wire.b.up.close()
    wire.b.up.write_eof()
    assert wire.down.total == total
    assert wire.b.up.is_closing()


async def test_over_a_real_loop_a_large_answer_arrives_and_the_end_is_orderly() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    class Sending(End):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.up.write(b"x" * 3_000_000)
            self.up.close()

    class Counting(End):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            done.set_result(None)

    context = server_context()
    server = await loop.create_server(lambda: TlsLayer(context, Sending(), server_side=True), "127.0.0.1", 0)
    end = Counting()
    port = server.sockets[0].getsockname()[1]
    await loop.create_connection(
        lambda: TlsLayer(client_context(), end, server_side=False, server_hostname=NAME), "127.0.0.1", port
    )
    await asyncio.wait_for(done, 5)
    assert (len(end.heard), end.ended, end.lost_by) == (3_000_000, True, None)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_done_to_the_bytes_nothing_is_raised_and_nothing_else_is_heard(
    seed: int, version: ssl.TLSVersion
) -> None:
    rng = Random(seed)
    wire = Wire(None, server_context(version), keep_open=True)
    harm = rng.randrange(60, 6000)  # after so many bytes towards the server
    passed = 0
    sent = b""
    for _ in range(30):
        data = bytes(wire.up.written)
        wire.up.written.clear()
        if passed <= harm < passed + len(data):
            at = harm - passed
            data = rng.choice(
                (
                    data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:],
                    data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :],
                    data[:at] + data[at + rng.randrange(1, 40) :],
                    data + data,
                    data[:at] + rng.randbytes(70_000),
                )
            )
        passed += len(data)
        if data and not wire.down.closed:
            wire.server.data_received(data)
        back = bytes(wire.down.written)
        wire.down.written.clear()
        if back and not wire.up.closed:
            wire.client.data_received(back)
        if wire.a.layer is not None:
            word = rng.randbytes(200)
            sent += word
            wire.a.up.write(word)
    wire.server.eof_received()
    wire.lose()
    assert sent.startswith(wire.b.heard)
    assert not wire.b.ended
    if wire.b.layer is not None:
        assert isinstance(wire.b.lost_by, (ssl.SSLError, Truncated))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="Python cannot ask for new keys, but openssl can")
@pytest.mark.parametrize(("asked", "lost_by"), [(5, type(None)), (3000, ConnectionAbortedError)])
async def test_answers_of_tls_itself_do_not_pile_up_for_one_that_takes_nothing(
    asked: int, lost_by: type[Exception | None]
) -> None:
    loop = asyncio.get_running_loop()
    lost = loop.create_future()
    context = server_context()

    class Blocked(End):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.up.pause_writing()  # as the transport would say

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set_result(exc)

    server = await loop.create_server(lambda: TlsLayer(context, Blocked(), server_side=True), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert client.stdin is not None
    try:
        async with asyncio.timeout(30):
            while not lost.done():
                # Ask for new keys, and for an answer, then quit; of words that come together only the first counts.
                client.stdin.write(b"K\n" if asked > 0 else b"Q\n")
                asked -= 1
                await asyncio.sleep(0.01)
        assert type(lost.result()) is lost_by
    finally:
        client.stdin.close()
        await client.wait()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_records_without_data_are_not_read_for_ever(version: ssl.TLSVersion) -> None:
    """A peer could else keep the loop busy with key updates, or with empty records, for as long as it likes."""
    wire = Wire(None, server_context(version), keep_open=True)
    wire.carry()
    wire.a.up.write(b"hello")
    wire.carry()
    assert wire.b.heard == b"hello"
    # What cannot be decrypted to data here: the beginning of a record that is as large as can be, again and again.
    wire.server._barren = BARREN
    wire.server.data_received(b"\x17\x03\x03\x40\x00")
    assert wire.down.closed
    wire.lose()
    assert isinstance(wire.b.lost_by, ConnectionAbortedError)


async def test_a_read_with_little_in_it_gives_others_their_turn() -> None:
    wire = Wire(keep_open=True)
    wire.carry()
    for _ in range(2000):
        wire.a.up.write(b"x")
    data = bytes(wire.up.written)
    wire.up.written.clear()
    assert len(data) > SLICE
    wire.server.data_received(data)
    assert wire.b.heard == b"x" * 2000
    assert wire.down.paused
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not wire.down.paused
