"""Shows the balancer at work: three sample servers, a little traffic, and a line a second of what happens.

With LOAD_BALANCER_SERVERS set it becomes `balancer run` for those servers instead.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from examples.children import ROOT, Child, Children, free_port
from examples.ticker import Admin, Reading, line

PORTS = (3001, 3002, 3003)
BALANCER = 8080
ADMIN = 9900
START = 30.0
"""Seconds that a program gets to answer for the first time; a slow disk may need a few."""
AWAY = 8.0
"""Seconds that a dead server stays away: long enough to watch its share move to the others."""


class Failure(Exception):
    """A part of the demonstration that cannot go on."""


class Demo:
    """The parts of the demonstration, each told where the others are; what they keep is in `folder`.

    Ports that are taken are replaced by free ones, and it says so.
    """

    def __init__(self, children: Children, folder: Path, rate: float) -> None:
        self._children = children
        self._database = folder / "community.db"
        self._overlay = folder / "overlay.yaml"
        self._files = folder / "cdn"
        self._rate = rate
        self._ports = dict(zip(("app-1", "app-2", "app-3"), map(_port, PORTS), strict=True))
        self._listen = os.environ.get("LOAD_BALANCER_LISTEN") or f"127.0.0.1:{_port(BALANCER)}"
        self._admin_listen = os.environ.get("BALANCER_ADMIN_LISTEN") or f"127.0.0.1:{_port(ADMIN)}"
        self._key = os.environ.get("ADMIN_API_KEY") or secrets.token_urlsafe(24)
        self._url = address(self._listen)
        self._admin_url = address(self._admin_listen)

    async def run(self) -> None:
        """Until cancelled. Raises Failure when a part does not come up, or the balancer ends."""
        servers = [await self._serve(name) for name in self._ports]
        for server in servers:
            await self._answering(server, f"http://127.0.0.1:{self._ports[server.name]}/health")
        balancer = await self._balance()
        await self._answering(balancer, f"{self._url}/health")
        arguments = ("--quiet", "--url", self._url, "--rate", str(self._rate))
        traffic = await self._children.start("traffic", "examples.community.traffic", *arguments)
        self._explain(servers)
        try:
            async with asyncio.TaskGroup() as group:
                for server in servers:
                    group.create_task(self._keep(server))
                group.create_task(self._watch(balancer))
                group.create_task(self._miss(traffic))
                group.create_task(self._tick())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _serve(self, name: str) -> Child:
        port = str(self._ports[name])
        arguments = ("--name", name, "--port", port, "--database", str(self._database))
        return await self._children.start(name, "examples.community", *arguments)

    async def _balance(self) -> Child:
        servers = ",".join(f"http://127.0.0.1:{port}" for port in self._ports.values())
        environment = {
            "LOAD_BALANCER_SERVERS": servers,
            "LOAD_BALANCER_LISTEN": self._listen,
            "BALANCER_ADMIN_LISTEN": self._admin_listen,
            "ADMIN_API_KEY": self._key,
            "DEMO_OVERLAY": str(self._overlay),
            "DEMO_CDN": str(self._files),
            "DEMO_SITE": self._url,
        }
        arguments = ("balancer", "run", "-c", str(ROOT / "examples" / "demo.yaml"))
        return await self._children.start("balancer", *arguments, environment=environment)

    async def _answering(self, child: Child, url: str) -> None:
        """Wait for the first answer of 200."""
        try:
            async with asyncio.timeout(START), aiohttp.ClientSession() as session:
                while not await _ok(session, url):
                    if not child.running:
                        raise Failure(f"{child.name} {child.fate()} at its start:\n{child.tail()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise Failure(f"{child.name} did not answer {url} in {START:.0f} s:\n{child.tail()}") from None

    async def _keep(self, server: Child) -> None:
        """Bring a sample server back a while after it died, for as long as the demonstration runs."""
        while True:
            await server.process.wait()
            self._children.ended(server)
            say(f"{server.name} (pid {server.pid}) {server.fate()}; it comes back in {AWAY:.0f} s")
            await asyncio.sleep(AWAY)
            server = await self._serve(server.name)
            say(f"{server.name} is started again: kill -9 {server.pid}")

    async def _watch(self, balancer: Child) -> None:
        await balancer.process.wait()
        raise Failure(f"the balancer {balancer.fate()}:\n{balancer.tail()}")

    async def _miss(self, traffic: Child) -> None:
        await traffic.process.wait()
        self._children.ended(traffic)
        say(f"the traffic {traffic.fate()}; the rest goes on without it")

    async def _tick(self) -> None:
        """The line a second."""
        admin = Admin(self._admin_url, self._key)
        names = {f"127.0.0.1:{port}": name for name, port in self._ports.items()}
        before = Reading()
        try:
            while True:
                found = await admin.read()
                if isinstance(found, Reading):
                    say(line(found, before, names))
                    before = found
                else:
                    say(found)
                await asyncio.sleep(1)
        finally:
            await admin.close()

    def _explain(self, servers: list[Child]) -> None:
        status = "api/infrastructure/load-balancer/status"
        kills = f"\n{' ' * 12}".join(f"kill -9 {server.pid}    # {server.name}" for server in servers)
        print(
            f"""
  Site      {self._url}     (load it a few times: the foot of the page says who answered)
  Dashboard {self._admin_url}/#login={self._key}     (this link logs in; it holds for this run)
  Admin     key for this run: {self._key}
            curl -H "Authorization: Bearer {self._key}" {self._admin_url}/{status}
  Metrics   {self._admin_url}/metrics
  Logs      {os.path.relpath(servers[0].log.parent)}

  Try       kill a server and watch its share go to the others; it comes back after {AWAY:.0f} s:
            {kills}
            make one answer 500 at once ("failing": counted as errors, but an app's own 500 ejects nobody),
            or slowly ("slow"), or well again ("none"):
            curl -H "Content-Type: application/json" -d '{{"mode": "failing", "rate": 0.5}}' {self._chaos()}
            see how the community is doing (user-growth, post-activity, community-growth, engagement, moderation,
            reports, communities, users): what visitors did so far, from the traffic alone:
            curl -H "Authorization: Bearer {self._key}" {self._admin_url}/api/monitoring/analytics/post-activity
            put a picture on the CDN, which is the balancer itself (it is gone when this stops), and open its address:
            curl -H "Authorization: Bearer {self._key}" -F file=@PICTURE {self._admin_url}/api/infrastructure/cdn/files
  Stop      Ctrl-C
""",
            flush=True,
        )

    def _chaos(self) -> str:
        return f"http://127.0.0.1:{self._ports['app-1']}/chaos"


async def _ok(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _port(wanted: int) -> int:
    port = free_port(wanted)
    if port != wanted:
        say(f"port {wanted} is taken; using {port}")
    return port


def address(listen: str) -> str:
    """Where to reach what listens at ":8080", "0.0.0.0:8080" or "127.0.0.1:8080"."""
    host, _, port = listen.rpartition(":")
    return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"


def say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)


async def demonstrate(rate: float) -> int:
    """Run until interrupted; 1 when a part failed."""
    loop = asyncio.get_running_loop()
    var = ROOT / "var" / "demo"
    var.mkdir(parents=True, exist_ok=True)
    children = Children(var)
    with TemporaryDirectory(dir=var, prefix="run-") as folder:
        task = loop.create_task(Demo(children, Path(folder), rate).run())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            say("stopping")
        except Failure as failure:
            print(failure, file=sys.stderr)
            return 1
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, lambda: None)  # the end is on its way already
            await children.stop_all()
    say("stopped")
    return 0


def main() -> int:
    if os.environ.get("LOAD_BALANCER_SERVERS"):
        os.execv(sys.executable, [sys.executable, "-m", "balancer", "run"])
    parser = argparse.ArgumentParser("python -m examples.demo", description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second of traffic (%(default)s)")
    return asyncio.run(demonstrate(parser.parse_args().rate))


if __name__ == "__main__":
    sys.exit(main())
