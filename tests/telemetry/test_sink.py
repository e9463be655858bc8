import contextlib
import fcntl
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.telemetry.sink import AT_ONCE, CAPACITY, Sink

LINE = b"x" * 99 + b"\n"

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


class Pipe:
    """A named pipe with a reader who reads when told to."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        pieces = []
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.reader, 1 << 20):
                pieces.append(piece)
        return b"".join(pieces)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    made = Pipe(tmp_path / "pipe")
    yield made
    os.close(made.reader)


@pytest.fixture
def told() -> list[str]:
    return []


def test_lines_wait_for_a_flush(tmp_path):
    sink = Sink(str(tmp_path / "log"))
    sink.put(LINE)
    assert (tmp_path / "log").read_bytes() == b""
    sink.flush()
    assert (tmp_path / "log").read_bytes() == LINE
    sink.close()


def test_many_lines_do_not_wait_for_a_flush(tmp_path):
    sink = Sink(str(tmp_path / "log"))
    for _ in range(AT_ONCE // len(LINE) + 1):
        sink.put(LINE)
    assert (tmp_path / "log").stat().st_size >= AT_ONCE
    sink.close()


def test_a_log_is_appended_to_and_not_for_everyone_to_read(tmp_path):
    path = tmp_path / "log"
    for _ in range(2):
        sink = Sink(str(path))
        sink.put(LINE)
        sink.close()
    assert path.read_bytes() == LINE * 2
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Sink(str(tmp_path / "no" / "such" / "directory"))


def test_a_pipe_nobody_reads_holds_up_no_one_and_lines_beyond_the_bound_are_counted(pipe, told):
    sink = Sink(pipe.path, told.append)
    lines = 2 * CAPACITY // len(LINE)
    for _ in range(lines):
        sink.put(LINE)
    sink.flush()
    assert sink.dropped > 0
    assert len(told) == 1
    assert "nobody takes them" in told[0]
    received = b""
    while piece := pipe.read():
        received += piece
        sink.flush()
    assert received.count(b"\n") + sink.dropped == lines
    assert set(received.splitlines(keepends=True)) == {LINE}
    assert len(received) < CAPACITY + 2 * AT_ONCE
    sink.put(LINE)
    sink.flush()
    assert "works again" in told[1]
    assert len(told) == 2
    sink.close()


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=3000).map(lambda b: b.replace(b"\n", b"") + b"\n"), st.sampled_from([b"read", b"flush"])
        )
    )
)
def test_what_a_slow_reader_gets_is_what_was_put_in_order(tmp_path_factory, steps):
    pipe = Pipe(tmp_path_factory.mktemp("slow") / "pipe")
    sink = Sink(pipe.path)
    fcntl.fcntl(pipe.reader, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)
    received, put = b"", b""
    for step in steps:
        if step == b"read":
            received += pipe.read()
        elif step == b"flush":
            sink.flush()
        else:
            put += step
            sink.put(step)
    for _ in range(200):
        sink.flush()
        received += pipe.read()
    assert received == put
    assert sink.dropped == 0
    sink.close()
    os.close(pipe.reader)


@needs_dev_full
def test_a_full_disk_drops_lines_and_counts_them(told):
    sink = Sink("/dev/full", told.append)
    for _ in range(3):
        sink.put(LINE)
        sink.put(LINE)
        sink.flush()
    assert sink.dropped == 6
    assert len(told) == 1
    assert "No space left on device" in told[0]
    sink.close()
    assert sink.dropped == 6


def test_a_reader_may_go_and_come_back(pipe, told):
    sink = Sink(pipe.path, told.append)
    os.close(pipe.reader)
    for _ in range(2):
        sink.put(LINE)
        sink.flush()
    assert sink.dropped == 2
    assert len(told) == 1
    assert "Broken pipe" in told[0]
    pipe.reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    sink.put(b"after\n")
    sink.flush()
    assert pipe.read() == b"after\n"
    assert "works again, 2 lines were dropped" in told[1]
    sink.close()


def test_a_line_that_was_cut_is_ended_before_the_next_one(pipe):
    fcntl.fcntl(pipe.reader, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)
    sink = Sink(pipe.path)
    sink.put(b"c" * 6000 + b"\n")
    sink.flush()  # 4096 bytes of it fit
    cut = pipe.read()
    assert cut == b"c" * 4096
    os.close(pipe.reader)
    sink.flush()
    assert sink.dropped == 1
    pipe.reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    sink.flush()
    assert pipe.read() == b""
    sink.put(b"after\n")
    sink.flush()
    assert pipe.read() == b"\nafter\n"
    sink.close()


def test_closing_without_patience_does_not_wait_for_a_stuck_reader(pipe):
    sink = Sink(pipe.path)
    for _ in range(2 * AT_ONCE // len(LINE)):
        sink.put(LINE)
    started = monotonic()
    sink.close(patience=0)
    assert monotonic() - started < 0.4
    assert pipe.read().count(b"\n") + sink.dropped == 2 * AT_ONCE // len(LINE)


def test_after_a_rotation_lines_go_to_the_new_file(tmp_path):
    path = tmp_path / "log"
    sink = Sink(str(path))
    sink.put(b"old\n")
    path.rename(tmp_path / "log.1")
    sink.put(b"still old\n")
    sink.reopen()
    sink.put(b"new\n")
    sink.flush()
    assert (tmp_path / "log.1").read_bytes() == b"old\nstill old\n"
    assert path.read_bytes() == b"new\n"
    sink.close()


def test_when_the_new_file_cannot_be_opened_the_old_one_stays_in_use(tmp_path, told):
    (tmp_path / "logs").mkdir()
    sink = Sink(str(tmp_path / "logs" / "log"), told.append)
    (tmp_path / "logs").rename(tmp_path / "moved")
    sink.reopen()
    assert "stays in use" in told[0]
    sink.put(LINE)
    sink.close()
    assert (tmp_path / "moved" / "log").read_bytes() == LINE


def test_a_descriptor_is_not_lost_by_opening_anew(tmp_path):
    sink = Sink(str(tmp_path / "log"))
    before = len(os.listdir("/dev/fd"))
    for _ in range(10):
        sink.reopen()
    assert len(os.listdir("/dev/fd")) == before
    sink.close()


PROGRAM = """
import os, sys
from balancer.telemetry.sink import Sink
told = []
sink = Sink("stdout", told.append)
for n in range(30000):
    sink.put(b"%d %s\\n" % (n, b"x" * 100))
