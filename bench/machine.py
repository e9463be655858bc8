"""The machine the figures are taken on: its cores, its limits and the versions of what is compared."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def cores() -> tuple[int, int]:
    """One for the proxy and one for load maker and server; the same one where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        print("only one core: proxy, server and load maker share it, and costs are too high", file=sys.stderr)
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def warn_if_busy() -> None:
    """Say so when others use this machine: even ratios are unsteady then."""
    load = os.getloadavg()[0]
    if load > 0.7:
        print(
            f"others are at work on this machine (load average {load:.1f}): figures will be unsteady", file=sys.stderr
        )


def raise_descriptor_limit() -> None:
    """Allow ourselves and what we start as many open files as may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections() -> int:
    """Client connections a proxy is set up for; each may take two descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(8000, hard // 2 - 500) if hard != resource.RLIM_INFINITY else 8000


def description(commands: Mapping[str, str], python: str) -> dict[str, object]:
    """What one needs to compare these figures with others; `commands` are programs' paths by name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = {"python": _first_line(python, "-VV")}
    versions |= {name: _first_line(path, "-v") for name, path in commands.items()}
    return {
        "processor": processor[0] if processor else platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "versions": versions,
        "load average before": os.getloadavg()[0],
    }


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip()
