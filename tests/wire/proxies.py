"""The proxies that the scripts are played through: the balancer as it is run, others with the least configuration."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import yaml

from tests.system.process import KEY, free_port
from tests.tree import ROOT

START: Final = 20.0

ROUTES: Final[dict[str, Any]] = {
    "all": {"pool": "app"},
    "admin": {"match": "/admin/**", "respond": {"status": 403, "body": "no"}},
    "deep": {"match": "/public/group/secret/**", "respond": {"status": 403, "body": "no"}},
    "small": {"match": "/small/**", "pool": "app", "limits": {"body": "10"}},
    "trace": {"match": {"path": "/trace/**", "methods": ["TRACE", "GET"]}, "pool": "app"},
    "any": {"match": "/any/**", "pool": "app", "upgrades": ["*"]},
    "never": {"match": "/never/**", "pool": "app", "upgrades": []},
    "rewritten": {"match": "/old/**", "pool": "app", "rewrite": {"strip_prefix": "/old"}},
    "keep": {"match": "/fixed", "respond": {"status": 200, "body": "fixed"}},
}
SITES: Final[dict[str, dict[str, Any]]] = {
    "plain": {"routes": {"all": {"pool": "app"}}},
    "routed": {"routes": ROUTES},
    "trusted": {"routes": {"all": {"pool": "app"}}, "trusted_proxies": ["127.0.0.1"]},
}
"""Configurations of the balancer. The other proxies have `plain` and what they can of `routed`."""


class Proxy:
    """A proxy in a process of its own, in front of one server."""

    name = ""

    def __init__(self, folder: Path, site: str, server: int) -> None:
        self.folder = folder
        self.site = site
        self.server = server
        self.port = free_port()
        self.log = folder / f"{self.name}-{site}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def env(self) -> Mapping[str, str]:
        return {}

    def start(self) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=ROOT, env={**os.environ, **self.env()}, stdout=log, stderr=subprocess.STDOUT
            )
        end = monotonic() + START
        while monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                sleep(0.05)
        said = self.log.read_text(errors="replace")[-4000:]
        self.end()
        raise RuntimeError(
            f"{self.name} did not listen on 127.0.0.1:{self.port} within {START:.0f} s; it said:\n{said}"
        )

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None


class Balancer(Proxy):
    name = "balancer"

    def command(self) -> list[str]:
        file = self.folder / f"balancer-{self.site}.yaml"
        settings = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": {"listen": f"127.0.0.1:{free_port()}", "state": str(self.folder / f"{self.site}.overlay.yaml")},
            "logs": {"access": False},
            "pools": {"app": {"servers": {"a": f"http://127.0.0.1:{self.server}"}, "health": _UNCHECKED}},
            **SITES[self.site],
        }
        file.write_text(yaml.safe_dump(settings))
        return [sys.executable, "-m", "balancer", "run", "-c", str(file)]

    def env(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT), "ADMIN_API_KEY": KEY}


_UNCHECKED: Final = {"active": False, "passive": False}


class Nginx(Proxy):
    name = "nginx"

    def command(self) -> list[str]:
        file = self.folder / f"nginx-{self.site}.conf"
        folder = self.folder / f"nginx-{self.site}"
        folder.mkdir(exist_ok=True)
        places = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        routed = _NGINX_ROUTES if self.site == "routed" else ""
        file.write_text(
            f"""daemon off; master_process off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
access_log off;
{places}
upstream app {{ server 127.0.0.1:{self.server}; keepalive 16; }}
map $http_upgrade $hop {{ default upgrade; '' ''; }}
server {{
listen 127.0.0.1:{self.port};
location / {{
proxy_pass http://app;
proxy_http_version 1.1;
proxy_set_header Host $http_host;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $hop;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_request_buffering off;
proxy_buffering off;
}}
{routed}
}}
}}
"""
        )
        return [_found("nginx"), "-p", str(folder), "-c", str(file)]


_NGINX_ROUTES: Final = """location /admin/ { return 403 no; }
location /public/group/secret/ { return 403 no; }
"""


class HAProxy(Proxy):
    name = "haproxy"

    def command(self) -> list[str]:
        file = self.folder / f"haproxy-{self.site}.cfg"
        routed = (
            "http-request return status 403 content-type text/plain string no if "
            "{ path_beg /admin/ } || { path_beg /public/group/secret/ }\n"
            if self.site == "routed"
            else ""
        )
        file.write_text(
            f"""global
  maxconn 256
defaults
  mode http
  option forwardfor
  http-reuse safe
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout http-request 10s
frontend all
  bind 127.0.0.1:{self.port}
  {routed}  default_backend app
backend app
  server a 127.0.0.1:{self.server}
"""
        )
        return [_found("haproxy"), "-db", "-f", str(file)]


class Envoy(Proxy):
    name = "envoy"

    def command(self) -> list[str]:
        file = self.folder / f"envoy-{self.site}.yaml"
        routes: list[dict[str, Any]] = [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]
        if self.site == "routed":
            no = {"status": 403, "body": {"inline_string": "no"}}
            routes = [
                {"match": {"prefix": "/admin/"}, "direct_response": no},
                {"match": {"prefix": "/public/group/secret/"}, "direct_response": no},
                *routes,
            ]
        file.write_text(
            yaml.safe_dump(
                {
                    "static_resources": {
                        "listeners": [
                            {
                                "name": "all",
                                "address": _envoy_address(self.port),
                                "filter_chains": [{"filters": [_envoy_manager(routes)]}],
                            }
                        ],
                        "clusters": [
                            {
                                "name": "app",
                                "type": "STATIC",
                                "connect_timeout": "5s",
                                "load_assignment": {
                                    "cluster_name": "app",
                                    "endpoints": [
                                        {"lb_endpoints": [{"endpoint": {"address": _envoy_address(self.server)}}]}
                                    ],
                                },
                            }
                        ],
                    }
                }
            )
        )
        # The base id keeps two of them apart; hot restart is of no use here.
        return [_found("envoy"), "-c", str(file), "--disable-hot-restart", "--concurrency", "1", "-l", "error"]


def _envoy_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_manager(routes: list[dict[str, Any]]) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions.filters"
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "all",
            "use_remote_address": True,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "http_protocol_options": {"accept_http_10": True},
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{types}.http.router.v3.Router"},
                }
            ],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        },
    }


def _found(program: str) -> str:
    """Where a program is: ENVOY=/path and the like, or on the PATH, or where system programs are."""
    path = os.environ.get(program.upper()) or shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if path is None:
        raise FileNotFoundError(f"{program} is not installed")
    return path
