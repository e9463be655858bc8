import errno
import os
import socket

import pytest
from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import unused_port

from balancer.health.probes import open_session, probe
from balancer.health.target import Target
from config.schema import ActiveChecks
from tests.health.sites import End, ask, say, site, wire


async def test_a_refused_connection_is_called_that() -> None:
    result = await ask(f"http://127.0.0.1:{unused_port()}", ActiveChecks())
    assert (result.ok, result.status, result.reason) == (False, None, "connection refused")


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na"]
)
async def test_a_server_that_hangs_costs_no_more_than_the_timeout(sent: bytes) -> None:
    async with wire(sent, "hang") as url:
        result = await ask(url, ActiveChecks(timeout=0.05, body="x"))
    assert (result.ok, result.status, result.reason) == (False, None, "no answer within 0.05s")
    assert 0.045 <= result.seconds < 1  # a timer of uvloop counts whole milliseconds and may be early by one


@pytest.mark.parametrize(
    ("sent", "end", "reason"),
    [
        (b"", "close", "connection closed before an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "close", "connection closed before an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 500, "close", "connection closed before an answer"),
        (b"", "reset", "connection reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "reset", "connection reset"),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "close",
            "the answer is not valid HTTP/1.1, or its head is too long",
        ),
        (b"\x00\xff" * 5000, "close", "the answer is not valid HTTP/1.1, or its head is too long"),
        (
            b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
            "close",
            "the answer is not valid HTTP/1.1, or its head is too long",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na", "close", "the answer's body broke off"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
            "close",
            "the answer's body broke off",
        ),
        (b"HTTP/1.1 101 Other\r\nUpgrade: x\r\n\r\nabc", "close", "answered 101, expected 200-399"),
        (b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", "close", "answered 999, expected 200-399"),
    ],
)
async def test_whatever_a_server_sends_is_a_result_with_its_reason(sent: bytes, end: End, reason: str) -> None:
    async with wire(sent, end) as url:
        result = await ask(url, ActiveChecks(body="never"))
    assert (result.ok, result.reason) == (False, reason)


async def test_a_name_that_does_not_resolve_is_called_that() -> None:
    class Nowhere(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            raise OSError(None, "no such name")

        async def close(self) -> None:
            pass

    async with open_session(TCPConnector(resolver=Nowhere(), force_close=True)) as session:
        result = await probe(session, Target("http://app.internal:80", None), ActiveChecks())
    assert (result.ok, result.reason) == (False, "the name app.internal does not resolve")


@pytest.mark.parametrize("headers", [{"A": "x\r\nB: y"}, {"A": "\0"}])
async def test_a_header_that_cannot_be_sent_is_a_failed_check(headers: dict[str, str]) -> None:
    async with site(say()) as url:
        result = await ask(url, ActiveChecks(headers=headers))
    assert not result.ok
    assert result.reason.startswith("the check cannot be carried out as configured: ")


async def test_a_pattern_that_is_none_is_a_failed_check() -> None:
    async with site(say()) as url:
        result = await ask(url, ActiveChecks(body="("))
    assert not result.ok
    assert result.reason.startswith("the check cannot be carried out as configured: ")


class _NoDescriptors(AbstractResolver):
    """A resolver that has none left, as everything that opens a file then."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def close(self) -> None:
        pass


async def test_a_want_of_descriptors_is_no_verdict_on_the_server() -> None:
    async with open_session(TCPConnector(resolver=_NoDescriptors())) as session:
        result = await probe(session, Target("http://a.example:80", ActiveChecks()), ActiveChecks())
    assert (result.ok, result.ours) == (False, True)
    refused = await ask(f"http://127.0.0.1:{unused_port()}", ActiveChecks())
    assert (refused.ok, refused.ours) == (False, False)
