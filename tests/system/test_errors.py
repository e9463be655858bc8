"""Errors of the real process: in the client's form, with the operator's page, from the file to the wire."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from tests.system.process import HUP, Balancer, Child, free_port, running, until

pytestmark = pytest.mark.slow


async def asked(balancer: Balancer, accept: str, method: str = "GET") -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session:
        async with session.request(method, balancer.url, headers={"Accept": accept}) as response:
            return response.status, response.headers["Content-Type"], await response.text()


async def test_an_error_has_the_clients_form_and_the_operators_page(tmp_path: Path) -> None:
    page = tmp_path / "error.html"
    page.write_text("<title>Oops</title><p>{status} {detail} <code>{request_id}</code>")
    settings = {
        "servers": [f"http://127.0.0.1:{free_port()}"],  # nobody is there
        "defaults": {"health": {"active": False}},
        "errors": {"page": "error.html"},
    }
    balancer = Balancer(tmp_path, settings)
    async with running(balancer):
        status, kind, text = await asked(balancer, "text/html,*/*;q=0.8")
        assert (status, kind) == (502, "text/html; charset=utf-8")
        assert text.startswith("<title>Oops</title><p>502 The server failed: it refused the connection. <code>")
        status, kind, text = await asked(balancer, "application/problem+json")
        problem = json.loads(text)
        assert (status, kind, problem["status"]) == (502, "application/problem+json", 502)
        assert (await asked(balancer, "*/*"))[1:] != (kind, text)
        assert (await asked(balancer, "text/html", "HEAD"))[2] == ""
        log = tmp_path / "access.log"
        await until(lambda: log.exists() and problem["request_id"] in log.read_text(), balancer)

        page.write_text("another {status}")
        status, answer = await balancer.call("POST", "/api/config/reload")
        assert status == 200, answer
        assert (await asked(balancer, "text/html"))[2] == "another 502"

        page.write_text("<p>\n  {staus}")
        balancer.signal(HUP)
        await until(lambda: b"reload refused" in balancer.output, balancer)
        assert (await asked(balancer, "text/html"))[2] == "another 502"
        check = Child("-m", "balancer", "check", str(balancer.file))
        await check.start()
        assert await check.wait() == 2
        assert f"{page}:2:3: errors.page: must have no placeholder but".encode() in check.output
        assert b"did you mean {status}?" in check.output
