"""What URLs of pictures are signed with."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import Final

import structlog

from balancer.secret import SIZE, derived, kept_secret

log = structlog.get_logger("balancer.cdn")
NAME: Final = "pictures.secret"
USE: Final = "URLs of pictures"


def signing_keys(given: Sequence[str], folder: Path, common: bytes = b"") -> tuple[bytes, ...]:
    """The keys of the configuration; without one, that of what several machines all know; without that, the one that is
    kept in the state's folder, and made there if need be."""
    if given:
        return tuple(sha256(b"pictures" + secret.encode("utf-8", "surrogateescape")).digest() for secret in given)
    if common:
        return (derived(common, USE),)
    path = folder / NAME
    try:
        return (kept_secret(path),)
    except OSError as error:
        log.warning(
            "URLs of pictures will not be good after a restart",
            file=str(path),
            reason=error.strerror or str(error),
            advice="write cdn.images.secrets, or let the balancer write its state",
        )
    return (token_bytes(SIZE),)
