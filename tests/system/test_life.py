"""Start, reload and stop of the real process."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.system.process import HUP, KEY, TERM, AppServer, Balancer, Child, Load, free_port, running, until

pytestmark = pytest.mark.slow


async def test_sigterm_under_load_fails_no_request_and_exits_0(tmp_path: Path) -> None:
    server = AppServer("a", "--delay", "0.03")
    settings = {"servers": [f"http://127.0.0.1:{server.port}"], "shutdown": {"delay": "500ms", "grace": "5s"}}
    balancer = Balancer(tmp_path, settings)
    async with running(server, balancer):
        async with Load(balancer.url, clients=16) as load:
            await asyncio.sleep(1.0)
            balancer.signal(TERM)
            await asyncio.sleep(0.2)
            assert (await balancer.call("GET", "/readyz"))[0] == 503
            assert (await balancer.call("GET", "/livez"))[0] == 200
            assert await balancer.wait() == 0
        assert load.failures == []
        assert load.statuses[200] > 100


async def test_a_second_sigterm_does_not_wait(tmp_path: Path) -> None:
    server = AppServer("a")
    balancer = Balancer(tmp_path, {"servers": [f"http://127.0.0.1:{server.port}"], "shutdown": {"grace": "60s"}})
    async with running(server, balancer):
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{balancer.url}/ws") as socket:
            await socket.send_str("hello")
            balancer.signal(TERM)
            await until(lambda: b"stopping" in balancer.output, balancer)
            balancer.signal(TERM)
            assert await balancer.wait() == 0


async def test_200_websockets_outlive_a_reload(tmp_path: Path) -> None:
    server, other = AppServer("a"), AppServer("b")
    settings = {"servers": {"a": f"http://127.0.0.1:{server.port}"}}
    balancer = Balancer(tmp_path, settings)
    async with running(server, other, balancer):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            sockets = [await session.ws_connect(f"{balancer.url}/ws") for _ in range(200)]
            more = {
                **balancer.settings,
                "pools": {
                    "default": {"servers": settings["servers"]},
                    "two": {"servers": {"b": f"http://127.0.0.1:{other.port}"}},
                },
                "routes": {
                    "all": {"match": {"path": "/**"}, "pool": "default"},
                    "two": {"match": {"path": "/two"}, "pool": "two"},
                },
            }
            del more["servers"]
            balancer.write(more)
            balancer.signal(HUP)

            async def is_there() -> bool:
                async with session.get(f"{balancer.url}/two") as response:
                    return response.headers.get("X-Served-By") == "b"

            await until(is_there, balancer)
            for number, socket in enumerate(sockets):
                await socket.send_str(str(number))
            for number, socket in enumerate(sockets):
                assert (await socket.receive(timeout=5)).data == str(number)
            assert (await balancer.server("a"))["tunnels"] == 200
            for socket in sockets:
                await socket.close()


async def test_a_bad_file_changes_nothing_and_says_where(tmp_path: Path) -> None:
    server = AppServer("a")
    balancer = Balancer(tmp_path, {"servers": [f"http://127.0.0.1:{server.port}"]})
    async with running(server, balancer):
        balancer.write({**balancer.settings, "servers": ["htp://nonsense"], "strategi": "round-robin"})
        async with Load(balancer.url, clients=4) as load:
            status, problem = await balancer.call("POST", "/api/config/reload")
            await asyncio.sleep(0.3)
        assert status in (400, 422)
        text = json.dumps(problem)
        assert "strategi" in text
        assert "did you mean" in text
        assert load.failures == []
        metrics = (await balancer.call("GET", "/metrics"))[1]
        assert "balancer_config_last_reload_successful 0" in metrics


async def test_a_bad_file_at_the_start_exits_2_with_every_place(tmp_path: Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text("listen: ':80800'\nservers: []\nstrategy: fastest\nnonsense: 1\n")
    child = Child("-m", "balancer", "run", "-c", str(file))
    await child.start()
    assert await child.wait() == 2
    lines = child.output.decode().splitlines()
    assert len(lines) >= 3
    for number in (1, 3, 4):
        assert any(f"balancer.yaml:{number}:" in line for line in lines), lines
    assert b"Traceback" not in child.output


async def test_a_taken_port_is_said_and_exits_1(tmp_path: Path) -> None:
    server = AppServer("a")
    async with running(server):
        balancer = Balancer(tmp_path, {"servers": ["http://127.0.0.1:1"], "listen": f"127.0.0.1:{server.port}"})
        await Child.start(balancer)
        assert await balancer.wait() == 1
        assert f"127.0.0.1:{server.port}".encode() in balancer.output
        assert b"Traceback" not in balancer.output


async def test_the_environment_alone_is_a_configuration(tmp_path: Path) -> None:
    server = AppServer("a")
    port, admin = free_port(), free_port()
    child = Child(
        "-m",
        "balancer",
        "run",
        env={
            "LOAD_BALANCER_SERVERS": f"http://127.0.0.1:{server.port}",
            "LOAD_BALANCER_LISTEN": f"127.0.0.1:{port}",
            "BALANCER_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "ADMIN_API_KEY": KEY,
        },
        cwd=tmp_path,
    )
    async with running(server, child), aiohttp.ClientSession() as session:

        async def answers() -> bool:
            try:
                async with session.get(f"http://127.0.0.1:{port}/") as response:
                    return response.headers.get("X-Served-By") == "a"
            except aiohttp.ClientError:
                return False

        await until(answers, child)
        child.signal(signal.SIGINT)
        assert await child.wait() == 0


async def test_without_a_key_one_is_made_and_shown_once(tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, {"servers": ["http://127.0.0.1:1"]})
    del balancer.env["ADMIN_API_KEY"]
    await Child.start(balancer)
    try:
        await until(lambda: b"shown only here" in balancer.output, balancer)
        key = balancer.output.decode().split("shown only here:\n")[1].split()[0]
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            async with session.get(f"http://127.0.0.1:{balancer.admin}/api/infrastructure/stats") as response:
                assert response.status == 200
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{balancer.admin}/api/infrastructure/stats") as response:
                assert response.status == 401
    finally:
        await balancer.end()


async def test_the_access_log_has_a_line_for_each_request_and_follows_a_rotation(tmp_path: Path) -> None:
    server = AppServer("a")
    balancer = Balancer(tmp_path, {"servers": {"a": f"http://127.0.0.1:{server.port}"}})
    log = tmp_path / "access.log"
    async with running(server, balancer), aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.get(f"{balancer.url}/x?token=secret&y=1") as response:
                assert response.status == 200
        await until(lambda: log.read_text().count("\n") >= 3, balancer)
        line = json.loads(log.read_text().splitlines()[0])
        assert (line["status"], line["server"], line["route"]) == (200, "a", "default")
        assert "secret" not in log.read_text()
        log.rename(tmp_path / "old.log")
        balancer.signal(signal.SIGUSR1)
        await until(log.exists, balancer)
        async with session.get(f"{balancer.url}/after") as response:
            assert response.status == 200
        await until(lambda: "/after" in log.read_text(), balancer)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is Prometheus' own; Debian: apt install prometheus"
)
async def test_promtool_accepts_the_metrics_of_a_busy_process(tmp_path: Path) -> None:
    server = AppServer("a")
    balancer = Balancer(tmp_path, {"servers": {"a": f"http://127.0.0.1:{server.port}"}})
    async with running(server, balancer):
        async with Load(balancer.url, clients=4) as load:
            await asyncio.sleep(0.5)
        assert load.failures == []
        metrics = (await balancer.call("GET", "/metrics"))[1]
        tool = await asyncio.create_subprocess_exec(
            "promtool", "check", "metrics", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, said = await tool.communicate(metrics.encode())
        assert (tool.returncode, said) == (0, b"")


async def test_an_admin_that_is_locked_out_is_told_at_the_start(tmp_path: Path) -> None:
    over = {"id": "alice", "hash": "sha256:" + "0" * 64, "role": "admin", "expires": "2020-01-01"}
    balancer = Balancer(tmp_path, {"servers": ["http://127.0.0.1:1"], "admin": {"keys": [over]}})
    del balancer.env["ADMIN_API_KEY"]
    await Child.start(balancer)
    try:
        await until(lambda: b"no key of role admin that works" in balancer.output, balancer)
        assert b"the key alice opens nothing any more" in balancer.output
    finally:
        await balancer.end()
