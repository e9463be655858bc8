"""Names that mean what a test says, in the place of `socket.getaddrinfo`."""

from __future__ import annotations

import socket
from collections.abc import Iterable

Answers = list[tuple[socket.AddressFamily, int, int, str, tuple[object, ...]]]


def answers(addresses: Iterable[str], port: int) -> Answers:
    """As the system gives them."""
    return [_answer(address, port) for address in addresses]


def _answer(address: str, port: int) -> tuple[socket.AddressFamily, int, int, str, tuple[object, ...]]:
    if ":" not in address:
        return socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)
    plain, _, scope = address.partition("%")
    return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (plain, port, 0, 1 if scope else 0)


class Names:
    """Whose answers change from one question to the next; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers) or [["127.0.0.1"]]
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, family: int, kind: int) -> Answers:
        self.asked.append(host)
        return answers(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0], port)
