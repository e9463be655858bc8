"""/api/config: what is in force, and how to change the whole of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Protocol

from api.config_models import (
    ChangeQuery,
    CheckAnswer,
    ConfigAnswer,
    ConfigChange,
    ConfigWarning,
    ConfirmRequest,
    DiffAnswer,
    HistoryAnswer,
    PathQuery,
    ReloadAnswer,
    RevisedAnswer,
    RevisionAnswer,
    RollbackRequest,
    SavedAnswer,
    SaveQuery,
    Source,
    SourceQuery,
    WhyAnswer,
    WhyItem,
    WrittenAnswer,
)
from api.operation import Call, Operation, Reply, if_match, matches
from api.problems import Fault, Problem
from api.request_checks import LIMIT
from api.requests import PoolQuery
from api.services import Services
from api.shown_config import ShownConfig, changes_of
from api.status import provisional
from api.translation import as_problems, fault_of
from balancer import changes
from balancer.revisions import Revised, Terms
from config.amend import Amended, Basis, amended, read_body, replaced
from config.diff import diff
from config.nodes import Table
from config.problems import ConfigError
from config.problems import Problem as Found

MOST_WHY = 500
"""Settings of one answer."""
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
"""RFC 9512, and what was said before it."""
PATCH = ("application/merge-patch+json", "application/json", *YAML)
WHOLE = ("application/json", *YAML)
TOLD = 1000
"""Warnings and problems of one answer: it must not be many times as large as what it is about."""


class Making(Protocol):
    """What makes a change of a body: `amended` or `replaced`."""

    def __call__(self, basis: Basis, body: Table, *, json: bool) -> Amended: ...


class Configuration:
    """The file is the operator's: what the API changes is kept beside it."""

    def __init__(self, services: Services) -> None:
        self._control = services.control
        self._shown = ShownConfig(services.control)

    def operations(self) -> tuple[Operation, ...]:
        unkept = {507: "The change could not be kept on disk, and so was not made."}
        waiting = {409: "A change is on trial: confirm it or roll it back first."}
        return (
            Operation("GET", "/api/config", "viewer", self.show_config, {200: "The configuration."}),
            Operation(
                "PATCH",
                "/api/config",
                "admin",
                self.patch_config,
                {200: "It is in force, or with `dry_run` this is what would be."},
                {**unkept, **waiting},
                body_types=PATCH,
                limit=LIMIT,
                precondition=if_match,
            ),
            Operation(
                "PUT",
                "/api/config",
                "admin",
                self.replace_config,
                {200: "It is in force, or with `dry_run` this is what would be."},
                {**unkept, **waiting},
                body_types=WHOLE,
                limit=LIMIT,
                precondition=if_match,
            ),
            Operation("POST", "/api/config/reload", "operator", self.reload_config, {200: "It is in force."}),
            Operation(
                "POST",
                "/api/config/check",
                "admin",
                self.check_config,
                {200: "What was found; `valid` says whether a reload would take it."},
                body_types=YAML,
                limit=LIMIT,
                trail="none",
            ),
            Operation("GET", "/api/config/diff", "viewer", self.diff_config, {200: "What differs."}),
            Operation("GET", "/api/config/history", "viewer", self.config_history, {200: "The last revisions."}),
            Operation(
                "POST",
                "/api/config/rollback",
                "admin",
                self.rollback_config,
                {200: "It is in force, or with `dry_run` this is what would be."},
                {404: "No such revision.", **unkept, **waiting},
                precondition=if_match,
            ),
            Operation(
                "POST",
                "/api/config/confirm",
                "admin",
                self.confirm_config,
                {200: "It stays."},
                {409: "Nothing is on trial, or another revision.", **unkept},
            ),
            Operation(
                "GET",
                "/api/config/why",
                "viewer",
                self.why_config,
                {200: "Where it comes from."},
                {404: "Nothing is at this path."},
            ),
            Operation(
                "POST",
                "/api/config/save",
                "admin",
                self.save_config,
                {200: "The file says it now, or with `dry_run` could."},
                {
                    409: "The file can not be made to say it, or is another one by now.",
                    507: "The file could not be written; or it was, and what it says now is still kept beside it, too.",
                },
                precondition=if_match,
            ),
            Operation(
                "DELETE",
                "/api/config/overlay",
                "admin",
                self.clear_overlay,
                {200: "The file holds again."},
                {404: "No such pool.", **unkept},
                precondition=if_match,
            ),
        )

    async def show_config(self, call: Call, query: SourceQuery) -> Reply[ConfigAnswer]:
        """The configuration in force, and what of it the API has changed; or what the file alone says.

        The ETag stays the same until something changes that is not the state of a server. `***` stands for a secret.
        """
        return await self._show(query.source)

    async def _show(self, source: Source = "running") -> Reply[ConfigAnswer]:
        control = self._control
        loaded = control.loaded
        running = source == "running"
        latest = control.revisions.history.latest
        tag = control.revisions.etag if running else control.revisions.file_etag
        answer = ConfigAnswer(
            generation=control.snapshot.generation,
            revision=latest.number if latest is not None else None,
            source=source,
            file=str(loaded.file) if loaded.file is not None else None,
            config={},  # these two take their time, and are of the same moment as the rest
            overlay=[],
            provisional=provisional(self._control.revisions),
            restart_required=list(control.restart_required),
            warnings=_warnings(control.base.warnings if running else loaded.warnings),
        )
        told = await self._shown.told(source)
        return Reply(answer.model_copy(update=told._asdict()), headers={"ETag": tag})

    async def patch_config(self, call: Call, query: ChangeQuery, body: bytes) -> Reply[RevisedAnswer]:
        """Change some settings, by a merge patch (RFC 7396) over the configuration in force.

        A setting that is null is taken back to its default. `***` where GET has it means "as it is".
        """
        return await self._revise(call, query, body, amended)

    async def replace_config(self, call: Call, query: ChangeQuery, body: bytes) -> Reply[RevisedAnswer]:
        """Put a whole configuration, as a file would have it, in the place of the one in force.

        The file stays as it is: what is kept are the changes that lead from it to this.
        """
        return await self._revise(call, query, body, partial(replaced, environ=self._control.environ))

    async def _revise(self, call: Call, query: ChangeQuery, body: bytes, make: Making) -> Reply[RevisedAnswer]:
        json = call.request.content_type.endswith("json")
        try:
            tree = await asyncio.to_thread(read_body, body, json=json)
        except ConfigError as error:
            raise Problem(
                400, "the body can not be read; nothing was changed", list(map(fault_of, error.problems))
            ) from None
        with as_problems():
            revised = await self._control.revisions.revise(
                lambda basis: make(basis, tree, json=json), _terms(call, query)
            )
        return self._revised(revised, query.dry_run)

    async def rollback_config(self, call: Call, query: ChangeQuery, body: RollbackRequest) -> Reply[RevisedAnswer]:
        """Make an earlier revision the configuration in force again. States of servers stay.

        Where the file has changed since, what the revision says is kept as changes over the file there is now.
        """
        with as_problems():
            revised = await self._control.revisions.rollback(body.revision, _terms(call, query))
        return self._revised(revised, query.dry_run)

    async def confirm_config(self, call: Call, body: ConfirmRequest | None) -> Reply[ConfigAnswer]:
        """Keep the change that is on trial: it stays in force, and survives a restart."""
        with as_problems():
            await self._control.revisions.confirm(body.revision if body is not None else None, call.author)
        return await self._show()

    def _revised(self, revised: Revised, dry_run: bool) -> Reply[RevisedAnswer]:
        answer = RevisedAnswer(
            dry_run=dry_run,
            revision=revised.revision,
            generation=self._control.snapshot.generation,
            changes=changes_of(revised.changes),
            effects=list(revised.effects),
            provisional=provisional(self._control.revisions),
            restart_required=list(revised.restart_required),
            warnings=_warnings(revised.warnings),
        )
        return Reply(answer, headers={"ETag": self._control.revisions.etag})

    async def diff_config(self, call: Call) -> DiffAnswer:
        """What the API says over the file, and what of the file on disk has not been taken yet."""
        control = self._control
        disk: list[ConfigChange] | None = None
        problems: list[ConfigWarning] = []
        try:
            found = await control.unread()
        except ConfigError as error:
            problems = _warnings(error.problems)
        else:
            disk = changes_of(found)
        overlay = await asyncio.to_thread(control.overlay_changes)
        return DiffAnswer(running=changes_of(overlay), file=disk, problems=problems)

    async def config_history(self, call: Call) -> HistoryAnswer:
        """The last ten configurations, the latest first: who made each, when, and what it changed."""
        revisions = self._control.revisions.history.revisions
        items = [
            RevisionAnswer(
                revision=one.number,
                at=one.at,
                author=one.author,
                cause=one.cause,
                changes=changes_of(one.changes),
                more=one.more,
                provisional=one.provisional,
                note=one.note or None,
            )
            for one in reversed(revisions)
        ]
        return HistoryAnswer(items=items, next=None)

    async def reload_config(self, call: Call) -> ReloadAnswer:
        """Read the file anew and make it so, closing no connection of an unchanged route.

        With anything wrong in it, everything stays as it is. What the API has changed stays over the file.
        """
        with as_problems():
            reloaded = await self._control.reload(call.author)
        return ReloadAnswer(
            generation=reloaded.generation,
            changes=changes_of(reloaded.changes),
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

    async def why_config(self, call: Call, query: PathQuery) -> WhyAnswer:
        """Where each setting at or below a path comes from: a default, the file, a variable, or the API."""
        try:
            with as_problems():
                found = await self._control.revisions.why(query.path)
        except ValueError as error:
            raise Problem(422, "1 field is not as expected", [Fault(pointer="?path", message=str(error))]) from None
        file = self._control.loaded.file
        items = [
            WhyItem(
                path=one.path,
                value=one.value,
                source=one.kind,
                by=said.by if said is not None else None,
                at=said.at if said is not None else None,
                written=WrittenAnswer(
                    source=one.below.kind,
                    value=one.below.value,
                    file=str(file) if one.below.line and file is not None else None,
                    line=one.below.line,
                    column=one.below.column,
                    path=one.below.under,
                    variables=list(one.below.variables),
                ),
            )
            for one, said in found[:MOST_WHY]
        ]
        return WhyAnswer(items=items, more=max(0, len(found) - MOST_WHY))

    async def save_config(self, call: Call, query: SaveQuery) -> Reply[SavedAnswer]:
        """Fold what the API has changed into the file, which keeps its comments and is kept as `.bak`, too.

        With `dry_run`, only say whether that is possible. States of servers are not of the file.
        """
        terms = Terms(call.author, matches(call), query.dry_run)
        with as_problems():
            changes_ = await self._control.revisions.save(terms)
        answer = SavedAnswer(dry_run=query.dry_run, file=str(self._control.loaded.file), changes=changes_of(changes_))
        return Reply(answer, headers={"ETag": self._control.revisions.etag})

    async def clear_overlay(self, call: Call, query: PoolQuery) -> Reply[ConfigAnswer]:
        """Take back what the API has changed, in one pool or everywhere."""
        with as_problems():
            await self._control.change(changes.clear(query.pool), call.author, matches(call))
        return await self._show()


def _terms(call: Call, query: ChangeQuery) -> Terms:
    return Terms(call.author, matches(call), query.dry_run, query.confirm)


def _warnings(found: Iterable[Found]) -> list[ConfigWarning]:
    return [
        ConfigWarning(
            path=problem.path,
            message=problem.message,
            line=problem.line or None,
            column=problem.column or None,
        )
        for problem in islice(found, TOLD)
    ]
