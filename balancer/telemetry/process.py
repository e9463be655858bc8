"""What the process uses: processor time, memory, descriptors, and how long its event loop is held up."""

from __future__ import annotations

import os
import resource
from collections import deque
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """One look at the process; None is what this system does not tell."""

    cpu: float
    """Seconds of processor time since the start, all threads."""
    resident: int | None
    """Bytes of memory in use."""
    virtual: int | None
    descriptors: int | None
    max_descriptors: int | None
    started: float | None
    """Unix time."""


class Process:
    """This process, as the system sees it."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._started = self._start()

    def figures(self) -> ProcessFigures:
        times = os.times()
        memory = self._words("self/statm")
        page = os.sysconf("SC_PAGE_SIZE")
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return ProcessFigures(
            cpu=times.user + times.system,
            resident=int(memory[1]) * page if memory else None,
            virtual=int(memory[0]) * page if memory else None,
            descriptors=self._descriptors(),
            max_descriptors=None if limit == resource.RLIM_INFINITY else limit,
            started=self._started,
        )

    def _descriptors(self) -> int | None:
        try:
            # Since Linux 6.2 the directory's size is their number; listing thousands takes milliseconds.
            return (self._proc / "self/fd").stat().st_size or len(os.listdir(self._proc / "self/fd"))
        except OSError:
            try:
                return len(os.listdir("/dev/fd"))
            except OSError:
                return None

    def _start(self) -> float | None:
        # The command's name, in parentheses, may hold spaces: fields are counted from its end.
        fields = self._text("self/stat").rpartition(")")[2].split()
        boot = [line for line in self._text("stat").splitlines() if line.startswith("btime ")]
        if not fields or not boot:
            return None
        return float(boot[0].split()[1]) + float(fields[19]) / os.sysconf("SC_CLK_TCK")

    def _words(self, name: str) -> list[str]:
        return self._text(name).split()

    def _text(self, name: str) -> str:
        try:
            return (self._proc / name).read_text()
        except OSError:
            return ""


class LoopLag:
    """How late the event loop keeps its appointments: so long everything else waited, too.

    A task that sleeps `interval` seconds again and again calls `beat` each time it wakes.
    """

    def __init__(self, interval: float = 1.0) -> None:
        self.interval = interval
        self._due: float | None = None
        self._late: deque[float] = deque(maxlen=max(1, round(60 / interval)))

    def beat(self, now: float) -> None:
        if self._due is not None:
            self._late.append(max(0.0, now - self._due))
        self._due = now + self.interval

    @property
    def last(self) -> float | None:
        """None until the second beat."""
        return self._late[-1] if self._late else None

    @property
    def worst(self) -> float | None:
        """The most in the last minute: a scrape that comes now and then should not miss it."""
        return max(self._late, default=None)
