"""How a command ends: the exit codes that scripts may count on, and the failure that carries one."""

from __future__ import annotations

OK = 0
ERROR = 1
"""Something went wrong while it ran."""
USAGE = 2
"""The command line or the configuration is not valid."""
UNREACHABLE = 3
"""No balancer answers."""
REFUSED = 4
"""A balancer answers and says no: the key, or a condition that does not hold."""
TIMED_OUT = 5
"""What was waited for did not come in time."""
INTERRUPTED = 130
"""By Ctrl-C, as shells have it: 128 and the signal's number."""


class Failure(Exception):
    """Ends a command with an exit code. Its text goes to stderr: what happened and what to do about it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
