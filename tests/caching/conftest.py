"""One lab for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.caching.lab import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    running = Lab(tmp_path_factory.mktemp("caching"))
    yield running
    running.end()


@pytest.fixture(autouse=True)
def _clients_end_with_their_test(lab: Lab) -> Iterator[None]:
    yield
    lab.close_clients()
