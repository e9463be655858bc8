"""`balancer run`: the balancer itself, in the foreground."""

from __future__ import annotations

from pathlib import Path

from balancer.commands.console import Console
from balancer.commands.places import needed_configuration


def run(console: Console, config: Path | None) -> int:
    path = needed_configuration(config, console.environ)
    from balancer.app import run as serve

    return serve(path, console.environ)
