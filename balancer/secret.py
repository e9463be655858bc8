"""What cookies and URLs are signed with: what several machines all know, or what one machine has made and keeps."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import Final

NAME: Final = "BALANCER_SECRET"
SIZE: Final = 32
SHORTEST: Final = 16
"""Bytes: with fewer, who has something that was signed may find its key by trying."""


def given_secret(environ: Mapping[str, str]) -> bytes:
    """As it is in the environment; empty where it is not."""
    return environ.get(NAME, "").encode("utf-8", "surrogateescape")


def common_secret(environ: Mapping[str, str]) -> bytes:
    """What several machines that share clients all know; empty where it is not set, or too short."""
    given = given_secret(environ)
    return sha256(given).digest() if len(given) >= SHORTEST else b""


def derived(secret: bytes, use: str) -> bytes:
    """A key for one use alone: who learns it knows neither the secret nor the key of another use."""
    return digest(secret, use.encode(), "sha256")


def kept_secret(path: Path) -> bytes:
    """What is kept in a file, which is made with something new if need be. OSError: it can neither be read nor made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        kept = path.read_bytes()
        if len(kept) == SIZE:
            return kept
    except FileNotFoundError:
        pass
    secret = secrets.token_bytes(SIZE)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    return secret
