"""One balancer of each configuration, and the server behind it, for all scripts of a test process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.proxies import Balancer
from tests.wire.server import ScriptedServer


@pytest.fixture(scope="session")
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    yield running
    running.close()


@pytest.fixture(scope="session")
def balancer_of(
    tmp_path_factory: pytest.TempPathFactory, server: ScriptedServer
) -> Iterator[Callable[[str], Balancer]]:
    """The running balancer of a site, started when the first script asks for it."""
    folder: Path = tmp_path_factory.mktemp("wire")
    running: dict[str, Balancer] = {}

    def of(site: str) -> Balancer:
        if site not in running:
            balancer = Balancer(folder, site, server.port)
            balancer.start()
            running[site] = balancer
        return running[site]

    yield of
    for balancer in running.values():
        balancer.end()
