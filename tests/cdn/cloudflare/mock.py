"""Prism, which answers as a document says and refuses what the document does not have."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.program import free_port
from tests.tree import ROOT

PRISM = ROOT / "build" / "prism" / "node_modules" / ".bin" / "prism"
FOLDER = "CDN_CONTRACTS"
"""Variable that names the folder of the documents, where they are not beside the repository."""
PATIENCE = 60.0
"""Seconds until it answers."""


def document(name: str) -> Path:
    """A document of somebody else's, which is no part of the project; skips the test where it is not there."""
    folder = Path(os.environ.get(FOLDER) or ROOT.parent / "shared" / "contracts" / "cdn" / "openapi")
    if not (folder / name).is_file():
        pytest.skip(f"there is no {name} in {folder}; {FOLDER} names another folder")
    return folder / name


@contextmanager
def prism(described: Path, log: Path) -> Iterator[str]:
    """Its URL; skips the test where it is not installed."""
    if not PRISM.is_file() or shutil.which("node") is None:
        pytest.skip("prism is not installed: make prism")
    port = free_port()
    command = [str(PRISM), "mock", "-h", "127.0.0.1", "-p", str(port), "--errors", str(described)]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            until = time.monotonic() + PATIENCE
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(f"prism did not start: {log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
