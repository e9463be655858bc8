"""Every script, played through the real process over sockets: whole, byte by byte, and cut in several places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.wire.play import Patience, complaints, play
from tests.wire.proxies import Balancer
from tests.wire.script import Case, all_cases
from tests.wire.server import ScriptedServer

pytestmark = pytest.mark.slow  # all of them together
PATIENCE = Patience(answer=5.0, end=5.0)
LONGEST_CRUMBLED = 2_000  # bytes: what is longer says nothing more when it comes byte by byte


def ways(case: Case) -> Iterator[Sequence[bytes] | None]:
    """How the client's bytes are cut up: None is as the script has them."""
    yield None
    data = case.data
    if not case.plain:
        return
    if len(data) <= LONGEST_CRUMBLED:
        yield [data[at : at + 1] for at in range(len(data))]
    ends = {data.find(b"\r\n") + 1, data.find(b"\r\n\r\n") + 3, len(data) // 2, len(data) - 1}
    for end in sorted(ends & set(range(1, len(data)))):
        yield [data[:end], data[end:]]


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.theme}: {case.name}") for case in all_cases()])
def test_a_script_plays_as_written(case: Case, server: ScriptedServer, balancer_of: Callable[[str], Balancer]) -> None:
    balancer = balancer_of(case.site)
    for pieces in ways(case):
        seen = play(case, balancer.port, server, PATIENCE, pieces)
        wrong = complaints(case, seen)
        cut = "as written" if pieces is None else f"in {len(pieces)} pieces, the first of {len(pieces[0])} bytes"
        assert not wrong, f"{case.ref}, sent {cut}:\n  " + "\n  ".join(wrong)
    assert balancer.running
