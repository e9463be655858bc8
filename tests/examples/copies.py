"""Copies of the sample site as real processes, each on a free port."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import aiohttp

from tests.tree import ROOT


class Copy:
    """One running process. `url` is where it listens; leaving the block kills it if it still runs."""

    def __init__(self, database: Path, name: str = "app-1", *options: str) -> None:
        self.name = name
        self.url = ""
        arguments = ["--port", "0", "--name", name, "--database", str(database), *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.community", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ready(self) -> Copy:
        """Wait until it says where it listens."""
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        name, _, self.url = said.strip().partition(": ")
        assert name == self.name, said
        assert self.url.startswith("http://127.0.0.1:"), said
        return self

    def __enter__(self) -> Copy:
        return self.ready()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def terminate(self) -> int:
        """SIGTERM, and the status it ends with."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def chaos(self, mode: str, rate: float) -> None:
        body = json.dumps({"mode": mode, "rate": rate}).encode()
        wish = Request(f"{self.url}/chaos", body, {"Content-Type": "application/json"})
        with urlopen(wish, timeout=5) as answer:
            assert json.load(answer) == {"mode": mode, "rate": rate}


def browser(url: str) -> aiohttp.ClientSession:
    # unsafe: cookies are kept for an IP address too.
    jar = aiohttp.CookieJar(unsafe=True)
    return aiohttp.ClientSession(url, cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=10))
