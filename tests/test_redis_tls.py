"""Redis over TLS: what `redis.tls` believes, and what it shows."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from balancer.redis_access import RedisAccess
from balancer.redis_gateway import Gateway, Unavailable
from balancer.redis_link import RedisLink
from config.pool import ClientCertificate, ServerTls
from config.schema import Config, Redis
from tests.redis_server import RedisCluster, RedisServer, binary, redis_server

__all__ = ["redis_server"]  # a fixture

PATIENT = 5.0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, server.pem and server.key for localhost and 127.0.0.1, and the same of a client."""
    place = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(place / "other-ca.pem"))
    names = {"server": ("localhost", "127.0.0.1"), "client": ("balancer",), "named": ("redis.example",)}
    for name, identities in names.items():
        leaf = authority.issue_cert(*identities, key_type=trustme.KeyType.ECDSA)
        leaf.cert_chain_pems[0].write_to_path(str(place / f"{name}.pem"))
        leaf.private_key_pem.write_to_path(str(place / f"{name}.key"))
    return place


@asynccontextmanager
async def before(port: int, files: Path, name: str = "server", *, client: bool = False) -> AsyncIterator[int]:
    """Takes TLS off what comes, as a terminator in front of Redis does; gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / f"{name}.pem", files / f"{name}.key")
    if client:
        context.load_verify_locations(files / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    passing: set[asyncio.Task[None]] = set()

    async def flow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        for task in (asyncio.create_task(flow(reader, back)), asyncio.create_task(flow(there, writer))):
            passing.add(task)
            task.add_done_callback(passing.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if passing:
            await asyncio.wait(passing, timeout=5)
        await server.wait_closed()


@asynccontextmanager
async def gateway_to(url: str, tls: ServerTls) -> AsyncIterator[Gateway]:
    gateway = Gateway(Redis(url=url, timeout=PATIENT, tls=tls))
    try:
        yield gateway
    finally:
        await gateway.close()


async def refused(gateway: Gateway) -> str:
    """Why there is no TLS."""
    with pytest.raises(Unavailable, match=r"tls|closed|connect"):
        await gateway.run("GET", "a")
    return gateway.state.reason or ""


async def test_a_server_that_is_believed_is_asked(redis_server: RedisServer, files: Path) -> None:
    async with before(redis_server.port, files) as port:
        async with gateway_to(f"rediss://127.0.0.1:{port}/0", ServerTls(ca=str(files / "ca.pem"))) as gateway:
            assert await gateway.run("SET", "a", b"x" * 200_000) == b"OK"
            assert await gateway.run("STRLEN", "a") == 200_000
        tls = ServerTls(ca=str(files / "ca.pem"))
        link = RedisLink(Redis(url=f"rediss://localhost:{port}", timeout=PATIENT, tls=tls))
        assert (await link.check_now()).ok is True
        await link.close()


async def test_a_server_that_is_not_believed_is_a_reason(redis_server: RedisServer, files: Path) -> None:
    async with before(redis_server.port, files) as port, before(redis_server.port, files, "named") as named:
        url = f"rediss://127.0.0.1:{port}"
        async with gateway_to(url, ServerTls(ca=str(files / "other-ca.pem"))) as gateway:
            assert await refused(gateway) == "TLS: its certificate is not signed by a known authority"
        async with gateway_to(url, ServerTls(ca=str(files / "none.pem"))) as gateway:
            assert (await refused(gateway)).startswith(f"redis.tls.ca: cannot read {files}/none.pem")
        async with gateway_to(f"rediss://127.0.0.1:{named}", ServerTls(ca=str(files / "ca.pem"))) as gateway:
            assert await refused(gateway) == "TLS: its certificate is for another name"
        named_so = ServerTls(ca=str(files / "ca.pem"), server_name="redis.example")
        async with gateway_to(f"rediss://127.0.0.1:{named}", named_so) as gateway:
            assert await gateway.run("GET", "a") is None
        async with gateway_to(url, ServerTls(verify=False)) as gateway:
            assert await gateway.run("GET", "a") is None


async def test_a_certificate_of_ones_own_is_shown_to_who_asks_for_it(redis_server: RedisServer, files: Path) -> None:
    async with before(redis_server.port, files, client=True) as port:
        url = f"rediss://127.0.0.1:{port}"
        async with gateway_to(url, ServerTls(ca=str(files / "ca.pem"))) as gateway:
            assert await refused(gateway)
        shown = ClientCertificate(cert=str(files / "client.pem"), key=str(files / "client.key"))
        async with gateway_to(url, ServerTls(ca=str(files / "ca.pem"), certificate=shown)) as gateway:
            assert await gateway.run("GET", "a") is None


async def test_a_server_without_tls_is_a_reason(redis_server: RedisServer, files: Path) -> None:
    gateway = Gateway(Redis(url=f"rediss://127.0.0.1:{redis_server.port}", timeout=0.1, tls=ServerTls(verify=False)))
    with pytest.raises(Unavailable, match="timeout"):  # Redis waits for more of what it does not understand
        await gateway.run("GET", "a")
    async with asyncio.timeout(10):
        while "Timeout connecting" not in str(gateway.state.reason):  # noqa: ASYNC110  # the product waits for no reason
            await asyncio.sleep(0.01)
    await gateway.close()


async def test_files_are_read_again_with_a_reload_and_connections_last(redis_server: RedisServer, files: Path) -> None:
    access = RedisAccess()
    async with before(redis_server.port, files) as port:
        redis = {"url": f"rediss://127.0.0.1:{port}", "timeout": PATIENT, "tls": {"ca": str(files / "ca.pem")}}
        config = Config.model_validate({"redis": redis, "listeners": {}, "pools": {}, "routes": {}})
        contexts, connects = set(), 0
        for reads in (1, 1, 2):
            await access.prepare(config, reads)
            await access.change(config, wanted=True)
            gateway = access.gateway
            assert gateway is not None
            assert await gateway.run("GET", "a") is None
            contexts.add(gateway.reach.context)
            connects = gateway.state.connects
        assert len(contexts) == 2
        assert connects == 1
        await access.close()


@pytest.fixture
def tls_server(tmp_path: Path, files: Path) -> Iterator[RedisServer]:
    if not _speaks_tls():
        pytest.skip(f"{binary()} is built without TLS")
    given = ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem"]
    options = [str(files / part) if part.endswith((".pem", ".key")) else part for part in given]
    server = RedisServer(tmp_path, options=["--port", "0", *options, "--tls-auth-clients", "yes"])
    server.options += ["--tls-port", str(server.port)]
    server.start()
    yield server
    server.kill()


def _speaks_tls() -> bool:
    """One that does wants a certificate; one that does not, does not know the option."""
    done = subprocess.run([binary(), "--port", "0", "--tls-port", "1"], capture_output=True, text=True, timeout=10)
    return "tls-cert-file" in done.stdout


async def test_nodes_of_a_cluster_are_all_spoken_to_with_tls(tmp_path: Path, files: Path) -> None:
    if not _speaks_tls():
        pytest.skip(f"{binary()} is built without TLS")
    given = ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem"]
    options = [str(files / part) if part.endswith((".pem", ".key")) else part for part in given]
    with RedisCluster(tmp_path, tls=[*options, "--tls-auth-clients", "no"]) as cluster:
        url = f"rediss+cluster://localhost:{cluster.tls_ports[0]}"
        async with gateway_to(url, ServerTls(ca=str(files / "ca.pem"))) as gateway:
            await asyncio.gather(*(gateway.run("SET", f"k{n}", n) for n in range(50)))
            assert await gateway.run("GET", "k7") == b"7"
            places = {f"127.0.0.1:{port}" for port in cluster.tls_ports}
            async with asyncio.timeout(10):
                while {name for name, _ in gateway.nodes()} != places:  # noqa: ASYNC110  # nothing waits for it
                    await asyncio.sleep(0.01)
            answers = await asyncio.gather(*(gateway.run("GET", f"k{n}") for n in range(50)))
            assert answers == [b"%d" % n for n in range(50)]


async def test_redis_itself_may_speak_tls(tls_server: RedisServer, files: Path) -> None:
    shown = ClientCertificate(cert=str(files / "client.pem"), key=str(files / "client.key"))
    tls = ServerTls(ca=str(files / "ca.pem"), certificate=shown)
    async with gateway_to(f"rediss://127.0.0.1:{tls_server.port}", tls) as gateway:
        assert await gateway.run("SET", "a", "1") == b"OK"
    async with gateway_to(f"rediss://127.0.0.1:{tls_server.port}", ServerTls(ca=tls.ca)) as gateway:
        assert await refused(gateway)
