"""The process that opens pictures: `python -m balancer.cdn.images.worker ENGINE MEMORY SECONDS`.

A picture is a program that strangers wrote for a large library in C. Whatever one brings about ends this process and
the one job it has; it has no secrets, no descriptors but the one it speaks over, and bounds that the system keeps to.

One line of JSON comes for each job, and one goes back, followed by the picture where that could not be written to disk.
It is JSON and nothing that could carry code: the balancer reads what a broken-into worker says.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Final

from balancer.cdn.images.engine import Bounds, Made, Rejected, Transformer, Wish

Said = dict[str, object]
NICE: Final = 10
"""Steps by which the proxy goes first."""
LARGEST_FILE: Final = 256 * 1024 * 1024
"""Bytes of a file that may be written."""
DESCRIPTORS: Final = 32
SPARE: Final = 2
"""Seconds after the balancer's own time limit in which the system ends what the balancer has not ended."""
ENDS_FIRST: Final = b"500"
"""Of 1000: a system out of memory takes this process before the balancer."""


def main(arguments: list[str]) -> None:
    engine, memory, seconds = arguments
    _confine(int(memory))
    with socket.socket(fileno=0) as channel, channel.makefile("rwb") as stream:
        try:
            transformer = _engine(engine)
        except (ImportError, OSError) as error:
            stream.write(_line(broken=f"{engine} cannot be loaded: {error}"))
            stream.flush()
            return
        at_first = _taken()
        stream.write(_line(ready=True))
        stream.flush()
        while line := stream.readline():  # nothing: the balancer has gone, in whatever way
            _limit_time(ceil(float(seconds)) + SPARE)
            said, body = _work(transformer, json.loads(line))
            signal.alarm(0)
            spent = is_spent(_taken(), at_first, int(memory))
            stream.write(_line(**said, spent=spent))
            stream.write(body)
            stream.flush()
            if spent:
                return


def _confine(memory: int) -> None:
    os.nice(NICE)
    os.umask(0o077)
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
    ):
        _, hard = resource.getrlimit(limit)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(limit, (most, most))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: it is the balancer that stops its workers
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file too large is an error of writing
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(ENDS_FIRST)


def _taken() -> int:
    """Bytes of address space; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()


def is_spent(taken: int, at_first: int, memory: int) -> bool:
    """Whether a picture might find too little room, as half of what there was at first is gone: not all that large
    pictures took can be given back."""
    return taken - at_first > (memory - at_first) // 2


def _limit_time(seconds: int) -> None:
    """Of this job, by the clock and by the processor; what takes longer is ended by the system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(used.ru_utime + used.ru_stime) + seconds, hard))
    signal.alarm(seconds)


def _engine(name: str) -> Transformer:
    if name == "vips":
        from balancer.cdn.images.vips_engine import VipsEngine

        return VipsEngine()
    from balancer.cdn.images.pillow_engine import PillowEngine

    return PillowEngine()


def _work(transformer: Transformer, job: dict[str, object]) -> tuple[Said, bytes]:
    """One job's answer, and a body."""
    try:
        wish, bounds = Wish(**job["wish"]), Bounds(**job["bounds"])  # type: ignore[arg-type]  # as the pool wrote them
        made = transformer.make(Path(str(job["source"])), wish, bounds)
    except Rejected as error:
        return {"rejected": error.reason, "message": str(error)}, b""
    except MemoryError:
        return {"rejected": "memory", "message": "it takes more memory than `cdn.images.memory`"}, b""
    except FileNotFoundError:
        return {"gone": True}, b""
    except Exception as error:  # outermost place of this job: a library's surprise is this picture's failure alone
        return {"rejected": "decode", "message": f"{type(error).__name__}: {error}"[:500], "surprise": True}, b""
    return _kept(made, str(job["out"]), str(job["head"]))


def _kept(made: Made, out: str, head: str) -> tuple[Said, bytes]:
    """Write the picture to disk, or hand it over where there is no room."""
    said: Said = {"format": made.format, "width": made.width, "height": made.height, "size": len(made.data)}
    said["digest"] = sha256(made.data).hexdigest()  # here, where it keeps nobody waiting who has another picture
    try:
        with open(out, "xb") as file:
            file.write(json.dumps({**json.loads(head), **said}).encode() + b"\n")
            file.write(made.data)
    except OSError as error:
        with suppress(OSError):
            os.unlink(out)
        return {**said, "unkept": error.strerror or str(error)}, made.data
    return said, b""


def _line(**said: object) -> bytes:
    return json.dumps(said).encode() + b"\n"


if __name__ == "__main__":
    main(sys.argv[1:])
