"""The traffic generator as a program, against a real copy of the site."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from argparse import ArgumentTypeError

import pytest

from examples.community.traffic.__main__ import seconds
from tests.tree import ROOT


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "examples.community.traffic", *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def count(summary: str, word: str) -> int:
    found = re.search(rf"{word} (\d+)", summary)
    return int(found[1]) if found else 0


@pytest.mark.slow
def test_a_few_seconds_of_traffic_meet_no_error(copy):
    done = start("--url", copy.url, "--rate", "80", "--duration", "3s", "--seed", "3")
    out, err = done.communicate(timeout=20)
    assert (done.returncode, err) == (0, "")
    assert 150 < count(out, "requests ") < 350
    assert count(out, "5xx") == count(out, "none") == 0
    assert count(out, "4xx") <= 1  # somebody may read a post in the moment of its removal
    assert f"servers   {copy.name} 100%" in out
    for act in ("home", "register", "write", "comment", "avatar"):
        assert count(out, act) > 0, out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_a_normal_end(copy, number):
    running = start("--url", copy.url, "--rate", "50")
    assert running.stdout is not None
    assert running.stdout.readline() == f"about 50 requests a second to {copy.url}\n"
    running.send_signal(number)
    out, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (0, "")
    assert "requests" in out


@pytest.mark.slow
def test_a_site_that_is_away_is_counted_and_not_piled_up():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = start("--url", url, "--rate", "40", "--duration", "1s", "--quiet")
        out, err = done.communicate(timeout=20)
    assert (done.returncode, err) == (0, "")
    assert count(out, "none") > 10
    assert "look around: cannot connect" in out


def test_durations_are_read_as_people_write_them():
    assert [seconds(text) for text in ("30s", "2m", "500ms", "1.5s", "45", "0")] == [30, 120, 0.5, 1.5, 45, 0]


@pytest.mark.parametrize("text", ["", "s", "-3s", "soon", "1d", "1.2.3s"])
def test_a_duration_that_is_none_is_refused(text):
    with pytest.raises(ArgumentTypeError, match="expected a duration such as 30s"):
        seconds(text)


@pytest.mark.slow
def test_a_script_is_so_many_requests_one_after_the_other(copy):
    done = start("--url", copy.url, "--requests", "60", "--seed", "3")
    out, err = done.communicate(timeout=30)
    assert (done.returncode, err) == (0, "")
    assert count(out, "requests ") == 60
