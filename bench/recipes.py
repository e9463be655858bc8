"""How each program is set up for the comparison: as equal as their options allow."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.machine import most_connections
from bench.program import Recipe, free_port
from bench.request import LARGE, LARGE_SIZE, MEDIUM, MEDIUM_SIZE, SMALL, SMALL_BODY, STORABLE

PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk"}
"""Debian's and Ubuntu's packages of the programs that are not ours."""

# nginx creates all five temporary folders, used or not, and where it was built for only root may.
_NGINX = """
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    tcp_nodelay on;
{http}
}}
"""

# sendfile and an open file make the large answer nearly free for the server.
_NGINX_SERVER = """
    access_log off;
    sendfile on;
    open_file_cache max=4;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = / {{ return 200; }}
        location = {small} {{
            default_type application/json;
            add_header Cache-Control "private, no-cache";
            return 200 '{small_body}';
        }}
        location = {large} {{ alias {folder}/large.bin; default_type application/octet-stream; }}
        location {storable} {{
            default_type application/json;
            add_header Cache-Control "public, max-age=3600";
            return 200 '{small_body}';
        }}
        location = {medium} {{
            alias {folder}/medium.bin;
            default_type application/octet-stream;
            add_header Cache-Control "public, max-age=3600";
        }}
    }}
"""

# A large answer is streamed, as the others do it, never written to disk, and through larger buffers than
# nginx's own: with those a large answer costs it more than twice as much.
_NGINX_PROXY = """
    log_format line escape=json '{{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method",'
        '"host":"$http_host","uri":"$request_uri","status":$status,"bytes":$body_bytes_sent,'
        '"duration":$request_time,"server":"$upstream_addr","server_time":"$upstream_response_time"}}';
    access_log {log};
    upstream app {{
        server 127.0.0.1:{upstream};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_max_temp_file_size 0;
            proxy_buffers 16 16k;
            proxy_busy_buffers_size 64k;
        }}
    }}
"""

_HAPROXY = """
global
    nbthread 1
    maxconn {connections}
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
listen main
    bind 127.0.0.1:{port} backlog 4096
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-reuse always
    server app 127.0.0.1:{upstream} check inter 30s
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where programs are set up: the folder for theirs, the interpreter of ours, the server's port."""

    folder: Path
    python: str
    upstream: int = 0

    def fresh(self, name: str) -> Path:
        """A new folder that other users can read, as nginx's worker may be one."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        folder.chmod(0o755)
        return folder


def where(program: str) -> str | None:
    """The path of a program; None when it is not installed."""
    # Servers are often where only root's PATH looks.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which(program, path=path)


def server(place: Place, nginx: str | None) -> Recipe:
    """The server behind all proxies: nginx at its path, or without one our own, which costs more."""
    folder = place.fresh("server")
    port = free_port()
    if nginx is None:
        return Recipe("server", (place.python, "-m", "bench.canned_server", str(port)), port, folder)
    (folder / "large.bin").write_bytes(bytes(LARGE_SIZE))
    (folder / "medium.bin").write_bytes(bytes(MEDIUM_SIZE))
    http = _NGINX_SERVER.format(
        port=port,
        small=SMALL,
        small_body=SMALL_BODY.decode(),
        large=LARGE,
        storable=STORABLE,
        medium=MEDIUM,
        folder=folder.as_posix(),
    )
    return Recipe("server", nginx_command(nginx, folder, http), port, folder)


def nginx(place: Place, *, log: bool = False) -> Recipe:
    folder = place.fresh("nginx")
    port = free_port()
    file = folder / "access.log" if log else None
    to = f"{file} line buffer=64k flush=1s" if file else "off"
    http = _NGINX_PROXY.format(port=port, upstream=place.upstream, log=to)
    return Recipe("nginx", nginx_command(where("nginx") or "nginx", folder, http), port, folder, log=file)


def nginx_command(nginx: str, folder: Path, http: str) -> tuple[str, ...]:
    (folder / "nginx.conf").write_text(_NGINX.format(http=http, connections=most_connections()))
    return nginx, "-p", f"{folder}/", "-c", f"{folder}/nginx.conf"


def haproxy(place: Place, *, log: bool = False) -> Recipe:
    """HAProxy logs to a syslog daemon, which would have to be measured too: `log` is not for it."""
    if log:
        raise ValueError("HAProxy writes no log file")
    folder = place.fresh("haproxy")
    port = free_port()
    text = _HAPROXY.format(port=port, upstream=place.upstream, connections=most_connections())
    (folder / "haproxy.cfg").write_text(text)
    command = (where("haproxy") or "haproxy", "-db", "-f", f"{folder}/haproxy.cfg")
    return Recipe("haproxy", command, port, folder)


def floor(place: Place, *, log: bool = False) -> Recipe:
    """A proxy that understands nothing and copies bytes: what the loop and the system calls alone cost."""
    if log:
        raise ValueError("a blind copy has nothing to log")
    port = free_port()
    command = (place.python, "-m", "bench.blind_copy", str(port), str(place.upstream))
    return Recipe("floor", command, port, place.fresh("floor"))


def balancer(place: Place, *, log: bool = False) -> Recipe:
    """This tree's balancer: health checks and metrics on, everything else as shipped."""
    folder = place.fresh("balancer")
    port = free_port()
    file = folder / "access.log" if log else None
    configuration = {
        "listen": f"127.0.0.1:{port}",
        "servers": [f"http://127.0.0.1:{place.upstream}"],
        "defaults": {"health": {"active": {"interval": "30s"}}, "timeouts": {"keep_alive": "300s"}},
        "admin": {"listen": f"127.0.0.1:{free_port()}", "state": str(folder / "overlay.yaml")},
        "logs": {"level": "warning", "access": {"to": str(file) if file else "none"}},
        "shutdown": {"grace": "3s"},
    }
    # JSON is YAML, and needs no quoting rules of ours.
    (folder / "balancer.yaml").write_text(json.dumps(configuration, indent=2))
    command = (place.python, "-m", "balancer", "run", "-c", str(folder / "balancer.yaml"))
    return Recipe("balancer", command, port, folder, {"ADMIN_API_KEY": secrets.token_hex(24)}, file)


PROXIES: dict[str, Callable[..., Recipe]] = {
    "balancer": balancer,
    "nginx": nginx,
    "haproxy": haproxy,
    "floor": floor,
}
"""By the names that `--only` takes; called with a Place, and those of LOGGING also with `log=True`."""

LOGGING = ("balancer", "nginx")
"""The proxies that can write a line for each request to a file."""
