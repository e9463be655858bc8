"""A real Prometheus, where one is installed, scrapes what the balancer shows."""

import asyncio
import json
import shutil

import aiohttp
import pytest
from aiohttp import web

from balancer.telemetry.metrics import Metrics
from balancer.telemetry.process import Process
from tests.system.process import free_port
from tests.telemetry.reports import VITALS, pool, report, server
from tests.telemetry.test_rates import serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed"),
]


async def ask(session: aiohttp.ClientSession, url: str, query: str) -> dict[tuple[str, str], float]:
    """What Prometheus knows, by job and server; empty while it knows nothing."""
    try:
        async with session.get(f"{url}/api/v1/query", params={"query": query}) as reply:
            found = (await reply.json())["data"]["result"] if reply.status == 200 else []
    except aiohttp.ClientConnectionError:
        found = []
    return {(it["metric"]["job"], it["metric"].get("server", "")): float(it["value"][1]) for it in found}


async def test_prometheus_takes_both_formats_as_they_are(aiohttp_server, tmp_path):
    odd = 'odd "name"\\\n'
    seen = report(pool("app", [server("a"), server(odd)]))
    serve(seen, 42)
    metrics = Metrics(5000, Process())

    async def page(request: web.Request) -> web.Response:
        openmetrics = request.path == "/openmetrics"
        body, content_type = metrics.page(seen, VITALS, request.headers["Accept"] if openmetrics else "")
        assert content_type.startswith("application/openmetrics-text") == openmetrics
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/{format}", page)
    target = await aiohttp_server(app)
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": it, "metrics_path": f"/{it}", "static_configs": [{"targets": [f"127.0.0.1:{target.port}"]}]}
            for it in ("text", "openmetrics")
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    child = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address={address}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            for _ in range(150):
                counted = await ask(session, url, "balancer_server_requests_total")
                if len(counted) == 4:
                    break
                await asyncio.sleep(0.2)
            assert counted == {(job, name): 42 for job in ("text", "openmetrics") for name in ("a", odd)}
            assert await ask(session, url, "up") == {("text", ""): 1, ("openmetrics", ""): 1}
            quantile = "histogram_quantile(0.5, balancer_server_response_duration_seconds_bucket)"
            medians = await ask(session, url, quantile)
            assert len(medians) == 4
            assert all(0.01 < median < 0.025 for median in medians.values())
    finally:
        child.terminate()
        await child.wait()
