"""What users and visitors are hashed with: a secret that stays, and one for each day that is thrown away.

Without the secret nobody can tell whether a hash is of somebody they know; once the day's is gone, not even who has the
secret can find out who a visitor was.
"""

from __future__ import annotations

import json
import os
import secrets
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import Final

from balancer.secret import derived, kept_secret

KEPT: Final = "analytics.secret"
DAILY: Final = "analytics-days.json"
SIZE: Final = 32
DAY: Final = 86_400


class Salts:
    """The secret and the salts of days, which are UTC's. Files are read and written only by `prepare`."""

    def __init__(self, folder: Path, salt: str) -> None:
        """`salt` is what the configuration says; empty: what is kept in the folder."""
        self._folder = folder
        self._salt = salt
        self._days: dict[int, bytes] = {}
        self.users = b""
        """The key of users' hashes; empty before `prepare`."""
        self.problem: str | None = None
        """Why hashes will be others after a restart."""

    def prepare(self, now: float) -> None:
        """Read or make what is needed now and until tomorrow, and throw away what is older than yesterday. Disk."""
        self.problem = None
        if not self.users:
            self.users = derived(self._secret(), "users of analytics")
        today = int(now // DAY)
        days = dict(self._days)
        path = self._folder / DAILY
        if not days:
            try:
                days = {int(day): bytes.fromhex(salt) for day, salt in json.loads(path.read_text()).items()}
            except FileNotFoundError:
                pass
            except (OSError, ValueError, AttributeError) as error:
                self.problem = f"{DAILY} can not be read: {error}"
        wanted = {day: days.get(day) or secrets.token_bytes(SIZE) for day in range(today - 1, today + 2)}
        if wanted != self._days:
            try:
                _write(path, json.dumps({str(day): salt.hex() for day, salt in wanted.items()}).encode())
            except OSError as error:
                self.problem = f"{DAILY} can not be written: {error.strerror or error}"
        self._days = wanted

    def of_day(self, now: float) -> bytes:
        """The salt of the day of a moment; one that nobody knows where none was prepared."""
        day = int(now // DAY)
        salt = self._days.get(day)
        if salt is None:
            salt = self._days[day] = secrets.token_bytes(SIZE)
        return salt

    def _secret(self) -> bytes:
        if self._salt:
            return sha256(self._salt.encode()).digest()
        try:
            return kept_secret(self._folder / KEPT)
        except OSError as error:
            self.problem = f"{KEPT} can neither be read nor made: {error.strerror or error}"
            return secrets.token_bytes(SIZE)


def key_of(key: bytes, text: bytes) -> int:
    """A keyed hash as a signed number of 64 bits; 0 is nobody's."""
    return int.from_bytes(digest(key, text, "sha256")[:8], "big", signed=True) or 1


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(path)
