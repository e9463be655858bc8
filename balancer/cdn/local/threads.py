"""Threads of the local CDN's own: a slow disk must not hold up the resolving of names, which has the loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")
MOST: Final = 8


class Threads:
    """They go with the last one who needs them: nobody has to end them, so that reading may outlive a store."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MOST, thread_name_prefix="cdn-files")

    async def run(self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
        """Do something that blocks. It is done to its end, also when nobody waits for it any more."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))

    async def make(self, work: Callable[[], Result], undo: Callable[[Result], None]) -> Result:
        """The same for something that has to be closed: `undo` is done when nobody waits for it any more."""
        making = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(lambda made: None if made.exception() is not None else undo(made.result()))
            raise

    def leave(self, work: Callable[[], None]) -> None:
        """Have something done; nobody waits for it."""
        self._pool.submit(work)
