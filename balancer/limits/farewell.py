"""How tunnels are closed when their time is over: one after the other, so that not all clients come back at once."""

from __future__ import annotations

from math import ceil


def due(count: int, left: float, grace: float) -> int:
    """How many of `count` tunnels to close now, of a farewell asked about once a second.

    For the first half of `grace` seconds none: most leave by themselves. Over the second half the rest close evenly,
    and none is `left` when the time is over. WebSocket clients connect again at once when they are cut off; a thousand
    in one moment are a load that no server of a small team is sized for.
    """
    if left <= 1.0:
        return count
    return 0 if left > grace / 2 else ceil(count / left)
