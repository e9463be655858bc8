"""The configuration of the real process, changed over the API: under traffic, on trial, killed, saved."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.system.process import KEY, AppServer, Balancer, Child, Load, free_port, running, until

pytestmark = pytest.mark.slow

CONFIG = "/api/config"
SECRET = "swordfish-in-the-environment"


async def ask(balancer: Balancer, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, str]:
    """Status, document and ETag."""
    assert balancer.session is not None
    url = f"http://127.0.0.1:{balancer.admin}{path}"
    async with balancer.session.request(method, url, json=body, headers=headers) as response:
        text = await response.text()
        return response.status, json.loads(text), response.headers.get("ETag", "")


async def change(balancer: Balancer, body: object, query: str = "") -> tuple[int, Any]:
    _, _, tag = await ask(balancer, "GET", CONFIG)
    status, answer, _ = await ask(balancer, "PATCH", CONFIG + query, body, **{"If-Match": tag})
    return status, answer


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_changes_under_load_fail_no_request_and_survive_a_kill(tmp_path: Path) -> None:
    a, b = AppServer("a"), AppServer("b")
    balancer = Balancer(tmp_path, {"servers": {"a": f"http://127.0.0.1:{a.port}"}})
    async with running(a, b, balancer):
        async with Load(balancer.url, clients=8) as load:
            await asyncio.sleep(0.3)
            url = f"http://127.0.0.1:{b.port}"
            status, answer = await change(
                balancer, {"pools": {"default": {"servers": {"b": url}, "strategy": "random"}}}
            )
            assert status == 200, answer
            await until(lambda: load.served["b"] > 50, balancer)
            status, answer = await change(balancer, {"pools": {"default": {"servers": {"a": None}}}})
            assert status == 200, answer
            await asyncio.sleep(0.3)
        assert load.failures == []
        assert load.served["a"]
        balancer.signal(9)
        await balancer.wait()
        await balancer.end()
        await balancer.start()
        _, found, _ = await ask(balancer, "GET", CONFIG)
        assert list(found["config"]["pools"]["default"]["servers"]) == ["b"]


async def test_a_change_that_breaks_a_route_undoes_itself(tmp_path: Path) -> None:
    a = AppServer("a")
    balancer = Balancer(tmp_path, {"servers": {"a": f"http://127.0.0.1:{a.port}"}})
    async with running(a, balancer):
        async with Load(balancer.url, clients=4) as load:
            await asyncio.sleep(2.5)  # there has to be a before
            nobody = f"http://127.0.0.1:{free_port()}"
            body = {
                "pools": {"default": {"servers": {"a": {"url": nobody}}, "health": {"active": None, "passive": None}}}
            }
            status, answer = await change(balancer, body, "?confirm=10m")
            assert status == 200, answer
            assert answer["provisional"]["seconds_left"] > 500

            async def undone() -> bool:
                return not (await ask(balancer, "GET", CONFIG))[1]["provisional"]

            await until(undone, balancer)
            served = load.served["a"]
            await until(lambda: load.served["a"] > served + 50, balancer)
        assert load.failures, "nothing was broken"
        _, history, _ = await ask(balancer, "GET", f"{CONFIG}/history")
        assert "undone: errors rose" in history["items"][1]["note"]
        assert b"configuration undone" in balancer.output
        line = (await balancer.call("GET", "/api/audit"))[1]["items"][0]
        assert (line["actor"]["kind"], line["phase"]) == ("balancer", "done")
        assert line["detail"].startswith("revision 2 of ADMIN_API_KEY was undone: errors rose")
        assert [one["before"] for one in line["changes"] if one["path"].endswith(".url")] == [nobody]
        metrics = (await balancer.call("GET", "/metrics"))[1]
        assert 'balancer_config_changes_total{result="undone"} 1' in metrics
        assert "\nbalancer_config_trial_remaining_seconds " not in metrics


async def test_a_trial_does_not_outlive_the_process(tmp_path: Path) -> None:
    a = AppServer("a")
    balancer = Balancer(tmp_path, {"servers": {"a": f"http://127.0.0.1:{a.port}"}})
    async with running(a, balancer):
        status, _ = await change(balancer, {"shutdown": {"grace": "5s"}}, "?confirm=10m")
        assert status == 200
        metrics = (await balancer.call("GET", "/metrics"))[1]
        assert "\nbalancer_config_trial_remaining_seconds 5" in metrics
        kept = tmp_path / "overlay.history.json"  # nobody waits for it
        await until(lambda: kept.exists() and '"provisional":true' in kept.read_text(), balancer)
        balancer.signal(9)
        await balancer.wait()
        await balancer.end()
        await balancer.start()
        _, found, _ = await ask(balancer, "GET", CONFIG)
        assert found["config"]["shutdown"]["grace"] == "30s"
        assert found["provisional"] is None
        line = (await balancer.call("GET", "/api/audit"))[1]["items"][0]
        assert (line["actor"]["kind"], line["detail"].partition(": ")[2]) == (
            "balancer",
            "the process ended before it was confirmed",
        )
        assert line["changes"] == [{"path": "shutdown.grace", "before": "5s", "after": "30s"}]


async def test_no_secret_gets_out_by_any_way_and_what_is_kept_is_private(tmp_path: Path) -> None:
    a = AppServer("a")
    settings = {
        "servers": {"a": f"http://127.0.0.1:{a.port}"},
        "routes": {
            "all": {"pool": "default", "headers": {"request": {"set": {"Authorization": "Bearer ${SECRET}"}}}},
        },
    }
    balancer = Balancer(tmp_path, settings, SECRET=SECRET)
    answers = []
    async with running(a, balancer):
        _, found, tag = await ask(balancer, "GET", CONFIG)
        put = await ask(balancer, "PUT", CONFIG, found["config"], **{"If-Match": tag})
        assert (put[0], put[1]["changes"]) == (200, [])
        answers += [found, put[1]]
        for path, body in (
            ("headers.request.set.X-Copy", "Bearer ***"),
            ("headers.request.set.X-Copy", "${SECRET}"),
            ("respond.body", "${SECRET}"),
            ("match.path", "/${SECRET}"),
        ):
            inner: Any = body
            for piece in reversed(path.split(".")):
                inner = {piece: inner}
            answers.append((await change(balancer, {"routes": {"x": {"pool": "default", **inner}}}))[1])
        answers.append((await change(balancer, {"routes": {"all": {"headers": {"via": "me"}}}}))[1])
        for path in ("history", "diff", "why?path=routes"):
            answers.append((await ask(balancer, "GET", f"{CONFIG}/{path}"))[1])
        _, _, tag = await ask(balancer, "GET", CONFIG)
        saved = await ask(balancer, "POST", f"{CONFIG}/save", **{"If-Match": tag})
        assert saved[0] == 200, saved
        answers.append(saved[1])
        answers.append((await ask(balancer, "POST", f"{CONFIG}/rollback", {"revision": 1}, **{"If-Match": "*"}))[1])
    assert SECRET not in json.dumps(answers)
    assert SECRET.encode() not in balancer.output
    kept = files(tmp_path)
    assert {path.name for path in kept} >= {"overlay.yaml", "overlay.history.json", "balancer.yaml.bak"}
    for path in kept:
        assert SECRET.encode() not in path.read_bytes(), path
        if path.name.startswith("overlay"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_many_who_change_at_once_leave_one_whole_configuration(tmp_path: Path) -> None:
    a = AppServer("a")
    balancer = Balancer(tmp_path, {"servers": {"a": f"http://127.0.0.1:{a.port}"}})
    async with running(a, balancer):
        _, _, tag = await ask(balancer, "GET", CONFIG)
        bodies = [{"shutdown": {"grace": f"{n}s", "delay": f"{n}ms"}} for n in range(1, 13)]
        results = await asyncio.gather(*(ask(balancer, "PATCH", CONFIG, body, **{"If-Match": tag}) for body in bodies))
        assert sorted(status for status, _, _ in results) == [200] + [412] * 11
        _, found, _ = await ask(balancer, "GET", CONFIG)
        shutdown = found["config"]["shutdown"]
        assert shutdown["grace"] == f"{shutdown['delay'].removesuffix('ms')}s"


async def test_without_a_key_or_with_a_lower_one_nothing_is_changed(tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, {"servers": ["http://127.0.0.1:1"]})
    await Child.start(balancer)  # its server is not there, and so it is never ready
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{balancer.admin}{CONFIG}"

        async def refused() -> bool:
            try:
                async with session.patch(url, json={"shutdown": {"grace": "1s"}}, headers={"If-Match": "*"}) as answer:
                    return answer.status == 401
            except aiohttp.ClientError:
                return False

        await until(refused, balancer)
        headers = {"If-Match": "*", "X-API-Key": KEY, "Origin": "https://evil.example"}
        async with session.put(url, json={}, headers=headers) as answer:
            assert answer.status == 403
    await balancer.end()
