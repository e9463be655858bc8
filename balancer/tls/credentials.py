"""What a listener speaks TLS with, kept up with the files it comes from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from balancer.tls.certificates import Certificate, Unusable, read
from balancer.tls.contexts import Contexts, server_contexts
from config.schema import ListenerTls

Stamp = tuple[int, int, int, int] | None
LOADED: Final = "certificates_loaded"
KEPT: Final = "certificates_kept"
EXPIRED: Final = "certificates_expired"


@dataclass(frozen=True, slots=True)
class Credentials:
    """One state of a listener's files, made into contexts. Connections keep the one they began with."""

    contexts: Contexts
    certificates: tuple[Certificate, ...]
    loaded: datetime
    stamps: tuple[Stamp, ...]


def load(settings: ListenerTls) -> Credentials:
    """Read the files; Unusable tells what is wrong with the first that is."""
    seen = stamps(settings)  # before reading: what changes meanwhile is read once more
    certificates = tuple(read(files, "certificates", at) for at, files in enumerate(settings.certificates))
    contexts = server_contexts(settings, certificates)
    return Credentials(contexts, certificates, datetime.now(UTC), seen)


def stamps(settings: ListenerTls) -> tuple[Stamp, ...]:
    """What tells whether files have changed: replaced ones have another inode, rewritten ones another time."""
    return tuple(map(_stamp, _paths(settings)))


def _paths(settings: ListenerTls) -> Iterator[str]:
    for files in settings.certificates:
        yield files.cert
        yield files.key
    if settings.client_ca is not None:
        yield settings.client_ca


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)


class Watched:
    """The credentials of one listener: looked after in a thread, swapped on the loop.

    What cannot be used changes nothing, is told once, and is tried again at every look.
    """

    __slots__ = ("_complaint", "_name", "_tell", "current", "settings")

    def __init__(
        self, name: str, settings: ListenerTls, first: Credentials, tell: Callable[[str, str, str], None]
    ) -> None:
        """`tell` gets an event, the listener's name and a detail."""
        self.settings = settings
        self.current = first
        self._name = name
        self._tell = tell
        self._complaint = ""

    def look(self) -> Credentials | Unusable | None:
        """What has become of the files, None when they are as they were; for a thread, as it reads them."""
        if stamps(self.settings) == self.current.stamps:
            return None
        try:
            return load(self.settings)
        except Unusable as error:
            return error

    def take(self, found: Credentials | Unusable | None) -> None:
        """Make what `look` has found that of the connections to come; for the loop."""
        if isinstance(found, Credentials):
            self.current = found
            self._complaint = ""
            names = ", ".join(certificate.name for certificate in found.certificates)
            until = min(certificate.not_after for certificate in found.certificates)
            event = LOADED if until > found.loaded else EXPIRED
            self._tell(event, self._name, f"{names}, valid until {until:%Y-%m-%d %H:%M} UTC")
        elif found is None:
            self._complaint = ""
        elif self._complaint != str(found):
            self._complaint = str(found)
            self._tell(KEPT, self._name, f"the files have changed and cannot be used, the old ones stay: {found}")
