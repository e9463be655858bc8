"""What a case is: a rule, where it is written, and an exchange in steps that would go otherwise if it did not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tests.caching.server import Answer, says

T = TypeVar("T", bound=Callable[..., None])
Span = tuple[int, int]
ANY: Final = -1


@dataclass(frozen=True)
class Step:
    """One request, what the server says if it is asked, and what must be seen at both ends."""

    lines: tuple[str, ...] = ()
    """Fields of the request."""
    method: str = "GET"
    tail: str = ""
    """Behind the case's own path."""
    host: str = "site.test"
    target: str = "{path}"
    """As sent; {path} is the case's with the tail."""
    body: bytes = b""
    version: str = "1.1"
    answers: tuple[Answer, ...] = ()
    reaches: int | None = None
    """Requests that arrive at the server; None: as many as there are answers; ANY: that is left to the cache."""
    asked: tuple[str, ...] = ()
    """The last of them: "Name: value" has to be there as it is, "Name" with any value, "!Name" not."""
    arrives_as: str | None = None
    """Its method."""
    status: int = 200
    of: int | None = None
    """Whose body the client gets: the number of an answer; None: the last one that had one."""
    gets: bytes | None = None
    """The client's body, in the place of that."""
    page: bool = False
    """The client's body is the balancer's own affair."""
    has: tuple[str, ...] = ()
    """What the client sees, written as in `asked`."""
    age: Span | None = None
    cache: Mapping[str, Any] | None = None
    """Parameters in Cache-Status; None as value: absent. A tuple: from, to."""
    hit: bool | None = None
    away: bool = False
    """The server cannot be reached meanwhile."""
    eventually: bool = False
    """Asked again until it comes out so: what happens in the background takes its time."""


@dataclass(frozen=True)
class Case:
    id: str
    ref: str
    rule: str
    steps: tuple[Step, ...]
    site: str = "plain"
    prefix: str = ""
    """Before the case's own path: chooses the route."""
    theme: str = ""
    slow: bool = False


def fetch(answer: Answer, *lines: str, **more: Any) -> Step:
    """A request that has to reach the server, and gets its answer."""
    more.setdefault("hit", False)
    return Step(lines, answers=(answer,), status=more.pop("status", answer.status), **more)


def hit(*lines: str, **more: Any) -> Step:
    """A request that is answered without the server."""
    more.setdefault("hit", True)
    return Step(lines, **more)


def checked(answer: Answer, *lines: str, **more: Any) -> Step:
    """A request for which the server is asked whether what is stored still holds, which it does."""
    more.setdefault("hit", False)
    return Step(lines, answers=(answer,), **more)


def own(status: int, *lines: str, **more: Any) -> Step:
    """A request that the balancer answers with a page of its own."""
    return Step(lines, status=status, page=True, **more)


UNCHANGED: Final = says(status=304)
NEXT: Final = says("Cache-Control: no-store")
"""An answer that ends a case."""

CASES: Final[list[Case]] = []
_THEME: Final = [""]


def theme(name: str) -> None:
    """The cases from here on are about this."""
    _THEME[0] = name


def case(id: str, ref: str, rule: str, *steps: Step, **more: Any) -> None:  # noqa: A002 - it is what pytest calls it
    CASES.append(Case(id, ref, rule, steps, theme=_THEME[0], **more))


def fresh(id: str, ref: str, rule: str, *lines: str, age: Span | None = None, **more: Any) -> None:  # noqa: A002
    """An answer with these fields is used again."""
    answer = says(*lines, **{k: more.pop(k) for k in ("status", "date", "framing", "body") if k in more})
    status = 200 if answer.status == 200 else answer.status
    case(id, ref, rule, fetch(answer), hit(status=status, age=age), **more)


def stale(id: str, ref: str, rule: str, *lines: str, **more: Any) -> None:  # noqa: A002
    """An answer with these fields is not used again unasked; it may be kept and checked."""
    answer = says(*lines, **{k: more.pop(k) for k in ("status", "date", "framing", "body") if k in more})
    case(id, ref, rule, fetch(answer), fetch(NEXT), **more)


def unstored(id: str, ref: str, rule: str, *lines: str, request: Sequence[str] = (), **more: Any) -> None:  # noqa: A002
    """An answer with these fields and an ETag is not kept: the next request does not ask about it."""
    answer = says(*lines, 'ETag: "kept"', **{k: more.pop(k) for k in ("status", "date", "framing") if k in more})
    case(id, ref, rule, fetch(answer, *request), fetch(NEXT, asked=("!If-None-Match",)), **more)


@dataclass(frozen=True)
class Proof:
    """What a test function of its own shows."""

    id: str
    ref: str
    rule: str
    theme: str


PROOFS: Final[list[Proof]] = []


def proves(theme: str, ref: str, rule: str) -> Callable[[T], T]:
    """Enters a test into the table."""

    def enter(test: T) -> T:
        PROOFS.append(Proof(f"{test.__module__.rpartition('.')[2]}::{test.__name__}", ref, rule, theme))
        return test

    return enter
