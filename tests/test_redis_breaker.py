"""When a server of Redis is asked no more."""

from __future__ import annotations

from random import Random

from balancer.redis_breaker import FAILURES, STEADY, Breaker
from balancer.redis_state import GatewayState


class Server:
    """A breaker, its state and its clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.state = GatewayState("up", None)
        self.breaker = Breaker(self.state, lambda: self.now, Random(1))

    def misses(self, seconds: float) -> bool:
        self.breaker.missed(seconds)
        return self.breaker.strike(1)


def test_misses_days_apart_with_answers_between_are_not_in_a_row() -> None:
    server = Server()
    assert not server.misses(0.005)  # which makes 6 ms too late for an answer, but not for good
    for _ in range(3 * FAILURES):
        server.breaker.works(0.006)
        server.now += 86_400
        assert not server.misses(0.1)
    assert server.state.phase == "up"


def test_answers_that_are_too_slow_for_some_do_not_keep_it_closed() -> None:
    server = Server()
    opened = False
    for _ in range(FAILURES):
        server.breaker.works(0.006)
        server.now += STEADY / 2
        opened = server.misses(0.005)
    assert opened


def test_misses_with_no_answer_between_are_in_a_row_however_rare() -> None:
    server = Server()
    opened = False
    for _ in range(FAILURES):
        server.now += 86_400
        opened = server.misses(0.1)
    assert opened
