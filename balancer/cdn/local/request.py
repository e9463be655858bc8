"""What may be asked to be stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from balancer.cdn.errors import Invalid
from balancer.cdn.types import KINDS, UploadRequest

MOST_TAGS: Final = 64
LONGEST_TAG: Final = 200
LONGEST_TAGS: Final = 2000
"""Characters of all tags together, so that they fit beside the file."""
OWN_TAGS: Final = ("file:", "source:")
"""What tags begin with by which a file goes, and the pictures made of it: nobody else's may join them."""
LONGEST_NAME: Final = 1000
_TAG: Final = re.compile(r"[!-+\--~]+")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


def checked(request: UploadRequest) -> None:
    """Invalid: it can not be stored, whatever its bytes are."""
    if request.kind not in KINDS:
        raise Invalid(f"expected one of {', '.join(KINDS)} as the kind, not {request.kind!r}")
    if not request.name or len(request.name) > LONGEST_NAME:
        raise Invalid(f"expected a name of 1 to {LONGEST_NAME} characters, not {len(request.name)}")
    check_tags(request.tags)
    if request.sha256_hex is not None and not _SHA256.fullmatch(request.sha256_hex):
        raise Invalid(f"expected a SHA-256 of 64 hex digits, not {request.sha256_hex[:80]!r}")


def check_tags(tags: Sequence[str]) -> None:
    """Invalid: a file can not have them."""
    for tag in tags:
        if len(tag) > LONGEST_TAG or not _TAG.fullmatch(tag):
            raise Invalid(
                f"expected tags of at most {LONGEST_TAG} visible ASCII characters without a comma, not {tag[:60]!r}"
            )
        if tag.startswith(OWN_TAGS):
            raise Invalid(f"expected tags that do not begin with {' or '.join(OWN_TAGS)}, as those of the CDN do")
    if len(tags) > MOST_TAGS or sum(len(tag) + 1 for tag in tags) > LONGEST_TAGS:
        raise Invalid(f"expected at most {MOST_TAGS} tags of {LONGEST_TAGS} characters together")


def as_announced(request: UploadRequest, size: int, sha256_hex: str) -> None:
    """Invalid: something else has come."""
    if request.size_bytes is not None and request.size_bytes != size:
        raise Invalid(f"expected {request.size_bytes} bytes, as announced, and {size} came")
    if request.sha256_hex is not None and request.sha256_hex.lower() != sha256_hex:
        raise Invalid(f"expected content with the SHA-256 {request.sha256_hex.lower()}, and it has {sha256_hex}")
