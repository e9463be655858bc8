"""What the CDN hands over about itself: what was asked of its provider, what waits, what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

STATES: Final = ("submitted", "completed", "partial", "failed")
"""In which purges end."""
UPLOADS: Final = ("created", "there", "failed")
PICTURES: Final = ("made", "kept", "joined")


@dataclass(frozen=True, slots=True)
class PicturesReport:
    """Pictures in other sizes, made by the balancer."""

    results: Mapping[str, int] = field(default_factory=dict)
    """made; kept: it had been made before; joined: another one waited for it already."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """By reason: an error's code without its cdn_."""
    seconds: float = 0.0
    """Spent in workers."""
    inside: int = 0
    """Being made, or waiting for a worker."""
    died: int = 0
    """Workers that ended in the middle of a picture."""
    variants: int = 0
    """On disk."""


@dataclass(frozen=True, slots=True)
class CdnReport:
    """The CDN of the configuration in force. Counts are of its provider; some begin anew with another configuration."""

    provider: str
    up: bool | None = None
    """As its last check found it; None: there was none yet."""
    reason: str | None = None
    """Why it is not up."""
    calls: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Of the provider, by operation and result: ok, or an error's code without its cdn_."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Of these calls, by operation."""
    uploads: Mapping[str, int] = field(default_factory=dict)
    """created; there: the same content was there already; failed."""
    upload_bytes: int = 0
    """Of files that were taken."""
    files: int | None = None
    """None: the provider does not tell."""
    file_bytes: int | None = None
    room: int | None = None
    """Bytes that may still be uploaded; None: nobody tells."""
    purges: Mapping[str, int] = field(default_factory=dict)
    """By the state that they ended in."""
    tickets: int = 0
    """Purges that are not done."""
    purge_calls: int = 0
    """Calls to be made for them, or looked after."""
    purge_retries: int = 0
    breaker: str | None = None
    """closed, open, half_open; None: there is no provider to be left alone."""
    breaker_opened: int = 0
    pictures: PicturesReport | None = None
    """None: none are made here."""
