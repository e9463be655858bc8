"""The admin API of the running process with TLS: who is believed, what is sent to whom, and new certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bench.program import free_port
from tests.system.process import KEY, Balancer, running, until
from tests.tls.authority import authority, ca_file, issued, rewrite, stranger
from tests.tree import ROOT

pytestmark = pytest.mark.slow
STATUS = "/api/infrastructure/load-balancer/status"


class Guarded(Balancer):
    """A balancer whose admin listener speaks TLS."""

    def __init__(self, folder: Path) -> None:
        self.files = issued(folder, "admin.test", "127.0.0.1", stem="admin")
        port = free_port()
        admin = {
            "listen": f"127.0.0.1:{port}",
            "state": str(folder / "overlay.yaml"),
            "tls": self.files,
            "hosts": ["admin.test"],
        }
        super().__init__(folder, {"admin": admin, "servers": [f"http://127.0.0.1:{free_port()}"]})
        self.admin = port
        self.context = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.admin}"

    async def ready(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, self.output.decode()
        try:
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{self.base}/livez", ssl=self.context) as response:
                    return response.status == 200
        except aiohttp.ClientError:
            return False

    def command(self, *words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """The command line, with this key."""
        return subprocess.run(
            [sys.executable, "-m", "balancer", *words],
            env={"PYTHONPATH": str(ROOT), "PATH": "", "ADMIN_API_KEY": KEY, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    async def shown(self) -> bytes:
        """The certificate that a new connection is shown."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.admin, ssl=self.context)
        certificate = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        assert isinstance(certificate, bytes)
        return certificate


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    balancer = Guarded(tmp_path)
    async with running(balancer):
        yield balancer


async def test_the_api_speaks_tls_and_a_session_has_the_name_that_only_tls_can_set(guarded: Guarded) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        async with session.post(f"{guarded.base}/api/session", json={"key": KEY}, ssl=guarded.context) as answer:
            assert answer.status == 201
            cookie = answer.headers["Set-Cookie"]
            token = (await answer.json())["csrf_token"]
        name, _, rest = cookie.partition("=")
        assert name == "__Host-balancer"
        assert rest.partition("; ")[2] == "Path=/; HttpOnly; SameSite=Strict; Secure"
        mine = {"Cookie": cookie.partition(";")[0], "Origin": guarded.base, "X-CSRF-Token": token}
        async with session.get(f"{guarded.base}{STATUS}", headers=mine, ssl=guarded.context) as answer:
            assert answer.status == 200
        plain = {**mine, "Origin": f"http://127.0.0.1:{guarded.admin}"}
        for headers, status in ((plain, 403), (mine, 200)):
            url = f"{guarded.base}/api/config/reload"
            async with session.post(url, headers=headers, ssl=guarded.context) as answer:
                assert answer.status == status
        # The name without the prefix may have been set by anybody.
        bare = {"Cookie": mine["Cookie"].removeprefix("__Host-")}
        async with session.get(f"{guarded.base}{STATUS}", headers=bare, ssl=guarded.context) as answer:
            assert answer.status == 401


async def test_who_asks_in_plain_http_is_told_and_gets_nothing(guarded: Guarded) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.admin)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\nthis port speaks TLS: use https://\n")


async def test_a_new_certificate_is_shown_without_a_restart_and_a_broken_one_is_not(
    guarded: Guarded, tmp_path: Path
) -> None:
    before = await guarded.shown()
    rewrite(guarded.files["cert"], b"broken")
    await until(lambda: b"certificates_kept" in guarded.output, guarded)
    assert await guarded.shown() == before
    issued(tmp_path, "admin.test", "127.0.0.1", stem="admin")

    async def renewed() -> bool:
        return await guarded.shown() != before

    await until(renewed, guarded)


async def test_those_who_never_finish_a_handshake_do_not_keep_others_out(guarded: Guarded) -> None:
    silent = [socket.create_connection(("127.0.0.1", guarded.admin)) for _ in range(300)]
    try:
        assert await guarded.ready()
    finally:
        for one in silent:
            one.close()
    assert await guarded.ready()


async def test_the_command_line_knows_the_certificate_of_the_configuration_and_nobody_else_s(
    guarded: Guarded, tmp_path: Path
) -> None:
    config = ("-c", str(guarded.file))
    done = await asyncio.to_thread(guarded.command, "status", *config)
    assert done.returncode == 0, done.stderr
    done = await asyncio.to_thread(guarded.command, "healthcheck", *config)
    assert done.returncode == 0, done.stderr
    # Another certificate in the file than the one that is shown: no key is sent.
    other = issued(tmp_path / "other", "admin.test", "127.0.0.1", ca=stranger())
    file = tmp_path / "other.yaml"
    file.write_text(guarded.file.read_text().replace(guarded.files["cert"], other["cert"]))
    done = await asyncio.to_thread(guarded.command, "status", "-c", str(file))
    assert done.returncode == 1
    assert "does not prove to be the balancer, and was sent no key: another certificate" in done.stderr


async def test_the_command_line_believes_the_authority_that_it_is_told(guarded: Guarded, tmp_path: Path) -> None:
    where = ("--admin", guarded.base)
    mine, theirs = ca_file(tmp_path / "."), ca_file(_folder(tmp_path / "theirs"), stranger())
    done = await asyncio.to_thread(guarded.command, "status", *where, "--ca", mine)
    assert done.returncode == 0, done.stderr
    done = await asyncio.to_thread(guarded.command, "status", *where, environ={"BALANCER_ADMIN_CA": mine})
    assert done.returncode == 0, done.stderr
    for words in ((), ("--ca", theirs)):
        done = await asyncio.to_thread(guarded.command, "status", *where, *words)
        assert done.returncode == 1
        assert "was sent no key" in done.stderr
        assert "--ca or BALANCER_ADMIN_CA" in done.stderr
    done = await asyncio.to_thread(guarded.command, "status", *where, "--ca", str(guarded.file))
    assert (done.returncode, "must be a file of certificates in PEM" in done.stderr) == (2, True)
    done = await asyncio.to_thread(guarded.command, "status", "--admin", f"http://127.0.0.1:{guarded.admin}")
    assert done.returncode == 3
    assert "speaks TLS: use https://" in done.stderr


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


async def test_a_certificate_that_can_not_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    balancer = Guarded(tmp_path)
    rewrite(balancer.files["key"], b"nonsense")
    done = await asyncio.to_thread(balancer.command, "run", "-c", str(balancer.file))
    assert done.returncode == 1
    assert "admin.tls.key: " in done.stderr
    assert "must hold a private key in PEM" in done.stderr
    done = await asyncio.to_thread(balancer.command, "check", str(balancer.file))
    assert done.returncode == 2
    assert "admin.tls.key: " in done.stdout + done.stderr
