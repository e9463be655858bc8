"""TLS on a listener, from the client's side of the wire."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from balancer.plane import PlaneError
from tests.proxy.wire import Peer, Site, config, ok, replies, serving, site
from tests.tls.authority import (
    NAME,
    RSA,
    authority,
    ca_file,
    issued,
    names_of,
    request,
    rewrite,
    secure,
    serial_of,
    serving_tls,
    stranger,
    trusting,
)
from tests.tls.test_hello import hello


async def echo_head(peer: Peer) -> None:
    """Answer each request with its own head."""
    while True:
        head = await peer.head()
        await peer.send(ok(head))


async def test_a_request_over_tls_is_answered_and_said_to_be_https(tmp_path: Path) -> None:
    async with serving(echo_head) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            peer = await secure(here)
            for _ in range(3):
                await peer.send(request())
                status, _, body = await peer.answer()
                assert status == 200
                assert b"X-Forwarded-Proto: https\r\n" in body
                assert b";proto=https" in body
            assert here.plane.listeners["main"].tally.handshakes == 1
            assert [decision.tls for decision in here.decisions] == ["TLSv1.3"] * 3


@pytest.mark.slow
async def test_the_certificate_is_chosen_by_name(tmp_path: Path) -> None:
    certificates = [
        issued(tmp_path, "first.test"),
        issued(tmp_path, "second.test", "also.second.test"),
        issued(tmp_path, "*.second.test"),
    ]
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": certificates})) as here:
            unchecked = trusting()
            unchecked.check_hostname = False
            for asked, shown in (
                ("first.test", "first.test"),
                ("second.test", "second.test"),
                ("SECOND.test", "second.test"),
                ("also.second.test", "second.test"),
                ("other.second.test", "*.second.test"),
                ("two.deep.second.test", "first.test"),
                ("unknown.test", "first.test"),
            ):
                peer = await secure(here, unchecked, asked)
                assert shown in names_of(peer), asked
                await peer.send(request())  # a Host that is not the name asked for is no error
                assert (await peer.answer())[0] == 200


async def test_a_client_without_a_name_gets_the_first_certificate(tmp_path: Path) -> None:
    certificates = [issued(tmp_path, "127.0.0.1", stem="first"), issued(tmp_path, "second.test")]
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": certificates})) as here:
            peer = await secure(here, name="127.0.0.1")
            await peer.send(request())
            assert (await peer.answer())[0] == 200


async def test_a_hello_that_comes_byte_by_byte_or_asks_for_no_ascii_is_answered(tmp_path: Path) -> None:
    certificates = [issued(tmp_path, "first.test"), issued(tmp_path, NAME)]
    plain = hello(NAME)
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": certificates})) as here:
            for data in (plain, plain.replace(NAME.encode(), NAME.replace("i", "\xff").encode("latin-1"))):
                peer = await here.connect()
                for at in range(len(data)):
                    await peer.send(data[at : at + 1])
                    await asyncio.sleep(0)
                assert await peer.exactly(3) == b"\x16\x03\x03"  # a ServerHello; a traceback would be a failure
                peer.cut()


async def test_of_two_kinds_of_keys_a_client_gets_the_one_it_knows(tmp_path: Path) -> None:
    certificates = [issued(tmp_path, NAME, stem="ec"), issued(tmp_path, NAME, stem="rsa", key=RSA)]
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": certificates})) as here:
            for kind in ("ECDSA", "RSA"):
                context = trusting()
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
                peer = await secure(here, context)
                assert kind in peer.writer.get_extra_info("cipher")[0]


async def test_versions_before_the_oldest_one_are_refused(tmp_path: Path) -> None:
    tls = {"certificates": [issued(tmp_path, NAME)], "minimum": "1.3"}
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, tls)) as here:
            context = trusting()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(ssl.SSLError):
                await secure(here, context)
            tally = here.plane.listeners["main"].tally
            await here.until(lambda: tally.open == 0)
            assert dict(tally.handshake_errors) == {"unsupported": 1}


async def test_tls_1_1_is_refused(tmp_path: Path) -> None:
    body = bytes.fromhex("0302" + "11" * 32 + "00" + "0004" + "c013002f" + "0100")
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            answer = await here.ask(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
            assert answer[:1] == b"\x15"  # an alert
            assert answer[-1] == 70  # protocol_version (RFC 8446 section 6.2)
            await here.until(lambda: here.plane.listeners["main"].tally.open == 0)
            assert dict(here.plane.listeners["main"].tally.handshake_errors) == {"unsupported": 1}


async def test_http_1_1_is_what_is_agreed_on(tmp_path: Path) -> None:
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            for offered, agreed in ((["h2", "http/1.1"], "http/1.1"), (["h2"], None)):
                context = trusting()
                context.set_alpn_protocols(offered)
                peer = await secure(here, context)
                assert peer.writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed


@pytest.mark.slow
async def test_plain_http_on_a_tls_port_is_told_so(tmp_path: Path) -> None:
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            answer = await here.ask(request())
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"this port speaks TLS: use https://" in answer
            assert server.connections == 0
            tally = here.plane.listeners["main"].tally
            await here.until(lambda: tally.open == 0)
            assert dict(tally.rejected) == {"plain-http": 1}


async def test_what_is_neither_tls_nor_http_is_cut(tmp_path: Path) -> None:
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            assert await here.ask(b"\x00\x01\x02") == b""
            tally = here.plane.listeners["main"].tally
            assert dict(tally.rejected) == {"not-tls": 1}
            answer = await here.ask(b"\x16\x03\x01\xff\xff" + b"\x00" * 100)
            assert b"HTTP" not in answer
            await here.until(lambda: tally.open == 0)
            assert dict(tally.handshake_errors) == {"malformed": 1}


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
async def test_a_handshake_has_its_time(tmp_path: Path, said: bytes) -> None:
    tls = {"certificates": [issued(tmp_path, NAME)]}
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, tls, timeouts={"tls_handshake": 0.2})) as here:
            assert await here.ask(said) == b""
            tally = here.plane.listeners["main"].tally
            await here.until(lambda: tally.open == 0)
            assert dict(tally.handshake_errors) == ({"timeout": 1} if said else {})


async def test_connections_in_a_handshake_count(tmp_path: Path) -> None:
    tls = {"certificates": [issued(tmp_path, NAME)]}
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, tls, limits={"connections": 2, "connections_per_client": 2})) as here:
            tally = here.plane.listeners["main"].tally
            slow = await here.connect()
            await slow.send(b"\x16\x03")
            peer = await secure(here)
            assert await here.ask(b"") == b""
            assert dict(tally.rejected) == {"too-many-connections": 1}
            await peer.send(request())
            assert (await peer.answer())[0] == 200
            assert tally.open == 2
            assert tally.connections == 3
            slow.cut()
            await peer.close()
            await here.until(lambda: tally.open == 0)


async def test_a_session_is_resumed(tmp_path: Path) -> None:
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            port = here.plane.listeners["main"].port
            context = trusting()

            def ask(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
                with (
                    socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
                    context.wrap_socket(raw, server_hostname=NAME, session=session) as wrapped,
                ):
                    wrapped.sendall(request(fields="Connection: close\r\n"))
                    while wrapped.recv(4096):
                        pass
                    return bool(wrapped.session_reused), wrapped.session

            first, session = await asyncio.to_thread(ask, None)
            assert not first
            assert (await asyncio.to_thread(ask, session))[0]


async def test_a_truncated_upload_is_not_taken_for_complete(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        heard.append(await peer.rest())

    async with serving(script) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            peer = await secure(here)
            chunked = "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
            await peer.send(f"POST / HTTP/1.1\r\nHost: {NAME}\r\n{chunked}".encode())
            await here.until(lambda: server.connections)
            peer.cut()
            await here.until(lambda: heard)
            assert heard == [b"4\r\nhalf\r\n"]  # and no last chunk
            assert [decision.outcome for decision in here.decisions] == ["client-abort"]


@pytest.mark.slow
async def test_a_large_answer_waits_for_a_slow_reader(tmp_path: Path) -> None:
    size = 40_000_000  # more than all sockets on the way have room for
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.send(b"x" * 50_000)
            sent += 50_000

    async with serving(script) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            peer = await secure(here)
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own
            await peer.send(request())
            before = -1
            while sent > before or not sent:
                before = sent
                await asyncio.sleep(0.05)
            assert sent < size  # the server is held back
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
            _, _, body = await peer.answer()
            assert len(body) == size


async def test_a_large_upload_arrives_whole(tmp_path: Path) -> None:
    size = 3_000_000

    async def script(peer: Peer) -> None:
        await peer.head()
        body = await peer.exactly(size)
        await peer.send(ok(b"%d" % len(body)))

    async with serving(script) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            peer = await secure(here)
            await peer.send(request(body="x" * size))
            assert await peer.answer() is not None
            assert here.decisions[0].bytes_in == size


async def test_the_last_answer_ends_in_an_orderly_way(tmp_path: Path) -> None:
    async with serving(replies(ok(b"bye"))) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            peer = await secure(here)
            await peer.send(request(fields="Connection: close\r\n"))
            assert (await peer.rest()).endswith(b"bye")  # a read that ends without an error has seen a close_notify
            await peer.close()
            await here.until(lambda: here.plane.listeners["main"].tally.open == 0)


async def test_a_tunnel_goes_through(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await peer.reader.read(65536):
            await peer.send(data.upper())

    async with serving(script) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            peer = await secure(here)
            await peer.send(request(fields="Connection: Upgrade\r\nUpgrade: websocket\r\n"))
            assert b" 101 " in await peer.head()
            for _ in range(20):
                await peer.send(b"x" * 10_000)
                assert await peer.exactly(10_000) == b"X" * 10_000
            await peer.close()
            await here.until(lambda: here.plane.listeners["main"].tally.open == 0)


# Redirects.


async def test_a_redirect_leads_to_https(tmp_path: Path) -> None:
    async with serving(replies(ok())) as (server,):
        listeners = {
            "main": {"address": "127.0.0.1:0", "tls": {"certificates": [issued(tmp_path, NAME)]}},
            "old": {"address": "127.0.0.1:0", "redirect": "main"},
        }
        async with site(config({"one": server}, whole={"listeners": listeners})) as here:
            reader, writer = await asyncio.open_connection("127.0.0.1", here.plane.listeners["old"].port)
            here.peers.append(Peer(reader, writer))
            await here.peers[-1].send(request("/a?b"))
            status, fields, _ = await here.peers[-1].answer()
            assert (status, fields["location"]) == (308, f"https://{NAME}:{here.port}/a?b")


# Files that change.


@pytest.mark.slow
async def test_a_new_certificate_is_shown_while_requests_go_on(tmp_path: Path) -> None:
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": [issued(tmp_path, NAME)]})) as here:
            old = await secure(here)
            await old.send(request())
            await old.answer()
            before = serial_of(old)
            issued(tmp_path, NAME)
            served = 0
            for _ in range(1000):
                peer = await secure(here)
                await peer.send(request())
                assert (await peer.answer())[0] == 200
                served += 1
                shown = serial_of(peer)
                await peer.close()
                if shown != before:
                    break
                await asyncio.sleep(0.01)
            assert shown != before
            assert served > 1
            await old.send(request())  # the connection that was there is untouched
            assert (await old.answer())[0] == 200
            assert [event[:2] for event in here.events] == [("certificates_loaded", "main")]


@pytest.mark.slow
async def test_a_pair_that_does_not_fit_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    files = issued(tmp_path, NAME)
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": [files]})) as here:
            before = serial_of(await secure(here))
            other = authority().issue_cert(NAME)
            rewrite(files["key"], other.private_key_pem.bytes())
            await here.until(lambda: here.events)
            await asyncio.sleep(1.2)  # another look
            assert [event[:2] for event in here.events] == [("certificates_kept", "main")]
            assert "is not the key of the certificate in" in here.events[0][2]
            assert serial_of(await secure(here)) == before
            rewrite(files["cert"], b"".join(pem.bytes() for pem in other.cert_chain_pems))
            await here.until(lambda: len(here.events) == 2)
            assert here.events[1][0] == "certificates_loaded"
            assert serial_of(await secure(here)) != before


async def test_files_that_cannot_be_used_at_the_start_are_a_problem_with_a_path(tmp_path: Path) -> None:
    async with serving(replies(ok())) as (server,):
        with pytest.raises(PlaneError) as caught:
            async with site(serving_tls(server, {"certificates": [{"cert": str(tmp_path / "no"), "key": "no"}]})):
                pass
        expected = f"listeners.main.tls.certificates[0].cert: {tmp_path}/no cannot be read: No such file or directory"
        assert caught.value.problems == [expected]


async def test_a_change_elsewhere_is_taken_though_the_files_are_broken_by_now(tmp_path: Path) -> None:
    files = issued(tmp_path, NAME)
    async with serving(replies(ok())) as (server,):
        async with site(serving_tls(server, {"certificates": [files]})) as here:
            rewrite(files["cert"], b"half of it")
            await here.apply(serving_tls(server, {"certificates": [files]}, limits={"connections": 7}))
            assert here.plane.listeners["main"].most_connections == 7
            await secure(here)
            assert here.events[0][0] == "certificates_kept"


async def test_new_tls_settings_of_an_address_drop_nothing(tmp_path: Path) -> None:
    async with serving(replies(ok())) as (server,):
        one, two = issued(tmp_path, NAME, stem="one"), issued(tmp_path, NAME, stem="two")
        async with site(serving_tls(server, {"certificates": [one]})) as here:
            old = await secure(here)
            port = here.port
            await here.apply(serving_tls(server, {"certificates": [two]}))
            assert here.port == port
            new = await secure(here)
            assert serial_of(new) != serial_of(old)
            for peer in (old, new):
                await peer.send(request())
                assert (await peer.answer())[0] == 200
            await here.apply(config({"one": server}))  # and back to plain HTTP
            await old.send(request())
            assert (await old.answer())[0] == 200
            plain = await here.connect()
            await plain.send(request())
            assert (await plain.answer())[0] == 200


# Client certificates.


async def refused(here: Site, context: ssl.SSLContext, name: str) -> None:
    """With TLS 1.3 a client learns only later that it has not got in."""
    peer = await secure(here, context, name)
    await peer.send(request())
    await peer.answer()


def as_client(*names: str, ours: bool = True, **more: str) -> ssl.SSLContext:
    context = trusting()
    (authority() if ours else stranger()).issue_cert(*names, **more).configure_cert(context)  # type: ignore[arg-type]
    return context


async def test_without_a_certificate_of_the_authority_nobody_gets_in(tmp_path: Path) -> None:
    tls = {"certificates": [issued(tmp_path, NAME), issued(tmp_path, "other.test")], "client_ca": ca_file(tmp_path)}
    async with serving(echo_head) as (server,):
        async with site(serving_tls(server, tls)) as here:
            tally = here.plane.listeners["main"].tally
            for context in (trusting(), as_client("alice.test", ours=False)):
                for name in (NAME, "other.test"):  # the certificate that is shown makes no difference
                    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                        await refused(here, context, name)
            await here.until(lambda: tally.open == 0)
            assert dict(tally.handshake_errors) == {"client-certificate": 4}
            assert server.connections == 0


async def test_servers_are_told_whose_certificate_it_was(tmp_path: Path) -> None:
    tls = {"certificates": [issued(tmp_path, NAME), issued(tmp_path, "other.test")], "client_ca": ca_file(tmp_path)}
    async with serving(echo_head) as (server,):
        async with site(serving_tls(server, tls, trusted_proxies=["127.0.0.0/8"])) as here:
            context = as_client("alice.test", common_name="Zo\u00eb \r\nX-Admin: 1")
            names = "X-Client-Subject", "X_Client_Subject", "X-Client_subject", "X.Client.Subject", "X-Client~Subject"
            forged = "".join(f"{one}: CN=root\r\n" for one in names)
            for name in (NAME, "other.test"):
                peer = await secure(here, context, name)
                for _ in range(2):
                    await peer.send(request(fields=forged))
                    _, _, body = await peer.answer()
                    lines = [line for line in body.split(b"\r\n") if b"subject" in line.lower()]
                    assert len(lines) == 1
                    assert lines[0].startswith(b"X-Client-Subject: ")
                    assert b"CN=Zo\\C3\\AB \\0D\\0AX-Admin: 1" in lines[0]
                    assert b"root" not in body


async def test_a_route_goes_by_the_real_subject_and_not_by_a_forged_one(tmp_path: Path) -> None:
    tls = {"certificates": [issued(tmp_path, NAME)], "client_ca": ca_file(tmp_path)}
    listeners = {"main": {"address": "127.0.0.1:0", "tls": tls}}
    whole = {"listeners": listeners}
    context = as_client("alice.test", common_name="alice")
    async with serving(echo_head) as (server,):
        async with site(config({"one": server}, whole=whole)) as here:
            peer = await secure(here, context, NAME)
            await peer.send(request())
            _, _, body = await peer.answer()
            (line,) = (line for line in body.split(b"\r\n") if line.startswith(b"X-Client-Subject: "))
            subject = line.partition(b": ")[2].decode()
            for wanted, status in ((subject, 200), ("CN=root", 404)):
                route = {"match": {"headers": {"X-Client-Subject": wanted}}}
                await here.apply(config({"one": server}, route, whole))
                for _ in range(2):
                    await peer.send(request(fields="X-Client-Subject: CN=root\r\n"))
                    answered, _, body = await peer.answer()
                    assert answered == status
                    assert body.count(line) == (status == 200)


async def test_a_resumed_session_keeps_its_subject(tmp_path: Path) -> None:
    tls = {"certificates": [issued(tmp_path, NAME)], "client_ca": ca_file(tmp_path)}
    async with serving(echo_head) as (server,):
        async with site(serving_tls(server, tls)) as here:
            port = here.plane.listeners["main"].port
            context = as_client("alice.test", common_name="alice")

            def ask(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None, bytes]:
                with (
                    socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
                    context.wrap_socket(raw, server_hostname=NAME, session=session) as wrapped,
                ):
                    wrapped.sendall(request(fields="Connection: close\r\n"))
                    data = b""
                    while piece := wrapped.recv(4096):
                        data += piece
                    return bool(wrapped.session_reused), wrapped.session, data

            _, session, one = await asyncio.to_thread(ask, None)
            again, _, two = await asyncio.to_thread(ask, session)
            assert again
            for answer in (one, two):
                assert b"CN=alice" in answer


@pytest.mark.parametrize("stays", [True, False])
async def test_a_connection_from_before_cannot_forge_what_came_up_since(tmp_path: Path, stays: bool) -> None:
    plain = {"plain": {"address": "127.0.0.1:0"}}
    asking = {
        "main": {
            "address": "127.0.0.1:0",
            "tls": {"certificates": [issued(tmp_path, NAME)], "client_ca": ca_file(tmp_path)},
        }
    }
    async with serving(echo_head) as (server,):
        async with site(config({"one": server}, whole={"listeners": plain})) as here:
            reader, writer = await asyncio.open_connection("127.0.0.1", here.plane.listeners["plain"].port)
            here.peers.append(old := Peer(reader, writer))
            forged = request(fields="X-Client-Subject: CN=root\r\n")
            await old.send(forged)
            _, _, body = await old.answer()
            assert b"CN=root" in body  # it is a field like others, as long as nobody vouches for it
            listeners = {**plain, **asking} if stays else asking
            await here.apply(config({"one": server}, whole={"listeners": listeners}))
            await old.send(forged)
            _, _, body = await old.answer()
            assert b"CN=root" not in body


async def test_nobody_forges_the_subject_on_another_listener(tmp_path: Path) -> None:
    listeners = {
        "main": {
            "address": "127.0.0.1:0",
            "tls": {"certificates": [issued(tmp_path, NAME)], "client_ca": ca_file(tmp_path)},
        },
        "plain": {"address": "127.0.0.1:0"},
    }
    forged = "X-Client-Subject: CN=root\r\nx_client_subject: CN=root\r\nX-Other: stays\r\n"
    chunked = "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Client-Subject: CN=root\r\nX-Trailer: stays\r\n"

    async def script(peer: Peer) -> None:
        while True:
            head = await peer.head()
            if b"chunked" in head:
                head += await peer.head()
            await peer.send(ok(head))

    async with serving(script) as (server,):
        for trusted in ([], ["127.0.0.0/8"]):
            whole = {"listeners": listeners, "trusted_proxies": trusted}
            async with site(config({"one": server}, whole=whole)) as here:
                reader, writer = await asyncio.open_connection("127.0.0.1", here.plane.listeners["plain"].port)
                peer = Peer(reader, writer)
                here.peers.append(peer)
                await peer.send(request(fields=forged))
                _, _, body = await peer.answer()
                assert b"X-Other: stays" in body
                assert (b"CN=root" in body) == bool(trusted)  # a trusted proxy has verified it by itself
                await peer.send(f"POST / HTTP/1.1\r\nHost: {NAME}\r\n{chunked}\r\n".encode())
                _, _, body = await peer.answer()
                assert b"X-Trailer: stays" in body
                assert (b"CN=root" in body) == bool(trusted)


async def test_a_route_for_a_subject_is_for_who_has_its_certificate(tmp_path: Path) -> None:
    listeners = {
        "main": {
            "address": "127.0.0.1:0",
            "tls": {"certificates": [issued(tmp_path, NAME)], "client_ca": ca_file(tmp_path)},
        },
        "plain": {"address": "127.0.0.1:0"},
    }
    alice, mallory = (as_client(f"{name}.test", common_name=name) for name in ("alice", "mallory"))
    async with serving(echo_head) as (server,):
        found = config({"one": server}, whole={"listeners": listeners})
        async with site(found) as here:
            peer = await secure(here, alice)
            await peer.send(request())
            _, _, body = await peer.answer()
        (line,) = [line for line in body.split(b"\r\n") if line.startswith(b"X-Client-Subject: ")]
        subject = line.partition(b": ")[2].decode()
        match = {"path": "/**", "headers": {"X-Client-Subject": subject}}
        async with site(config({"one": server}, {"match": match}, whole={"listeners": listeners})) as here:
            for context, status in ((alice, 200), (mallory, 404)):
                peer = await secure(here, context)
                await peer.send(request(fields=f"X-Client-Subject: {subject}\r\n"))
                assert (await peer.answer())[0] == status
            reader, writer = await asyncio.open_connection("127.0.0.1", here.plane.listeners["plain"].port)
            peer = Peer(reader, writer)
            here.peers.append(peer)
            await peer.send(request(fields=f"X-Client-Subject: {subject}\r\n"))
            assert (await peer.answer())[0] == 404
