"""Keys of the running process: made by the command line, there after a restart, and what that leaves in files."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.program import free_port
from tests.system.process import TERM, AppServer, Balancer, running, until
from tests.tree import ROOT

pytestmark = pytest.mark.slow
SERVERS = "/api/infrastructure/load-balancer/pools/default/servers"


class Unkeyed(Balancer):
    """A balancer for which nobody has configured a key."""

    def __init__(self, folder: Path, server: AppServer) -> None:
        super().__init__(folder, {"servers": [f"http://127.0.0.1:{server.port}"]}, ADMIN_API_KEY="")

    @property
    def printed_key(self) -> str | None:
        found = re.search(rb"shown only here:\n  (balancer_\S+)", bytes(self.output))
        return found[1].decode() if found is not None else None

    def command(self, key: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "balancer", *words, "-c", str(self.file)],
            env={"PYTHONPATH": str(ROOT), "PATH": "", "ADMIN_API_KEY": key},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    async def asked(self, method: str, path: str, key: str) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{self.admin}{path}"
            async with session.request(method, url, headers={"X-API-Key": key}) as response:
                return response.status, await response.json(content_type=None)


async def test_keys_outlive_the_process_and_the_first_one_is_not_needed_again(tmp_path: Path) -> None:
    server = AppServer("a")
    first = Unkeyed(tmp_path, server)
    async with running(server, first):
        await until(lambda: first.printed_key, first)
        printed = first.printed_key or ""
        made = {}
        for role in ("viewer", "admin"):
            done = await asyncio.to_thread(first.command, printed, "key", "create", "--id", role, "--role", role)
            assert done.returncode == 0, done.stderr
            assert f"The key {role} with the role {role} is in force" in done.stderr
            made[role] = done.stdout.strip()
        drain = await asyncio.to_thread(first.command, made["viewer"], "drain", f"default/127.0.0.1:{server.port}")
        assert drain.returncode == 4
        assert "this needs the role operator; the key viewer has the role viewer, which may only read" in drain.stderr
        assert "balancer key create --role operator" in drain.stderr
        first.signal(TERM)
        assert await first.wait() == 0

        second = Unkeyed(tmp_path, server)
        async with running(second):
            assert second.printed_key is None
            assert (await second.asked("GET", "/api/keys", printed))[0] == 401
            status, listed = await second.asked("GET", "/api/keys", made["admin"])
            assert status == 200
            used = {key["id"]: key["last_used"] for key in listed["items"]}
            assert used["viewer"]["address"] == "127.0.0.1"  # noted by the first process, kept at its end
            done = await asyncio.to_thread(second.command, made["admin"], "key", "revoke", "viewer")
            assert done.returncode == 0, done.stderr
            assert (await second.asked("GET", SERVERS, made["viewer"]))[0] == 401
            done = await asyncio.to_thread(second.command, made["admin"], "key", "revoke", "admin")
            assert done.returncode == 4
            assert "admin is the last key of role admin" in done.stderr
            assert (await second.asked("GET", "/api/keys", made["admin"]))[0] == 200


async def test_the_trail_goes_on_over_restarts_signals_and_moved_files(tmp_path: Path) -> None:
    server = AppServer("a")
    settings = {"servers": [f"http://127.0.0.1:{server.port}"]}
    balancer = Balancer(tmp_path, settings)
    name = f"127.0.0.1:{server.port}"
    trail = tmp_path / "audit.jsonl"

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in trail.read_text().splitlines()] if trail.exists() else []

    async with running(server, balancer):
        assert (await balancer.call("POST", f"{SERVERS}/{name}/drain"))[0] == 200
        balancer.write({**balancer.settings, "shutdown": {"grace": "7s"}})
        balancer.signal(signal.SIGHUP)
        await until(lambda: any(line["method"] == "SIGHUP" for line in lines()), balancer)
        by_signal = lines()[-1]
        assert by_signal["actor"]["kind"] == "signal"
        assert by_signal["changes"] == [{"path": "shutdown.grace", "before": "30s", "after": "7s"}]
        trail.rename(tmp_path / "audit.moved")
        balancer.signal(signal.SIGUSR1)
        assert (await balancer.call("POST", f"{SERVERS}/{name}/ready"))[0] == 200
        await until(lambda: len(lines()) == 2, balancer)
        assert [line["seq"] for line in lines()] == [4, 5]
        balancer.signal(TERM)
        assert await balancer.wait() == 0

    again = Balancer(tmp_path, settings)
    again.write({**again.settings, "listen": f"127.0.0.1:{free_port()}"})
    async with running(server, again):
        _, shown = await again.call("GET", "/api/audit")
        assert [line["seq"] for line in shown["items"]] == [5, 4]
        assert shown["file"] == str(trail)
