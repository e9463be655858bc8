"""Lua that runs inside Redis."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1

from balancer.redis_connection import Part
from balancer.redis_gateway import Gateway, Unavailable


class Script:
    """A script that is named by its hash, and sent whole where it is not known yet.

    SCRIPT LOAD is not used: proxies before Redis refuse it.
    """

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, gateway: Gateway, keys: Sequence[Part], *arguments: Part) -> object:
        """What it returns; raises `Unavailable`. Its keys have to be of one slot."""
        try:
            return await gateway.run("EVALSHA", self.digest, len(keys), *keys, *arguments)
        except Unavailable as error:
            if error.why != "NOSCRIPT":
                raise
        return await gateway.run("EVAL", self.text, len(keys), *keys, *arguments)
