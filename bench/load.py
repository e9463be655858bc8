"""Load on a port for some seconds: by wrk, or by our own load maker where there is no wrk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.request import FIELDS
from bench.usage import on_core

_HERE = Path(__file__).parent


class LoadFailed(Exception):
    """The load maker could not do its work; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it."""

    requests: int
    errors: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LoadMaker:
    """How load is made in this sitting: with wrk at a path, or without."""

    wrk: str | None
    core: int
    connections: int = 32

    @property
    def name(self) -> str:
        return "wrk" if self.wrk else "bench.load_maker"

    def load(self, port: int, path: str, seconds: int, *, fresh: bool = False, paths: Sequence[str] = ()) -> Load:
        """Make load; `fresh` opens a connection for each request. Raises LoadFailed.

        `paths` are the words for `report.lua` that say which path each request asks for, where that is not always the
        same one. Only wrk can do that.
        """
        command = self._command(port, path, seconds, fresh, paths)
        most = seconds + 30  # both load makers end by themselves; this is for one that hangs
        with on_core(self.core):
            try:
                done = subprocess.run(
                    command, cwd=_HERE.parent, capture_output=True, text=True, timeout=most, check=False
                )
            except subprocess.TimeoutExpired as expired:
                raise LoadFailed(f"{self.name} ran for {most} s instead of {seconds} and was ended") from expired
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines:
            said = (done.stderr or done.stdout).strip()
            raise LoadFailed(f"{self.name} failed with {done.returncode}: {said}")
        load = Load(**json.loads(lines[-1]))
        if not load.requests:
            raise LoadFailed(f"{self.name} got no answer from port {port}: {load.errors} errors")
        return load

    def _command(self, port: int, path: str, seconds: int, fresh: bool, paths: Sequence[str]) -> list[str]:
        if self.wrk is None:
            if paths:
                raise LoadFailed(f"{self.name} asks for one path only: wrk is needed for several")
            shape = [str(port), path, str(self.connections), str(seconds), "fresh" if fresh else "keep"]
            return [sys.executable, "-m", "bench.load_maker", *shape]
        fields = {**FIELDS, "Connection": "close"} if fresh else FIELDS
        headers = [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
        shape = ["-t", "1", "-c", str(self.connections), "-d", f"{seconds}s", "-s", str(_HERE / "report.lua")]
        return [self.wrk, *shape, *headers, f"http://127.0.0.1:{port}{path}", *(("--", *paths) if paths else ())]
