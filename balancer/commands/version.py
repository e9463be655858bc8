"""`balancer version`: which balancer this is and, with -v, what it runs on."""

from __future__ import annotations

import balancer
from balancer.commands.console import Console
from balancer.commands.outcome import OK

PACKAGES = (
    "aiohttp",
    "orjson",
    "prometheus-client",
    "pydantic",
    "pyyaml",
    "redis",
    "structlog",
    "uvloop",
)


def version(console: Console, verbose: bool) -> int:
    console.out(f"balancer {balancer.__version__}")
    if verbose:
        import platform

        console.out(f"{platform.python_implementation()} {platform.python_version()}")
        console.out(platform.platform())
        for name in PACKAGES:
            console.out(f"{name} {_installed(name)}")
    return OK


def _installed(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is not installed"
