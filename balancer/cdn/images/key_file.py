"""What URLs of pictures are signed with, where no secret is configured: a key that is made once, and kept."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger("balancer.cdn")
NAME: Final = "pictures.secret"
SIZE: Final = 32


def signing_keys(given: Sequence[str], folder: Path) -> tuple[bytes, ...]:
    """The keys of the configuration, or the one that is kept in the state's folder; made there if need be."""
    if given:
        return tuple(sha256(b"pictures" + secret.encode("utf-8", "surrogateescape")).digest() for secret in given)
    path = folder / NAME
    key = secrets.token_bytes(SIZE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            kept = path.read_bytes()
            if len(kept) == SIZE:
                return (kept,)
        except FileNotFoundError:
            pass
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
    except OSError as error:
        log.warning(
            "URLs of pictures will not be good after a restart",
            file=str(path),
            reason=error.strerror or str(error),
            advice="write cdn.images.secrets, or let the balancer write its state",
        )
    return (key,)
