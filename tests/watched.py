"""Runs a program and writes down what it asks of the system: python -m tests.watched FILE (run ARGUMENT... | import).

By Python's audit events (PEP 578), so with asyncio's own loop: what uvloop does is not Python's to see.
"""

from __future__ import annotations

import json
import os
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

NETWORK: Final = frozenset(
    ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")
)
PROGRAMS: Final = frozenset(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"))
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PACKAGES: Final = ("api", "balancer", "config")


def main(out: str, what: str, *arguments: str) -> object:
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def hook(event: str, details: tuple[object, ...]) -> None:
        if event in NETWORK:
            shown = details[1:] if event in ("socket.connect", "socket.bind") else details[:2]
        elif event in PROGRAMS or (event == "open" and isinstance(details[2], int) and details[2] & WRITING):
            shown = details[:1]
        else:
            return
        os.write(file, json.dumps([event, *map(str, shown)]).encode() + b"\n")

    sys.modules["uvloop"] = None  # type: ignore[assignment]  # so that importing it fails
    sys.dont_write_bytecode = True
    sys.addaudithook(hook)
    if what == "import":
        for package in PACKAGES:
            folder = str(Path(package).resolve())
            for module in pkgutil.walk_packages([folder], f"{package}."):
                if not module.name.endswith("__main__"):
                    import_module(module.name)
        return 0
    from balancer.cli import main as balancer

    return balancer([what, *arguments])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))  # type: ignore[arg-type]  # an exit status
