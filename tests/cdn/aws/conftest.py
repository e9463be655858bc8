"""What the tests of AWS share: moto's server, started once a module, and an account at it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from balancer.cdn.aws.account import Account, Credential
from tests.cdn.aws.moto import Moto

KEY = Credential("AKIAEXAMPLE00000WXYZ", "a-secret-that-nobody-may-see")


@pytest.fixture(scope="module")
def running_moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    server = Moto(tmp_path_factory.mktemp("moto") / "log")
    yield server
    server.kill()


@pytest.fixture
def moto(running_moto: Moto) -> Moto:
    running_moto.reset()
    return running_moto


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a profile nor a role of whoever runs the tests."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    account = Account("aws", KEY, timeout=20.0)
    yield account
    await account.close()
