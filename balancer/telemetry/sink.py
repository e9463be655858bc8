"""Where log lines go: standard output, standard error or a file, and nothing ever waits for it."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from time import monotonic

CAPACITY = 1024 * 1024
"""Bytes that wait at most while the far side takes none; further lines are dropped and counted."""
AT_ONCE = 64 * 1024
"""So many waiting bytes are written without waiting for the next flush: what a pipe of Linux holds."""
STREAMS = {"stdout": 1, "stderr": 2}


class Sink:
    """Collects lines and writes many at once, without ever blocking.

    Lines wait in order while the far side takes none, up to `CAPACITY`; beyond that, and when writing fails,
    they are dropped and counted. `tell` hears when that begins and when it is over. A line whose rest had to
    be dropped is ended, so that the next one stands alone.
    """

    def __init__(self, to: str, tell: Callable[[str], None] = lambda message: None) -> None:
        """`to` is "stdout", "stderr" or a path. Raises OSError when that cannot be opened."""
        self._to = to
        self._tell = tell
        self._fd, self._may_block = _open(to)
        # One buffer and not a list of lines: the memory of many small objects that live for a moment goes
        # back to the system and is fetched anew, which cost 3 us a line.
        self._waiting = bytearray()
        self._flush_at = AT_ONCE
        self._torn = False  # the last byte written was not the end of a line
        self._owed = 0  # 1 while `_waiting` begins with the end of a line whose rest was dropped
        self._failing = False
        self.dropped = 0

    def put(self, line: bytes) -> None:
        """Take one line, its end included."""
        self._waiting += line
        if len(self._waiting) >= self._flush_at:
            self._filled(len(line))

    def _filled(self, size: int) -> None:
        """The last line, of this size, has filled the buffer."""
        if len(self._waiting) - size >= CAPACITY:
            del self._waiting[-size:]
            self._drop(1, "nobody takes them")
        else:
            self.flush()

    def flush(self) -> None:
        """Write what waits, as far as it is taken: from time to time, whether or not anything was put."""
        if len(self._waiting) == self._owed:
            return
        try:
            while self._waiting:
                self._write()
        except BlockingIOError:
            # Not again for each line: a try costs as much as several of them.
            self._flush_at = min(len(self._waiting) + AT_ONCE, CAPACITY)
            return
        except OSError as error:
            lines = self._waiting.count(b"\n") - self._owed
            self._owed = int(self._torn)
            self._waiting[:] = b"\n" * self._owed
            self._drop(lines, str(error))
        else:
            if self._failing:
                self._failing = False
                self._tell(f"writing to {self._to} works again, {self.dropped} lines were dropped so far")
        self._flush_at = AT_ONCE

    def reopen(self) -> None:
        """Go on in a new file of the same name, the old one was moved away; no change when that fails."""
        if self._to in STREAMS:
            return
        self.flush()
        try:
            fd, may_block = _open(self._to)
        except OSError as error:
            self._tell(f"{self._to} could not be opened anew, the old one stays in use: {error}")
            return
        os.close(self._fd)
        self._fd, self._may_block = fd, may_block

    def close(self, patience: float = 0.5) -> None:
        """Write what waits, giving a slow reader this many seconds; 0 while there are requests that would wait too."""
        deadline = monotonic() + patience
        self.flush()
        while len(self._waiting) > self._owed and (left := deadline - monotonic()) > 0:
            _ready(self._fd, left)
            self.flush()
        self.dropped += self._waiting.count(b"\n") - self._owed
        os.close(self._fd)

    def _write(self) -> None:
        if self._may_block and not _ready(self._fd):
            raise BlockingIOError
        # A stream that is ready has room for at least PIPE_BUF bytes.
        most = select.PIPE_BUF if self._may_block else len(self._waiting)
        with memoryview(self._waiting) as waiting:
            written = os.write(self._fd, waiting[:most])
        self._torn = self._waiting[written - 1] != ord("\n")
        self._owed = 0
        del self._waiting[:written]

    def _drop(self, lines: int, why: str) -> None:
        self.dropped += lines
        if not self._failing:
            self._failing = True
            self._tell(f"writing to {self._to} fails, lines are being dropped: {why}")


def _ready(fd: int, patience: float = 0.0) -> bool:
    """Whether the far side takes something, at the latest after so many seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(patience * 1000))


def _open(to: str) -> tuple[int, bool]:
    """A descriptor of our own, and whether writing to it may block."""
    if to not in STREAMS:
        # O_NONBLOCK is for named pipes and terminals; a file takes all it is given.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK
        return os.open(to, flags, 0o640), False
    stream = STREAMS[to]
    kind = os.fstat(stream).st_mode
    if stat.S_ISREG(kind):
        return os.dup(stream), False
    # Made non-blocking, it would be so for all programs that share it. Opened anew by its name it has its own
    # flags; that does not work for sockets (under systemd), for another user's pipe, and without /proc.
    if not stat.S_ISSOCK(kind):
        try:
            return os.open(f"/proc/self/fd/{stream}", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK), False
        except OSError:
            pass
    return os.dup(stream), True
