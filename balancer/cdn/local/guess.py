"""What is said of a file that came into the folder by itself: copied there, or from a disk that keeps no attributes."""

from __future__ import annotations

from balancer.cdn.local import kinds, names
from balancer.cdn.local.facts import Facts
from balancer.cdn.types import IMMUTABLE, REVALIDATED


def guess(path: str, head: bytes, sha256_hex: str) -> Facts:
    """`head` is its first kinds.HEAD bytes, `sha256_hex` may be empty: not known."""
    name = names.name_of(path)
    verdict = kinds.judge("other", names.split(name)[1], head)
    cache_control = IMMUTABLE if names.is_by_content(path) else REVALIDATED
    return Facts(verdict.content_type, sha256_hex, cache_control, name)
