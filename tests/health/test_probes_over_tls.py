"""Checks of servers that are reached by TLS, or told the client first: as their traffic is."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from balancer.health.probes import ProbeResult, open_session, probe
from balancer.health.target import Target, targets
from balancer.http1.proxy_protocol import Preamble
from balancer.server_tls import build
from config.schema import ActiveChecks, Config
from tests.proxy.secure import context, https, secure, trusted
from tests.proxy.test_failover import refusing_port
from tests.proxy.test_proxy_protocol_to_servers import Told
from tests.proxy.wire import PATIENCE, Peer, ok, replies, serving

WAYS = pytest.mark.parametrize("tcp", [False, True])


async def ask(config: Config, **checks: Any) -> ProbeResult:
    pool = config.pools["app"]
    found: dict[Any, Target] = targets(config, (), {"app": build(pool.tls)})
    async with open_session() as session:
        return await probe(session, found["app", "a"], ActiveChecks(**checks))


@WAYS
async def test_a_server_with_a_good_certificate_passes(tmp_path: Path, tcp: bool) -> None:
    async with secure(replies(ok(b"fine"))) as server:
        result = await ask(https({"a": server}, {"ca": trusted(tmp_path)}), tcp=tcp, body=None if tcp else "fine")
        assert (result.ok, result.status) == (True, None if tcp else 200)


@WAYS
@pytest.mark.parametrize(
    ("names", "certificate", "tls", "reason"),
    [
        (("other.test",), {}, {}, "its certificate is for another name"),
        (("127.0.0.1",), {"by_stranger": True}, {}, "its certificate is not signed by a known authority"),
        (("127.0.0.1",), {"expired": True}, {}, "its certificate has expired"),
        (("127.0.0.1",), {}, {"server_name": "app.internal"}, "its certificate is for another name"),
    ],
)
async def test_a_server_that_is_not_believed_fails_with_the_reason(
    tmp_path: Path, names: tuple[str, ...], certificate: dict[str, bool], tls: dict[str, Any], reason: str, tcp: bool
) -> None:
    async with secure(replies(ok()), own=context(*names, **certificate)) as server:
        result = await ask(https({"a": server}, {"ca": trusted(tmp_path), **tls}), tcp=tcp)
        assert (result.ok, result.reason) == (False, reason)


@WAYS
async def test_a_server_is_believed_as_configured(tmp_path: Path, tcp: bool) -> None:
    async with secure(replies(ok()), own=context("app.internal")) as server:
        named = {"ca": trusted(tmp_path), "server_name": "app.internal"}
        assert (await ask(https({"a": server}, named), tcp=tcp)).ok
        assert (await ask(https({"a": server}, {"verify": False}), tcp=tcp)).ok


@WAYS
async def test_a_server_that_speaks_plain_http_is_called_that(tmp_path: Path, tcp: bool) -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with serving(plain) as (server,):
        result = await ask(https({"a": server}, {"ca": trusted(tmp_path)}), tcp=tcp)
    assert (result.ok, result.reason) == (False, "it does not speak TLS")


@WAYS
async def test_a_handshake_that_hangs_has_the_time_of_the_check(tmp_path: Path, tcp: bool) -> None:
    async def silent(peer: Peer) -> None:
        await peer.rest()

    async with serving(silent) as (server,):
        result = await ask(https({"a": server}, {"ca": trusted(tmp_path)}), tcp=tcp, timeout=0.1)
    assert (result.ok, result.reason) == (False, "no answer within 0.1s")


@WAYS
@pytest.mark.parametrize("secured", [False, True])
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_check_begins_with_a_preamble_of_its_own(
    tmp_path: Path, version: str, secured: bool, tcp: bool
) -> None:
    async with Told(context("127.0.0.1") if secured else None) as server:
        plain = () if secured else ("a",)
        settings = https({"a": server.port}, {"ca": trusted(tmp_path)}, plain=plain, proxy_protocol=version)
        result = await ask(settings, tcp=tcp)
        assert (result.ok, result.status) == (True, None if tcp else 200)
        told = await asyncio.wait_for(server.told.get(), PATIENCE)
        if version == "v2":
            assert told == Preamble(16)  # LOCAL
        else:
            assert told.destination == ("127.0.0.1", server.port)
            assert told.source is not None
            assert told.source[0] == "127.0.0.1"


@WAYS
async def test_a_refused_connection_is_called_that_with_a_preamble_too(tcp: bool) -> None:
    result = await ask(https({"a": refusing_port()}, {}, plain=("a",), proxy_protocol="v1"), tcp=tcp)
    assert (result.ok, result.reason) == (False, "connection refused")


@WAYS
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_server_that_is_not_believed_fails_with_a_preamble_too(tmp_path: Path, version: str, tcp: bool) -> None:
    async with Told(context("other.test")) as server:
        result = await ask(https({"a": server.port}, {"ca": trusted(tmp_path)}, proxy_protocol=version), tcp=tcp)
        assert (result.ok, result.reason) == (False, "its certificate is for another name")


@WAYS
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_socket_is_asked_with_a_preamble_too(tmp_path: Path, version: str, tcp: bool) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{tmp_path}/s")
    listening.listen()
    async with Told(listening=listening) as server:
        settings = https({"a": 1}, {}, plain=("a",), proxy_protocol=version)
        pool = settings.pools["app"]
        member = pool.servers["a"].model_copy(update={"url": f"unix:{tmp_path}/s"})
        pool = pool.model_copy(update={"servers": {"a": member}})
        assert (await ask(settings.model_copy(update={"pools": {"app": pool}}), tcp=tcp)).ok
        assert (await asyncio.wait_for(server.told.get(), PATIENCE)).source is None
