"""The local CDN's files as what pictures are made of."""

from __future__ import annotations

from balancer.cdn.errors import Unavailable
from balancer.cdn.images.pictures import Original
from balancer.cdn.local.store import Store
from balancer.cdn.types import REVALIDATED


class LocalOriginals:
    """Asks the store for each picture: a file may be overwritten at any time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def original(self, path: str) -> Original | None:
        """None: there is no such file. Unavailable: it cannot be read."""
        try:
            opened = await self._store.open(path)
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror or error}", retry_after_s=1.0) from None
        if opened is None:
            return None
        opened.close()
        facts = opened.facts or await self._store.known(opened)
        place = self._store.folder.files / path
        if facts is None:  # copied there by hand: told apart by when, as nobody has read all of it
            return Original(place, f"{opened.size}-{opened.modified_ns}", opened.size, REVALIDATED)
        return Original(place, facts.sha256_hex, opened.size, facts.cache_control, facts.tags)
