"""Whether a call that failed is made once more, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Final

from balancer.cdn.errors import AuthError, CdnError, RateLimited
from balancer.cdn.purging.sending import Sending

SHORTEST: Final = 0.5
LONGEST: Final = 30.0
"""Seconds between two attempts, where the provider does not say."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a desk works, from the configuration."""

    attempts: int = 5
    give_up: float = 600.0
    coalesce: float = 0.25
    settle: float = 0.0


def failed(sending: Sending, error: CdnError, now: float) -> Sending:
    """As it is after that attempt. To be told to wait is none: there, only the time counts."""
    is_refused = isinstance(error, RateLimited)
    return replace(
        sending,
        attempts=sending.attempts + (not is_refused),
        refused=sending.refused + is_refused,
        tried=sending.tried or now,
    )


def again(sending: Sending, error: CdnError, now: float, pace: Pace, rng: Random) -> Sending | str:
    """The next attempt of one that has `failed`, or why there is none. `now` is wall-clock time."""
    delay = error.retry_after_s
    is_repeated = error.retryable
    if isinstance(error, AuthError) and delay is not None and sending.authorised:
        # A provider is known to refuse good credentials now and then.
        sending = replace(sending, authorised=False)
        is_repeated = True
    if not is_repeated or sending.attempts >= pace.attempts:
        return str(error)
    if delay is None:
        tries = min(sending.attempts + sending.refused, 10)
        delay = rng.uniform(SHORTEST, min(LONGEST, SHORTEST * 2**tries))
    if now + delay - (sending.tried or now) > pace.give_up:
        return late(str(error), pace)
    return replace(sending, next_try=now + delay)


def late(reason: str, pace: Pace) -> str:
    return f"{reason}; given up after {pace.give_up:g} s"
