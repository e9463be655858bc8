"""The local provider as it is configured."""

from __future__ import annotations

from pathlib import Path

from balancer.cdn.local.counts import Counts
from balancer.cdn.local.provider import LocalProvider
from balancer.cdn.local.room import Limits
from balancer.cdn.local.store import Store
from config.cdn import Cdn


def make_local(settings: Cdn) -> LocalProvider:
    """Not yet started."""
    local = settings.local
    limits = Limits(settings.max_upload, local.quota, local.keep_free)
    return LocalProvider(Store(Path(local.directory), limits), Counts(), settings.url + local.path)
