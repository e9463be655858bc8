"""What a guard can say of a request, beside letting it pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from balancer.http1 import canned


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer in place of the route's."""

    status: int
    reason: str
    """A sentence for whoever asked; nothing in it comes from the request."""
    why: str
    """A word for logs and metrics, such as rate-limit."""
    extra: bytes = b""
    """Complete field lines."""
    body: bytes | None = None
    """What is answered as it is; None: `reason`, in the form that the client would rather have."""
    content_type: bytes = canned.TEXT
    result: str = ""
    """A word more for the log, of a way of `auth`: as its metric has it."""


Answered = Callable[[Refusal | Exception | None], None]
"""An exception: a guard has raised while it looked for the answer."""


class Question(Protocol):
    """Something that has to be waited for before it is known whether a request may pass."""

    def ask(self, answered: Answered) -> None:
        """Begin. `answered` is called once, on the loop, perhaps before this returns: None lets the request go on.

        It has to come within a time of the question's own: nobody else looks at the clock.
        """

    def forget(self) -> None:
        """The client has gone: `answered` is not to be called any more."""


Verdict = Refusal | Question | None
