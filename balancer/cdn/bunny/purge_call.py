"""The call of one batch of a purge."""

from __future__ import annotations

from balancer.cdn.bunny.purging import EVERYTHING, EXACT, PREFIX, TAG
from balancer.cdn.errors import Invalid
from balancer.cdn.http import Call
from balancer.cdn.types import PurgeBatch


def purge_call(batch: PurgeBatch, pull_zone_id: int | None) -> Call:
    """What is asked for a batch. Invalid: it needs a pull zone, and there is none."""
    (item,) = batch.items
    if batch.kind in (EXACT, PREFIX):
        params = {"url": item, "async": "false"}
        if batch.kind == EXACT and item.endswith("/"):
            params["exactPath"] = "true"  # otherwise all that is below it would go
        return Call("purge", "POST", "/purge", params=params, of_purge=True)
    if pull_zone_id is None:
        raise Invalid("tags, and everything, are purged of a pull zone: cdn.bunny.pull_zone_id is missing")
    path = f"/pullzone/{pull_zone_id}/purgeCache"
    if batch.kind == EVERYTHING:
        return Call("purge_zone", "POST", path, json={}, of_purge=True)
    if batch.kind != TAG or not item.strip("*~"):
        # The same call without a tag purges the whole zone.
        raise Invalid(f"expected a purge by URL, tag or of everything, not {batch.kind!r} of {item!r}")
    return Call("purge_tag", "POST", path, json={"CacheTag": item}, of_purge=True)
