"""TLS towards servers: who is believed, what the client is told, and what becomes of bytes and connections."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from balancer.plane import PlaneError
from balancer.proxy.tls_layer import TlsLayer
from config.schema import Listener
from tests.proxy.secure import authority, context, https, secure, stranger, trusted
from tests.proxy.wire import Peer, Site, ok, replies, serving, site

GET = b"GET /x HTTP/1.1\r\nHost: s\r\n\r\n"
NO_RETRY = {"retries": {"attempts": 1}}


async def ask(here: Site) -> tuple[int, bytes]:
    client = await here.connect()
    await client.send(GET)
    status, _, body = await client.answer()
    return status, body


# Whom the balancer believes


async def test_a_server_with_a_good_certificate_is_asked(tmp_path: Path) -> None:
    async with secure(replies(ok(b"safe"))) as server:
        async with site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
            assert await ask(here) == (200, b"safe")
        assert server.shaken[0].selected_alpn_protocol() == "http/1.1"
        assert server.shaken[0].version() == "TLSv1.3"


@pytest.mark.parametrize(
    ("own", "tls", "reason"),
    [
        (context("other.test"), {}, b"its certificate is for another name"),
        (context("127.0.0.2"), {}, b"its certificate is for another name"),
        (context("127.0.0.1", by_stranger=True), {}, b"its certificate is not signed by a known authority"),
        (context("127.0.0.1", expired=True), {}, b"its certificate has expired"),
        (context("127.0.0.1"), {"server_name": "app.internal"}, b"its certificate is for another name"),
        (context("127.0.0.1"), {"ca": None}, b"its certificate is not signed by a known authority"),
    ],
)
async def test_a_server_that_is_not_believed_gets_no_request_and_the_client_the_reason(
    tmp_path: Path, own: ssl.SSLContext, tls: dict[str, object], reason: bytes
) -> None:
    async with secure(replies(ok()), own=own) as server:
        async with site(https({"a": server}, {"ca": trusted(tmp_path), **tls}, **NO_RETRY)) as here:
            status, body = await ask(here)
            assert status == 502
            assert reason in body
            for leak in (b"127.0.0", b"internal", b"other.test", b":%d" % server.port, b"_ssl"):
                assert leak not in body
            tally = here.plane.pools["app"].servers["a"].tally
            assert tally.failures["connect"] == 1
            assert not here.plane.dialer.connections
            assert not here.plane.dialer.dials
        assert not server.failures


@pytest.mark.parametrize(
    ("own", "tls"),
    [
        (context("127.0.0.1", by_stranger=True), {"verify": False}),
        (context("other.test", expired=True), {"verify": False, "ca": None}),
        (context("app.internal"), {"server_name": "app.internal"}),
        (context("*.test.internal"), {"server_name": "app.test.internal"}),
    ],
)
async def test_a_server_is_believed_as_configured(tmp_path: Path, own: ssl.SSLContext, tls: dict[str, object]) -> None:
    async with secure(replies(ok()), own=own) as server:
        async with site(https({"a": server}, {"ca": trusted(tmp_path), **tls})) as here:
            assert (await ask(here))[0] == 200


@pytest.mark.parametrize(
    ("host", "name", "asked"),
    [("127.0.0.1", None, None), ("localhost", None, "localhost"), ("127.0.0.1", "app.internal", "app.internal")],
)
async def test_a_name_is_asked_for_and_an_address_is_not(
    tmp_path: Path, host: str, name: str | None, asked: str | None
) -> None:
    seen: list[str | None] = []
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1", "localhost", "app.internal").configure_cert(own)
    own.sni_callback = lambda _, sent, __: seen.append(sent)
    async with secure(replies(ok()), own=own) as server:
        async with site(https({"a": server}, {"ca": trusted(tmp_path), "server_name": name}, host=host)) as here:
            assert (await ask(here))[0] == 200
    assert seen == [asked]


async def test_a_certificate_of_ones_own_is_shown_to_a_server_that_asks(tmp_path: Path) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1").configure_cert(own)
    stranger().configure_trust(own)
    own.verify_mode = ssl.CERT_REQUIRED
    mine = stranger().issue_cert("balancer@example.test")
    (tmp_path / "c.pem").write_bytes(b"".join(blob.bytes() for blob in mine.cert_chain_pems))
    (tmp_path / "c.key").write_bytes(mine.private_key_pem.bytes())
    shown = {"cert": str(tmp_path / "c.pem"), "key": str(tmp_path / "c.key")}
    async with secure(replies(ok()), own=own) as server:
        async with site(https({"a": server}, {"ca": trusted(tmp_path), "certificate": shown})) as here:
            assert (await ask(here))[0] == 200


async def test_a_server_that_misses_a_certificate_is_heard(tmp_path: Path) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1").configure_cert(own)
    stranger().configure_trust(own)
    own.verify_mode = ssl.CERT_REQUIRED
    listening = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        accepted, _ = listening.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            own.wrap_socket(accepted, server_side=True)

    refusing = asyncio.get_running_loop().run_in_executor(None, refuse)
    async with site(https({"a": listening.getsockname()[1]}, {"ca": trusted(tmp_path)}, **NO_RETRY)) as here:
        status, body = await ask(here)
        assert status == 502
        assert b"TLS with it broke off (tlsv13 alert certificate required)" in body
    await refusing
    listening.close()


async def test_a_certificate_may_be_trusted_by_itself(tmp_path: Path) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = stranger().issue_cert("127.0.0.1")
    issued.configure_cert(own)
    (tmp_path / "leaf.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    async with secure(replies(ok()), own=own) as server:
        async with site(https({"a": server}, {"ca": str(tmp_path / "leaf.pem")})) as here:
            assert (await ask(here))[0] == 200


async def test_tls_1_2_will_do(tmp_path: Path) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1").configure_cert(own)
    own.maximum_version = ssl.TLSVersion.TLSv1_2
    async with secure(replies(ok()), own=own) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        client = await here.connect()
        for _ in range(3):
            await client.send(GET)
            assert (await client.answer())[0] == 200
        assert [one.version() for one in server.shaken] == ["TLSv1.2"]


# Handshakes that fail in other ways


async def test_a_server_that_speaks_plain_http_is_told_from_one_with_a_bad_certificate(tmp_path: Path) -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with serving(plain) as (server,):
        async with site(https({"a": server}, {"ca": trusted(tmp_path)}, **NO_RETRY)) as here:
            status, body = await ask(here)
    assert status == 502
    assert b"it does not speak TLS" in body


async def test_a_server_that_closes_during_the_handshake_is_told_so(tmp_path: Path) -> None:
    async def closing(peer: Peer) -> None:
        await peer.reader.read(100)

    async with serving(closing) as (server,):
        async with site(https({"a": server}, {"ca": trusted(tmp_path)}, **NO_RETRY)) as here:
            status, body = await ask(here)
    assert status == 502
    assert b"it closed the connection during the TLS handshake" in body


async def test_a_handshake_that_hangs_ends_with_the_time_to_connect_and_the_next_server_answers(tmp_path: Path) -> None:
    async def silent(peer: Peer) -> None:
        assert await peer.rest()  # the greeting, and then the end of the connection
        gone.set()

    gone = asyncio.Event()
    async with serving(silent) as (hanging,), secure(replies(ok(b"b"))) as good:
        settings = https({"a": hanging, "b": good}, {"ca": trusted(tmp_path)}, timeouts={"connect": 0.2})
        async with site(settings) as here:
            assert await ask(here) == (200, b"b")
            assert here.decisions[0].reasons == [("a", "connect-timeout")]
            await asyncio.wait_for(gone.wait(), 5)
            assert len(here.plane.dialer.connections) == 1


async def test_a_server_that_leaves_after_the_handshake_is_not_waited_for(tmp_path: Path) -> None:
    async def leaving(peer: Peer) -> None:
        pass

    async with secure(leaving) as bad, secure(replies(ok(b"b"))) as good:
        async with site(https({"a": bad, "b": good}, {"ca": trusted(tmp_path)})) as here:
            assert await asyncio.wait_for(ask(here), 5) == (200, b"b")
            await here.until(lambda: len(here.plane.dialer.connections) == 1)


async def test_a_bad_certificate_sends_a_request_elsewhere(tmp_path: Path) -> None:
    async with secure(replies(ok()), "other.test") as bad, secure(replies(ok(b"b"))) as good:
        async with site(https({"a": bad, "b": good}, {"ca": trusted(tmp_path)})) as here:
            assert await ask(here) == (200, b"b")
            assert here.decisions[0].reasons == [("a", "connect")]


async def test_a_client_that_leaves_during_the_handshake_takes_the_connection_with_it(tmp_path: Path) -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.reader.read(1)
        reached.set()
        await peer.rest()
        gone.set()

    async with serving(silent) as (server,), site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        client = await here.connect()
        await client.send(GET)
        await asyncio.wait_for(reached.wait(), 5)
        client.cut()
        await asyncio.wait_for(gone.wait(), 5)
        assert not here.plane.dialer.connections
        assert not here.plane.dialer.dials


# Where an answer ends


async def cut_short(peer: Peer) -> None:
    """Close below TLS, without its farewell."""
    writer = peer.writer
    await writer.drain()
    with socket.socket(fileno=os.dup(writer.transport.get_extra_info("socket").fileno())) as raw:
        raw.shutdown(socket.SHUT_RDWR)


async def test_an_answer_that_ends_with_the_connection_is_cut_when_tls_did_not_end_it(tmp_path: Path) -> None:
    half_is_there = asyncio.Event()

    async def truncated(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await half_is_there.wait()
        await cut_short(peer)

    async with secure(truncated) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        client = await here.connect()
        await client.send(GET)
        assert b"Transfer-Encoding: chunked" in await client.head()
        assert await client.exactly(15) == b"a\r\nhalf of it\r\n"
        half_is_there.set()
        assert await client.rest() == b""
        assert here.decisions[0].outcome == "upstream-reset"


async def test_an_answer_that_tls_did_end_is_complete(tmp_path: Path) -> None:
    async def ended(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with secure(ended) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        client = await here.connect()
        await client.send(GET)
        assert (await client.answer())[::2] == (200, b"all of it")
        assert here.decisions[0].outcome == "ok"


async def test_an_answer_of_known_length_is_complete_however_the_connection_ends(tmp_path: Path) -> None:
    async def counted(peer: Peer) -> None:
        await peer.head()
        await peer.send(ok(b"whole"))
        await cut_short(peer)

    async with secure(counted) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        client = await here.connect()
        for turn in range(1, 3):
            await client.send(GET)
            assert (await client.answer())[::2] == (200, b"whole")
            await here.until(lambda: not here.plane.dialer.connections)
            assert server.connections == turn


def _hasty_server(listening: socket.socket, own: ssl.SSLContext, times: int) -> None:
    """Answers each upload as soon as its head is there, and closes without reading on."""
    for _ in range(times):
        accepted, _ = listening.accept()
        # Or the answer would wait in the kernel for the session's tickets to be acknowledged, and be dropped there.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with own.wrap_socket(accepted, server_side=True) as connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1000)
            connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")


async def test_an_early_answer_reaches_the_client_although_the_server_did_not_read_on(tmp_path: Path) -> None:
    times = 10
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_hasty_server, args=(listening, context("127.0.0.1"), times), daemon=True)
    thread.start()
    async with site(https({"a": listening.getsockname()[1]}, {"ca": trusted(tmp_path)})) as here:
        for _ in range(times):
            client = await here.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 2000000\r\n\r\n")
            client.writer.write(b"x" * 2_000_000)
            assert (await client.answer())[::2] == (413, b"big")
            client.cut()
        assert {decision.outcome for decision in here.decisions} == {"ok"}
    thread.join(5)
    listening.close()


# Connections that are kept


async def test_a_thousand_requests_take_one_connection(tmp_path: Path) -> None:
    async with secure(replies(ok())) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        client = await here.connect()
        for _ in range(1000):
            await client.send(GET)
            assert (await client.answer())[0] == 200
        assert server.connections == 1


async def test_tickets_and_a_farewell_find_an_idle_connection_at_rest(tmp_path: Path) -> None:
    farewell = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(ok())
        await farewell.wait()

    async with secure(script) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        assert (await ask(here))[0] == 200
        (connection,) = here.plane.dialer.connections
        await here.until(lambda: server.shaken[0].session is not None and connection.session() is not None)
        assert here.plane.pools["app"].servers["a"].idle == [connection]
        farewell.set()
        await here.until(lambda: not here.plane.dialer.connections)
        assert here.plane.pools["app"].servers["a"].idle == []
        assert (await ask(here))[0] == 200


async def test_the_second_handshake_is_a_short_one(tmp_path: Path) -> None:
    async def once(peer: Peer) -> None:
        await peer.head()
        await peer.send(ok())

    async with secure(once) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        for _ in range(2):
            assert (await ask(here))[0] == 200
            await here.until(lambda: not here.plane.dialer.connections)
        assert [one.session_reused for one in server.shaken] == [False, True]


async def test_an_idle_connection_that_speaks_unasked_is_closed(tmp_path: Path) -> None:
    speak = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(ok())
        await speak.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()

    async with secure(script) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        assert (await ask(here))[0] == 200
        speak.set()
        await here.until(lambda: not here.plane.dialer.connections)


# Big bodies


@pytest.mark.slow
async def test_big_bodies_pass_both_ways_at_the_pace_of_the_slower_side(tmp_path: Path) -> None:
    size = 20 * 1024 * 1024
    piece = bytes(range(256)) * 256
    bound = 2**20  # bytes that may wait within the balancer
    server_may_read = asyncio.Event()
    read: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        await server_may_read.wait()
        digest = hashlib.sha256()
        left = size
        while left:
            data = await peer.reader.read(65536)
            left -= len(data)
            digest.update(data)
        read.append(digest.digest())
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            await peer.send(piece)

    async def upload(client: Peer) -> None:
        for _ in range(size // len(piece)):
            await client.send(piece)

    want = hashlib.sha256(piece * (size // len(piece))).digest()
    async with secure(script) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        client = await here.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n" % size)
        uploading = asyncio.create_task(upload(client))
        (near,) = here.plane.listeners["main"].connections
        await here.until(lambda: here.plane.dialer.connections and near._held and server.connections)
        (far,) = here.plane.dialer.connections
        await here.until(lambda: far._full)
        assert isinstance(far._transport, TlsLayer)
        assert far._transport.get_write_buffer_size() < bound
        server_may_read.set()
        await uploading
        await here.until(lambda: far._held)  # nobody reads the answer
        assert near._transport is not None
        assert near._transport.get_write_buffer_size() < bound
        assert sum(map(len, far._transport._held)) < bound
        assert b"200 OK" in await client.head()
        assert hashlib.sha256(await client.exactly(size)).digest() == want
    assert read == [want]


async def test_a_tunnel_passes_both_ways_and_each_half_ends_by_itself(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        assert await peer.exactly(3) == b"abc"
        await peer.send(b"def")

    async with secure(script) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        client = await here.connect()
        await client.send(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 101")
        assert await client.exactly(5) == b"hello"
        await client.send(b"abc")
        assert await client.exactly(3) == b"def"
        assert await client.rest() == b""
        client.cut()
        await here.until(lambda: not here.plane.dialer.connections)
        assert here.plane.pools["app"].servers["a"].tunnels == 0


# A new configuration


async def test_a_ca_that_cannot_be_loaded_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    async with secure(replies(ok())) as server, site(https({"a": server}, {"ca": trusted(tmp_path)})) as here:
        assert (await ask(here))[0] == 200
        for ca, reason in (("none.pem", "cannot read"), ("empty.pem", "holds none that can be read"), (".", "cannot")):
            with pytest.raises(PlaneError) as refused:
                await here.apply(https({"a": server}, {"ca": str(tmp_path / ca)}))
            assert refused.value.problems[0].startswith("pools.app.tls.ca: ")
            assert reason in str(refused.value)
        assert (await ask(here))[0] == 200
        assert server.connections == 1


async def test_connections_made_under_another_trust_are_not_kept(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            if b"/held" in await peer.head():
                await held.wait()
            await peer.send(ok())

    async with secure(script) as server:
        ca = trusted(tmp_path)
        async with site(https({"a": server}, {"ca": ca})) as here:
            client = await here.connect()
            await client.send(GET.replace(b"/x", b"/held"))
            assert (await ask(here))[0] == 200
            await here.until(lambda: server.connections == 2)
            await here.apply(https({"a": server}, {"ca": ca, "server_name": "127.0.0.1"}))
            held.set()
            assert (await client.answer())[0] == 200
            await here.until(lambda: not here.plane.dialer.connections)
            assert (await ask(here))[0] == 200
            assert server.connections == 3


async def test_a_ca_file_is_read_again_when_files_are_to_be(tmp_path: Path) -> None:
    async with secure(replies(ok())) as server:
        ca = trusted(tmp_path)
        async with site(https({"a": server}, {"ca": ca}, **NO_RETRY)) as here:
            assert (await ask(here))[0] == 200
            assert here.plane.snapshot is not None
            again = replace(here.plane.snapshot, generation=2, reads=1)
            await here.plane.apply(again)  # nothing has changed in it, so connections stay
            assert (await ask(here))[0] == 200
            assert server.connections == 1
            trusted(tmp_path, stranger())
            await here.plane.apply(replace(again, generation=3))  # nobody said that files are to be read
            assert (await ask(here))[0] == 200
            await here.plane.apply(replace(again, generation=4, reads=2))
            status, body = await ask(here)
            assert status == 502
            assert b"not signed by a known authority" in body


async def test_tls_on_both_sides(tmp_path: Path) -> None:
    shown = authority().issue_cert("127.0.0.1")
    (tmp_path / "own.pem").write_bytes(b"".join(blob.bytes() for blob in shown.cert_chain_pems))
    (tmp_path / "own.key").write_bytes(shown.private_key_pem.bytes())
    files = {"cert": str(tmp_path / "own.pem"), "key": str(tmp_path / "own.key")}
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append(await peer.head())
            await peer.send(ok(b"x" * 100_000))

    trust = ssl.create_default_context(cafile=trusted(tmp_path))
    async with secure(script) as server:
        settings = https({"a": server}, {"ca": trusted(tmp_path)})
        listener = Listener.model_validate({"address": "127.0.0.1:0", "tls": {"certificates": [files]}})
        async with site(settings.model_copy(update={"listeners": {"main": listener}})) as here:
            client = Peer(*await asyncio.open_connection("127.0.0.1", here.port, ssl=trust))
            for _ in range(3):
                await client.send(GET)
                assert (await client.answer())[::2] == (200, b"x" * 100_000)
            await client.close()
    assert server.connections == 1
    assert all(b"X-Forwarded-Proto: https\r\n" in head for head in heads)