sink.flush()
print(os.get_blocking(1), sink.dropped, len(told), file=sys.stderr, flush=True)
sys.stdin.read()
sink.close()
print(sink.dropped, file=sys.stderr, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_stuck_standard_output_holds_up_no_one_and_is_left_blocking_for_others(kind):
    """The reader reads nothing until the program has written everything it wanted."""
    if kind == "pipe":
        read, write = os.pipe()
    else:  # as systemd connects services to the journal
        ours, theirs = socket.socketpair()
        read, write = ours.detach(), theirs.detach()
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert child.stdin
    assert child.stderr
    try:
        assert select.select([child.stderr], [], [], 20)[0], "the program waits for its reader"
        blocking, dropped, messages = child.stderr.readline().split()
        assert (blocking, messages) == (b"True", b"1")
        assert int(dropped) > 0
        child.stdin.close()
        received = b""
        while piece := os.read(read, 1 << 20):
            received += piece
        lines = received.split(b"\n")[:-1]  # the last one may be cut
        assert [line.split()[0] for line in lines] == [b"%d" % n for n in range(len(lines))]
        assert len(lines) + int(child.stderr.readline()) == 30000
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.wait()
        child.stderr.close()
        os.close(read)


def test_standard_output_that_is_a_file_gets_the_lines(tmp_path):
    with (tmp_path / "out").open("wb") as out:
        program = "from balancer.telemetry.sink import Sink; s = Sink('stdout'); s.put(b'hello\\n'); s.close()"
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"hello\n"
