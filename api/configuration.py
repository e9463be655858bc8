"""/api/config: what is in force, and how to change the whole of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from pydantic import JsonValue, TypeAdapter

from api.guard import LIMIT
from api.operation import Call, Operation
from api.overview import CheckAnswer, ConfigAnswer, ConfigChange, ConfigWarning, ReloadAnswer
from api.requests import PoolQuery
from api.services import Services
from api.translation import as_problems
from balancer import changes
from config.diff import Change, diff
from config.document import document
from config.problems import ConfigError, Problem

YAML = ("application/yaml", "application/x-yaml", "text/yaml")
"""RFC 9512, and what was said before it."""
_DOCUMENT = TypeAdapter(dict[str, JsonValue])


class Configuration:
    """The file is the operator's: it is read here, never written."""

    def __init__(self, services: Services) -> None:
        self._control = services.control

    def operations(self) -> tuple[Operation, ...]:
        unkept = {507: "The change could not be kept on disk, and so was not made."}
        return (
            Operation("GET", "/api/config", "viewer", self.show_config, {200: "The configuration."}),
            Operation("POST", "/api/config/reload", "operator", self.reload_config, {200: "It is in force."}),
            Operation(
                "POST",
                "/api/config/check",
                "admin",
                self.check_config,
                {200: "What was found; `valid` says whether a reload would take it."},
                body_types=YAML,
                limit=LIMIT,
                harmless=True,
            ),
            Operation(
                "DELETE",
                "/api/config/overlay",
                "admin",
                self.clear_overlay,
                {200: "The file holds again."},
                {404: "No such pool.", **unkept},
            ),
        )

    async def show_config(self, call: Call) -> ConfigAnswer:
        """The configuration in force, and what of it the API has changed."""
        control = self._control
        loaded = control.loaded
        return ConfigAnswer(
            generation=control.snapshot.generation,
            file=str(loaded.file) if loaded.file is not None else None,
            config=_DOCUMENT.validate_python(document(control.snapshot.config)),
            overlay=_changes(control.overlay_changes()),
            restart_required=list(control.restart_required),
            warnings=_warnings(loaded.warnings),
        )

    async def reload_config(self, call: Call) -> ReloadAnswer:
        """Read the file anew and make it so, closing no connection of an unchanged route.

        With anything wrong in it, everything stays as it is. What the API has changed stays over the file.
        """
        with as_problems():
            reloaded = await self._control.reload()
        return ReloadAnswer(
            generation=reloaded.generation,
            changes=_changes(reloaded.changes),
            restart_required=list(reloaded.restart_required),
            warnings=_warnings(reloaded.warnings),
        )

    async def check_config(self, call: Call, body: bytes) -> CheckAnswer:
        """Say what a reload would say if the body were the file; change nothing.

        What `${...}` holds is not looked at: a warning names each value that was not judged for this reason, and
        `changed` leaves it out. `balancer check` judges the whole, on the machine itself.
        """
        try:
            loaded = await self._control.check(body)
        except ConfigError as error:
            return CheckAnswer(valid=False, problems=_warnings(error.problems), warnings=[], changed=[])
        # Paths only: what is in force came from files and variables that the caller is not meant to read.
        found = await asyncio.to_thread(diff, self._control.loaded.config, loaded.config, loaded.unjudged)
        changed = [change.path for change in found]
        return CheckAnswer(valid=True, problems=[], warnings=_warnings(loaded.warnings), changed=changed)

    async def clear_overlay(self, call: Call, query: PoolQuery) -> ConfigAnswer:
        """Take back what the API has changed, in one pool or everywhere."""
        with as_problems():
            await self._control.change(changes.clear(query.pool))
        return await self.show_config(call)


def _changes(found: Iterable[Change]) -> list[ConfigChange]:
    return [
        ConfigChange(path=change.path, before=change.before, after=change.after, stale=change.stale) for change in found
    ]


def _warnings(found: Iterable[Problem]) -> list[ConfigWarning]:
    return [
        ConfigWarning(
            path=problem.path,
            message=problem.message,
            line=problem.line or None,
            column=problem.column or None,
        )
        for problem in found
    ]
