"""The real process in front of the planned server, in a few configurations."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import SystemRandom
from time import monotonic, sleep
from typing import Any, Final

import yaml

from tests.caching.client import Client
from tests.caching.server import Place, Server
from tests.system.process import KEY
from tests.tree import ROOT

START: Final = 60.0
UNCHECKED: Final = {"active": False, "passive": False}
MOST: Final = 64 * 1024
"""`max_object` of the site `ruled`."""

RULES: Final[dict[str, dict[str, Any]]] = {
    "ttl": {"ttl": "60s"},
    "ignore": {"ignore_query": ["utm_*", "fbclid"]},
    "header": {"key": {"headers": ["X-Lang"]}},
    "images": {"key": {"images": True}},
    "cookie": {"key": {"cookies": ["theme"]}},
    "bypass": {"bypass": {"headers": ["X-Preview"], "cookies": ["session"]}},
    "negative": {"negative": {404: "60s", "5xx": "60s"}},
    "cookieless": {"store_set_cookie": "never"},
    "swr": {"stale_while_revalidate": "60s"},
    "sie": {"stale_if_error": "60s"},
    "never": {"heuristic": {"share": 0}},
    "guess": {"heuristic": {"share": 0.5, "longest": "100s"}},
}
SITES: Final[dict[str, dict[str, Any]]] = {
    "plain": {"cache": True, "routes": {"all": {"pool": "app"}}},
    "ruled": {
        "cache": {"enabled": True, "max_object": MOST, "purge_from": ["127.0.0.1"], "rules": RULES},
        "routes": {
            "all": {"pool": "app"},
            "off": {"match": "/off/**", "pool": "app", "cache": False},
            "slow": {"match": "/slow/**", "pool": "app", "timeouts": {"first_byte": "300ms", "idle": "400ms"}},
            "chosen": {"match": "/chosen/**", "pool": "app"},
            "edited": {
                "match": "/edited/**",
                "pool": "app",
                "headers": {
                    "response": {"remove": ["X-Gone"], "set": {"X-Set": "ours"}, "add": {"X-Add": "ours"}},
                    "request": {"set": {"X-From": "us"}},
                },
            },
            "rewritten": {"match": "/rewritten/**", "pool": "app", "rewrite": {"strip_prefix": "/rewritten"}},
            "squeezed": {"match": "/squeezed/**", "pool": "app", "compress": True},
            "written": {"match": "/written/**", "pool": "app"},
            "writes": {"match": {"path": "/written/**", "methods": ["POST"]}, "pool": "app", "cache": False},
            "sticky": {"match": "/sticky/**", "pool": "sticky"},
            "chosen-beta": {"match": {"path": "/chosen/**", "headers": {"X-Ring": "beta"}}, "pool": "app"},
            **{name: {"match": f"/{name}/**", "pool": "app", "cache": name} for name in RULES},
        },
    },
    "trusting": {
        "cache": {"enabled": True, "purge_from": ["192.0.2.7"]},
        "trusted_proxies": ["127.0.0.1"],
        "routes": {"all": {"pool": "app"}},
    },
    "quiet": {
        "cache": {"enabled": False, "status_header": False, "collapse": False},
        "routes": {"all": {"pool": "app"}, "on": {"match": "/on/**", "pool": "app", "cache": True}},
    },
}


def quiet_port() -> int:
    """A port that is free, and that no client of these many is given for its end before a slow start has come to it."""
    for port in SystemRandom().sample(range(10240, 32768), 50):  # below what systems hand out
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("of fifty ports none is free")


class Site:
    """One running balancer."""

    def __init__(
        self, folder: Path, name: str, server: int, more: Mapping[str, Any] | None = None, label: str = ""
    ) -> None:
        self.name = name
        label = label or name
        self.port, self.admin = quiet_port(), quiet_port()
        self.log = folder / f"{label}.log"
        self._file = folder / f"{label}.yaml"
        servers = {"a": f"http://127.0.0.1:{server}"}
        self._file.write_text(
            yaml.safe_dump(
                {
                    "listen": f"127.0.0.1:{self.port}",
                    "admin": {"listen": f"127.0.0.1:{self.admin}", "state": str(folder / f"{label}.overlay.yaml")},
                    "logs": {"access": False},
                    "pools": {
                        "app": {"servers": servers, "health": UNCHECKED},
                        "sticky": {"servers": servers, "health": UNCHECKED, "sticky": {"cookie": "lane"}},
                    },
                    **SITES[name],
                    **(more or {}),
                }
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "balancer", "run", "-c", str(self._file)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "ADMIN_API_KEY": KEY},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = monotonic() + START
        while monotonic() < end and self._process.poll() is None:
            try:
                for port in (self.port, self.admin):
                    socket.create_connection(("127.0.0.1", port), 1.0).close()
                return
            except OSError:
                sleep(0.05)
        self.end()
        raise RuntimeError(f"site {self.name} did not listen within {START:.0f} s; it said:\n{self.said()}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Lab:
    """The sites, each started when it is first asked for, and the server behind them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sites: dict[str, Site] = {}
        self._clients: list[Client] = []
        self.server = Server()

    def site(self, name: str = "plain") -> Site:
        if name not in self._sites:
            self._sites[name] = self._started(name)
        assert self._sites[name].running, f"the balancer has ended; it said:\n{self._sites[name].said()}"
        return self._sites[name]

    def _started(self, name: str, more: Mapping[str, Any] | None = None, label: str = "") -> Site:
        """A site on ports that were free; on a busy machine somebody else may have taken them since."""
        for attempt in range(3):
            site = Site(self._folder, name, self.server.port, more, label)
            try:
                site.start()
                break
            except RuntimeError:
                if attempt == 2 or "address already in use" not in site.said().lower():
                    raise
        return site

    def pair(self, name: str, redis: str) -> tuple[Site, Site]:
        """Two balancers of one configuration that share what they store, by the URL of a Redis."""
        labels = (f"{name}-first", f"{name}-second")
        if labels[0] not in self._sites:
            more = {"redis": {"url": redis}}
            with ThreadPoolExecutor(len(labels)) as at_once:
                sites = list(at_once.map(lambda label: self._started(name, more, label), labels))
            self._sites.update(zip(labels, sites, strict=True))
        return self._sites[labels[0]], self._sites[labels[1]]

    def client_of(self, site: Site) -> Client:
        client = Client(site.port)
        self._clients.append(client)
        return client

    def client(self, site: str = "plain", address: str = "127.0.0.1") -> Client:
        """A client, whose connection ends with the test."""
        client = Client(self.site(site).port, address)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def place(self, name: str) -> Place:
        return self.server.place(name)

    def end(self) -> None:
        for site in self._sites.values():
            site.end()
        self.server.close()
