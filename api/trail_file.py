"""The file of the audit trail: lines that are there once they were written, in a bounded number of files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

SIZE: Final = 16 * 2**20
"""Bytes of one file: about fifty thousand lines."""
KEPT: Final = 4
"""Files in all, the one that is written to included."""
TAIL: Final = 256 * 1024
"""Bytes that a start reads back."""


class TrailFile:
    """One file and those before it: `audit.jsonl`, `audit.jsonl.1` and so on. Everything here waits for the disk.

    It is opened again when it is not at its path any more, so whoever moves or deletes it gets no lines written
    where nobody looks. It is not for two threads at a time.
    """

    def __init__(self, path: Path, size: int = SIZE, kept: int = KEPT) -> None:
        self.path = path
        self._size = size
        self._kept = kept
        self._fd: int | None = None

    def beside(self, word: str) -> TrailFile:
        """Another one, `audit-word.jsonl`, which takes with the one before it no more than one file of this does."""
        return TrailFile(self.path.with_name(f"{self.path.stem}-{word}{self.path.suffix}"), self._size // 2, 2)

    def write(self, lines: bytes, *, lasting: bool) -> None:
        """Append whole lines; OSError: none of them is there. `lasting`: not before the disk has them."""
        fd = self._opened()
        before = os.fstat(fd).st_size
        if before and before + len(lines) > self._size:
            self._rotate()
            fd, before = self._opened(), 0
        try:
            written = 0
            while written < len(lines):
                written += os.write(fd, lines[written:])
            if lasting:
                os.fsync(fd)
        except OSError:
            os.ftruncate(fd, before)  # half a line would spoil the next one
            raise

    def tail(self, most: int = TAIL) -> bytes:
        """The last lines that were written; nothing where there is no file."""
        found = b""
        for path in (self.path, self._older(1)):
            try:
                with path.open("rb") as file:
                    size = file.seek(0, os.SEEK_END)
                    file.seek(max(0, size - most + len(found)))
                    found = file.read(most - len(found)) + found
            except OSError:
                continue
            if len(found) >= most:
                return found.partition(b"\n")[2]  # the first line is cut
        return found

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _opened(self) -> int:
        if self._fd is not None:
            try:
                here = os.stat(self.path)
            except FileNotFoundError:
                here = None
            mine = os.fstat(self._fd)
            if here is not None and (here.st_ino, here.st_dev) == (mine.st_ino, mine.st_dev):
                return self._fd
            self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Not through a link, which whoever may write to the folder could lead elsewhere.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(f"{self.path} is no file")
            os.fchmod(fd, 0o600)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        return fd

    def _rotate(self) -> None:
        self.close()
        for number in range(self._kept - 1, 1, -1):
            if self._older(number - 1).exists():
                os.replace(self._older(number - 1), self._older(number))
        os.replace(self.path, self._older(1))

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
