"""The whole desired state of the proxy at one moment, as control hands it to planes."""

from __future__ import annotations

from dataclasses import dataclass

from balancer.server import ServerKey
from config.schema import Config


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What planes are to make so: never edited, only replaced by one of a higher generation.

    It is the whole desired state and no change to it, so that applying one twice or missing one does no harm.
    """

    generation: int
    config: Config
    """The file with the overlay of the admin API already merged in."""
    checking: frozenset[ServerKey] = frozenset()
    """Neither passed nor failed a check yet."""
    down: frozenset[ServerKey] = frozenset()
    """The prober's verdict."""
    drained: frozenset[ServerKey] = frozenset()
    """The operator's: finish what is under way, take nothing new."""
    maintenance: frozenset[ServerKey] = frozenset()
    """The operator's: as drained, and not probed either."""
    reads: int = 0
    """Has risen when the files that the configuration names have to be read anew."""
