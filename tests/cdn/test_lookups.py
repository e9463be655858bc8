"""Names that hang hold nobody but those who ask for them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from balancer.cdn.http import open_session
from balancer.cdn.lookups import MOST, MOST_OF_ONE, Busy, Lookups, Resolver
from tests.cdn.images.names import Answers, Names, answers
from tests.cdn.images.test_pool import until


class Slow:
    """Of some names the answer does not come before it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, family: int, kind: int) -> Answers:
        self.asked.append(host)
        if host.endswith("slow.test"):
            self.go.wait(20)
        if host == "gone.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers(["192.0.2.7"], port)


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.go.set()


def ask(lookups: Lookups, *hosts: str) -> list[asyncio.Task[list[tuple[socket.AddressFamily, str]]]]:
    return [asyncio.ensure_future(lookups.find(host, 80)) for host in hosts]


async def test_addresses_come_once_each_and_with_their_scope() -> None:
    lookups = Lookups(Names(["192.0.2.7", "2001:db8::1", "192.0.2.7", "fe80::1%eth0"]))
    assert await lookups.find("a.test", 80) == [
        (socket.AF_INET, "192.0.2.7"),
        (socket.AF_INET6, "2001:db8::1"),
        (socket.AF_INET6, "fe80::1%1"),
    ]


async def test_the_system_is_asked_without_anything_else() -> None:
    assert (socket.AF_INET, "127.0.0.1") in await Lookups().find("localhost", 80)


async def test_a_name_that_is_not_known_is_told_to_all_who_asked(slow: Slow) -> None:
    lookups = Lookups(slow)
    for task in ask(lookups, "gone.test", "gone.test"):
        with pytest.raises(OSError, match="not known"):
            await task
    assert (slow.asked, lookups.running) == (["gone.test"], 0)


async def test_a_name_that_cannot_be_asked_for_is_an_error_like_any_other() -> None:
    with pytest.raises(OSError, match="cannot be looked up"):
        await Lookups().find("a" * 70 + ".test", 80)


async def test_names_of_one_domain_that_hang_leave_room_for_others(slow: Slow) -> None:
    lookups = Lookups(slow)
    hanging = ask(lookups, *(f"h{n}.slow.test" for n in range(MOST_OF_ONE)))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await lookups.find("one-more.slow.test", 80)
    assert await lookups.find("media.test", 80) == [(socket.AF_INET, "192.0.2.7")]
    slow.go.set()
    assert await asyncio.gather(*hanging) == [[(socket.AF_INET, "192.0.2.7")]] * MOST_OF_ONE


async def test_when_all_hang_the_next_one_is_refused_and_what_was_given_up_counts(slow: Slow) -> None:
    lookups = Lookups(slow)
    hanging = ask(lookups, *(f"h.{n}.slow.test" for n in range(MOST_OF_ONE)))
    hanging += ask(lookups, *(f"h{n}.very-slow.test" for n in range(MOST - MOST_OF_ONE)))
    await asyncio.sleep(0)
    for task in hanging:
        task.cancel()
    await asyncio.wait(hanging)
    with pytest.raises(Busy):
        await lookups.find("media.test", 80)
    again = ask(lookups, "h.0.slow.test")  # who asks for one of them waits with it, and costs no other thread
    slow.go.set()
    assert await again[0] == [(socket.AF_INET, "192.0.2.7")]
    assert len(slow.asked) == MOST
    await until(lambda: not lookups.running)
    assert await lookups.find("media.test", 80) == [(socket.AF_INET, "192.0.2.7")]


async def test_a_session_for_a_provider_asks_in_threads_of_its_own() -> None:
    async with open_session() as session:
        assert isinstance(getattr(session.connector, "_resolver", None), Resolver)


def test_a_name_that_hangs_does_not_keep_the_process() -> None:
    program = (
        "import asyncio, threading\n"
        "from balancer.cdn.lookups import Lookups\n"
        "async def main():\n"
        "    lookups = Lookups(lambda *asked: threading.Event().wait())\n"
        "    asked = asyncio.ensure_future(lookups.find('h.slow.test', 80))\n"
        "    await asyncio.sleep(0.01)\n"
        "    asked.cancel()\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
