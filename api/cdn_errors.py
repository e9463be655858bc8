"""What goes wrong with the CDN, as problem details."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Final

from api.body import Stream
from api.problems import Fault, Problem
from balancer.cdn.errors import (
    AuthError,
    CdnError,
    ConfigError,
    Conflict,
    Full,
    ImageRejected,
    Invalid,
    NotFound,
    QuotaExhausted,
    RateLimited,
    SourceBlocked,
    SourceUnreachable,
    TooLarge,
    Unsupported,
)
from balancer.cdn.purging.patterns import BadOrder

CDN: Final = {
    409: "There is no CDN, or it can not be used as it is configured.",
    501: "The provider has nothing of the kind.",
    502: "The provider can not be reached, does not take our credential, or answers as it should not.",
    503: "The provider wants fewer calls, or a budget is spent; see Retry-After.",
}
"""What any operation that asks the provider may answer."""
_STATUS: Final[tuple[tuple[type[CdnError], int], ...]] = (
    (ConfigError, 409),
    (Conflict, 409),
    (TooLarge, 413),
    (SourceBlocked, 400),
    (ImageRejected, 422),
    (Invalid, 422),
    (NotFound, 404),
    (Unsupported, 501),
    (AuthError, 502),
    (Full, 507),
    (QuotaExhausted, 503),
    (RateLimited, 503),
    (CdnError, 502),
)
"""The first that fits: who is at fault."""


@contextmanager
def cdn_problems(stream: Stream | None = None, root: str = "") -> Iterator[None]:
    """Around what is asked of the CDN. Why a body ended counts before what a provider makes of that.

    `root` is what the body as a whole stands for in an order.
    """
    try:
        yield
    except CdnError as error:
        if stream is not None and stream.failure is not None:
            raise stream.failure from None
        raise as_problem(error, root) from None
    except Exception:  # whatever else it is goes on as it came
        if stream is not None and stream.failure is not None:
            raise stream.failure from None
        raise


def as_problem(error: CdnError, root: str = "") -> Problem:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if status == 507 and error.retry_after_s is not None:
        status = 503  # a queue that is full, and not a disk
    headers = {"Retry-After": str(max(1, ceil(error.retry_after_s)))} if error.retry_after_s is not None else {}
    faults = (
        [Fault(pointer=fault.pointer.removeprefix(root), message=fault.reason) for fault in error.faults]
        if isinstance(error, BadOrder)
        else []
    )
    detail = error.summary if isinstance(error, BadOrder) else str(error)
    if isinstance(error, SourceBlocked | SourceUnreachable) and error.reason:
        detail = f"{detail.rstrip('.')}: {error.reason}"  # whoever may ask here may know
    return Problem(status, detail, faults, headers, code=error.code)
