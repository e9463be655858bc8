import os
from pathlib import Path

import pytest

from balancer.telemetry.process import LoopLag, Process

ON_LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


@ON_LINUX
def test_the_process_is_seen_as_the_system_counts_it():
    figures = Process().figures()
    assert 1_000_000 < figures.resident < figures.virtual
    assert 0 < figures.cpu < 3600
    assert 0 < figures.descriptors <= figures.max_descriptors
    assert figures.started < os.stat("/proc/self/fd").st_mtime + 1


@ON_LINUX
def test_an_opened_descriptor_is_counted():
    process = Process()
    before = process.figures().descriptors
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    try:
        assert process.figures().descriptors == before + 20
    finally:
        for fd in opened:
            os.close(fd)


def test_what_a_system_does_not_tell_is_none(tmp_path):
    figures = Process(tmp_path).figures()
    assert (figures.resident, figures.virtual, figures.started) == (None, None, None)
    assert figures.cpu > 0
    assert figures.descriptors > 0


def test_a_command_with_spaces_and_parentheses_in_its_name_is_read_right(tmp_path):
    (tmp_path / "self").mkdir()
    fields = ["S", *("0" for _ in range(18)), "500", "0"]
    (tmp_path / "self/stat").write_text(f"42 (a ) b) {' '.join(fields)}\n")
    (tmp_path / "stat").write_text("cpu 1 2 3\nbtime 1000\nprocesses 5\n")
    assert Process(tmp_path).figures().started == 1000 + 500 / os.sysconf("SC_CLK_TCK")


def test_a_loop_that_is_in_time_has_no_lag():
    lag = LoopLag()
    assert lag.last is None
    assert lag.worst is None
    for now in (10.0, 11.0, 12.0):
        lag.beat(now)
    assert (lag.last, lag.worst) == (0.0, 0.0)


def test_the_worst_lag_is_kept_for_a_minute():
    lag = LoopLag()
    now = 0.0
    lag.beat(now)
    now += 1.5
    lag.beat(now)
    assert (lag.last, lag.worst) == (0.5, 0.5)
    for _ in range(59):
        now += 1.0
        lag.beat(now)
    assert (lag.last, lag.worst) == (0.0, 0.5)
    lag.beat(now + 1.0)
    assert lag.worst == 0.0


def test_waking_early_is_no_lag():
    lag = LoopLag()
    lag.beat(0.0)
    lag.beat(0.9)
    assert lag.last == 0.0
