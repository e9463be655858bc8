"""How each cache is set up for the comparison: as equal as their options allow."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Final

from bench.program import Recipe, free_port
from bench.recipes import Place, nginx_command, where

PACKAGES: Final = {"nginx": "nginx-light", "varnishd": "varnish", "wrk": "wrk"}
"""Debian's and Ubuntu's packages of the programs that are not ours."""

ROOM: Final = 64
"""MiB that each may store: over some seconds of misses all of them have to evict."""

# Files that are kept open are what nginx has in the place of a memory of its own: their pages are in memory all the
# same. Without `proxy_cache_lock` it does not collapse, which the others do.
_NGINX: Final = """
    access_log off;
    sendfile {sendfile};
    open_file_cache max=20000 inactive=1h;
    open_file_cache_valid 1h;
    proxy_cache_path {folder}/stored levels=1:2 keys_zone=stored:32m max_size={room}m inactive=1h use_temp_path=off;
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
            proxy_buffers 16 16k;
            proxy_busy_buffers_size 64k;
            {cache}
        }}
    }}
"""
_NGINX_CACHE: Final = """
            proxy_cache stored;
            proxy_cache_key $scheme$http_host$request_uri;
            proxy_cache_lock on;
            proxy_cache_revalidate on;
            add_header X-Cache-Status $upstream_cache_status;
"""

# Left to itself it passes every request that has a cookie, which the RFC does not ask for and the others do not do.
_VARNISH: Final = """
vcl 4.1;
backend app {{ .host = "127.0.0.1"; .port = "{upstream}"; }}
sub vcl_recv {{ if (req.method == "GET") {{ return (hash); }} }}
"""


def balancer(place: Place, *, caches: bool, room: int = ROOM) -> Recipe:
    """This tree's balancer: health checks and metrics on, everything else as shipped; memory only, no Redis."""
    folder = place.fresh("balancer")
    port = free_port()
    configuration = {
        "listen": f"127.0.0.1:{port}",
        "servers": [f"http://127.0.0.1:{place.upstream}"],
        "cache": {"enabled": caches, "memory": f"{room}MiB"},
        "defaults": {"health": {"active": {"interval": "30s"}}, "timeouts": {"keep_alive": "300s"}},
        "admin": {"listen": f"127.0.0.1:{free_port()}", "state": str(folder / "overlay.yaml")},
        "logs": {"level": "warning", "access": {"to": "none"}},
        "shutdown": {"grace": "3s"},
    }
    (folder / "balancer.yaml").write_text(json.dumps(configuration, indent=2))
    command = (place.python, "-m", "balancer", "run", "-c", str(folder / "balancer.yaml"))
    name = "balancer" if caches else "balancer-uncached"
    return Recipe(name, command, port, folder, {"ADMIN_API_KEY": secrets.token_hex(24)})


def nginx(place: Place, *, caches: bool, large: bool) -> Recipe:
    """One worker. Its cache manager, which evicts, is a process of its own and counted with it.

    sendfile halves what a large answer costs it and makes a small one a third dearer: each is measured as suits it.
    """
    folder = place.fresh("nginx")
    port = free_port()
    cache = _NGINX_CACHE if caches else "proxy_max_temp_file_size 0;"
    http = _NGINX.format(
        port=port,
        upstream=place.upstream,
        folder=folder.as_posix(),
        room=ROOM,
        cache=cache,
        sendfile="on" if large else "off",
    )
    command = nginx_command(where("nginx") or "nginx", folder, http)
    return Recipe("nginx" if caches else "nginx-uncached", command, port, folder)


def varnish(place: Place) -> Recipe:
    """One pool of few threads, on one core as the others; its log in shared memory is always written."""
    folder = place.fresh("varnish")
    port = free_port()
    (folder / "default.vcl").write_text(_VARNISH.format(upstream=place.upstream))
    (folder / "work").mkdir()
    settings = {
        "thread_pools": 1,
        "thread_pool_min": 40,  # each of the load maker's 32 connections may occupy one
        "thread_pool_max": 60,
        "timeout_idle": 300,
    }
    options = [part for name, value in settings.items() for part in ("-p", f"{name}={value}")]
    command = (
        where("varnishd") or "varnishd",
        "-F",
        *("-j", "none"),
        *("-n", f"{folder}/work"),
        *("-a", f"127.0.0.1:{port}"),
        *("-f", f"{folder}/default.vcl"),
        *("-s", f"malloc,{ROOM}m"),
        *options,
    )
    return Recipe("varnish", command, port, folder)


CACHES: Final[dict[str, Callable[[Place, bool], Recipe]]] = {
    "balancer": lambda place, large: balancer(place, caches=True),
    "balancer-uncached": lambda place, large: balancer(place, caches=False),
    "nginx": lambda place, large: nginx(place, caches=True, large=large),
    "nginx-uncached": lambda place, large: nginx(place, caches=False, large=large),
    "varnish": lambda place, large: varnish(place),
}
"""By the names of the rows; called also with whether answers are large. Misses are held against the uncached ones."""
