"""The configuration as it is told: worked out in a thread, and once for each that there is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from pydantic import JsonValue, TypeAdapter

from api.config_models import ConfigChange, Source
from balancer.control import Control
from config import overlay as overlays
from config.diff import Change
from config.document import document
from config.load import Loaded
from config.overlay import Overlay
from config.schema import Config

_DOCUMENT = TypeAdapter(dict[str, JsonValue])


class _Of(NamedTuple):
    """What it is worked out of: none of it is ever edited."""

    config: Config
    file: Loaded
    base: Loaded
    overlay: Overlay


class Told(NamedTuple):
    config: dict[str, JsonValue]
    overlay: list[ConfigChange]


class ShownConfig:
    """Keeps the last one of each source. It takes a large configuration a quarter of a second, and many may ask."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._known: dict[Source, tuple[_Of, Told]] = {}
        self._turn = asyncio.Lock()

    async def told(self, source: Source) -> Told:
        """That of the moment of the call."""
        control = self._control
        config = control.snapshot.config if source == "running" else control.loaded.config
        of = _Of(config, control.loaded, control.base, control.overlay)
        async with self._turn:
            known = self._known.get(source)
            if known is None or any(one is not other for one, other in zip(known[0], of, strict=True)):
                known = (of, await asyncio.to_thread(_tell, of))
                self._known[source] = known
        return known[1]


def changes_of(found: Iterable[Change]) -> list[ConfigChange]:
    return [
        ConfigChange(path=change.path, before=change.before, after=change.after, stale=change.stale) for change in found
    ]


def _tell(of: _Of) -> Told:
    changes = overlays.describe(of.file.config, of.overlay, of.base.config)
    return Told(_DOCUMENT.validate_python(document(of.config)), changes_of(changes))
