"""What a provider cannot do as it is configured, and which settings that takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from balancer.cdn.types import Capability
from config.cdn import Cdn
from config.problems import Path, listed, path_text

_FILES: Final = Capability.UPLOAD | Capability.DELETE | Capability.LIST
_PURGES: Final = Capability.PURGE_URL | Capability.PURGE_PREFIX | Capability.PURGE_TAG | Capability.PURGE_ALL
_NEEDS: Final[Mapping[str, tuple[tuple[Capability, tuple[Path, ...]], ...]]] = {
    "cloudflare": (
        (
            _FILES,
            (
                ("cloudflare", "account_id"),
                ("cloudflare", "bucket"),
                ("cloudflare", "access_key_id"),
                ("cloudflare", "secret_access_key"),
            ),
        ),
        (_PURGES | Capability.STATS, (("api_key",), ("cloudflare", "zone_id"))),
    ),
    "aws": (
        (_FILES, (("aws", "bucket"),)),
        (_PURGES | Capability.STATS, (("aws", "distribution_id"),)),
    ),
    "bunny": (
        (_FILES, (("bunny", "storage_zone"), ("bunny", "storage_password"))),
        (Capability.PURGE_TAG | Capability.PURGE_ALL | Capability.STATS, (("bunny", "pull_zone_id"),)),
    ),
}


def lacking(settings: Cdn, capability: Capability) -> str | None:
    """The settings that are empty and that `capability` takes; None: it is not for want of settings."""
    for group, paths in _NEEDS.get(settings.provider, ()):
        empty = [path_text(("cdn", *path)) for path in paths if capability & group and _value(settings, path) is None]
        if empty:
            return listed(empty, "and")
    return None


def _value(settings: Cdn, path: Path) -> object:
    value: object = settings
    for piece in path:
        value = getattr(value, str(piece))
    return value or None
