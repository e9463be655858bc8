"""Changes of the whole configuration: proposed, tried, confirmed or undone, and the way back to earlier ones."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from balancer.changes import Conflict, Stale, Unknown
from balancer.effects import effects
from balancer.history import CHANGES, Cause, History, Revision, Said
from balancer.memory import judge
from balancer.reloads import restart_required
from balancer.telemetry.report import Report
from balancer.trial import Trend, Trial, sums
from config import overlay as overlays
from config.amend import Amended, Basis, based, reaching
from config.diff import Change, diff
from config.load import Loaded, parse
from config.origin import Origin, origins
from config.overlay import Overlay
from config.problems import Problem
from config.save import HalfSaved, saved, write
from config.schema import Config
from config.state import to_text

GLANCE = 1.0
"""Seconds between two looks at whether errors rise."""
FILE = "the file"
BALANCER = "the balancer"
"""Who undoes what nobody confirmed."""

Proposal = Callable[[Basis], Amended]
"""Raises ConfigError. It is called in a thread when its turn has come, and so judges by what holds then."""

Undone = Callable[[int, str, str, Sequence[Change]], Awaitable[None]]
"""Hears of a trial that the balancer has undone by itself: its revision, whose it was, why, and what that changed."""

log: FilteringBoundLogger = structlog.get_logger("balancer.control")


class Held(Protocol):
    """What is in force, and the one way to change it."""

    @property
    def basis(self) -> Basis: ...
    @property
    def settled(self) -> Overlay: ...
    async def report(self) -> Report: ...
    async def make(self, base: Loaded, overlay: Overlay, settled: Overlay, file: Loaded | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How a change is to be made."""

    author: str
    match: frozenset[str] | None = None
    """Entity tags of which one must be that of the configuration in force; None: whichever it is."""
    dry_run: bool = False
    """Only say what would happen."""
    confirm: float | None = None
    """Seconds in which it has to be confirmed; 0: never; None: as `admin.confirm` says."""


@dataclass(frozen=True, slots=True)
class Revised:
    """What a change has done, or would do."""

    changes: tuple[Change, ...]
    effects: tuple[str, ...]
    restart_required: tuple[str, ...]
    """Settings that differ from those in force before and take effect only at the next start."""
    warnings: tuple[Problem, ...]
    revision: int | None
    """The number of the new one; None when nothing has changed."""
    trial: Trial | None


class Revisions:
    """The history of the configuration, and the change that is on trial, if one is.

    A change on trial is in force and not kept: what is kept, and comes back with a restart, is what was settled
    before. `changing` is Control's: every change takes its turn by it.
    """

    def __init__(
        self,
        held: Held,
        history: History,
        changing: asyncio.Lock,
        environ: Mapping[str, str],
        secret: bytes,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        wall: Callable[[], datetime],
    ) -> None:
        self.history = history
        self.trial: Trial | None = None
        self.trend = Trend()
        self.results = {"settled": 0, "provisional": 0, "confirmed": 0, "undone": 0}
        """How changes ended, since the start."""
        self.undone: Undone | None = None
        """For the audit trail."""
        self._held = held
        self._changing = changing
        self._environ = environ
        self._secret = secret
        self._clock = clock
        self._sleep = sleep
        self._wall = wall
        self._watcher: asyncio.Task[None] | None = None
        self._described: tuple[Change, ...] = ()
        self._known_tag: tuple[Overlay, Loaded, str] | None = None  # a large overlay takes its time to be written out

    @property
    def etag(self) -> str:
        """A strong entity tag of the configuration in force: another one with every change that is not a state."""
        basis = self._held.basis
        known = self._known_tag
        if known is None or known[0] is not basis.overlay or known[1] is not basis.file:
            tag = self._tag("running", basis.file.digest, to_text(overlays.stateless(basis.overlay)))
            self._known_tag = known = (basis.overlay, basis.file, tag)
        return known[2]

    @property
    def file_etag(self) -> str:
        """The same of what the file says."""
        return self._tag("file", self._held.basis.file.digest)

    @property
    def trial_left(self) -> float | None:
        """Seconds until the change on trial undoes itself; None when none is."""
        return max(0.0, self.trial.deadline - self._clock()) if self.trial is not None else None

    def _tag(self, *parts: str) -> str:
        # Keyed, as a bare hash would let whoever reads it try guesses of short secrets.
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return f'"{hmac.new(self._secret, text, "sha256").hexdigest()[:32]}"'

    # Making changes.

    async def revise(self, proposal: Proposal, terms: Terms, cause: Cause = "change") -> Revised:
        """Make a change of the whole. Stale, Conflict, ConfigError, StateError, PublishError: nothing has changed."""
        async with self._changing:
            self.check(terms.match)
            trial = self.trial
            if trial is not None and not terms.dry_run:
                told = f"revision {trial.revision} of {trial.author} is on trial"
                raise Conflict(f"{told}: confirm it or roll it back first")
            return await self._revise(proposal, self._held.basis, terms, cause)

    async def _revise(self, proposal: Proposal, origin: Basis, terms: Terms, cause: Cause) -> Revised:
        """Go from what is in force to what is proposed for `origin`, in one step; that ends what is on trial."""
        basis, settled, trial = self._held.basis, self._held.settled, self.trial
        amended = await asyncio.to_thread(proposal, origin)
        running = await asyncio.to_thread(lambda: amended.running)
        changes = await asyncio.to_thread(diff, basis.running, running)
        report = await self._held.report()
        revised = partial(
            Revised,
            changes,
            effects(basis.running, running, report),
            restart_required(basis.running, running),
            amended.base.warnings,
        )
        if terms.dry_run or (not changes and cause != "rollback"):
            return revised(None, None)
        base = await judge(basis.file, amended.overlay, amended.base)
        seconds = running.admin.confirm if terms.confirm is None else terms.confirm
        on_trial = bool(seconds and changes) and amended.overlay != settled
        await self._held.make(base, amended.overlay, settled if on_trial else amended.overlay)
        if trial is not None:
            self._undone(trial, f"rolled back by {terms.author}")
            self._end()
        if on_trial:
            self._try(terms.author, seconds, report)
        number = await self.note(basis.running, terms.author, cause, provisional=on_trial)
        return revised(number, self.trial)

    def _try(self, author: str, seconds: float, report: Report) -> None:
        """Begin the trial of what is in force, whose revision is about to be noted."""
        began = self._wall()
        ends, deadline = began + timedelta(seconds=seconds), self._clock() + seconds
        number = self._next()
        self.trial = Trial(number, author, began, ends, deadline, self.trend.until(report), sums(report))
        # In a context of its own, as what it undoes is not what the call at hand does.
        self._watcher = asyncio.get_running_loop().create_task(self._watch(), name="trial", context=Context())
        log.warning("configuration on trial", revision=number, author=author, seconds=seconds)

    async def rollback(self, number: int, terms: Terms) -> Revised:
        """Go back to a revision, as far as the file allows; what is on trial ends if it came after that.

        Unknown, and what `revise` raises: nothing has changed, and what is on trial still is.
        """
        async with self._changing:
            self.check(terms.match)
            found = self.history.revision(number)
            if found is None:
                known = ", ".join(str(one.number) for one in self.history.revisions)
                raise Unknown(f"there is no revision {number}, but {known}")
            trial = self.trial
            if trial is None:
                return await self._revise(partial(self._to, found), self._held.basis, terms, "rollback")
            if number >= trial.revision:
                told = f"revision {trial.revision} of {trial.author} is on trial"
                raise Conflict(f"{told}: confirm it, or go back to one before it")
            return await self._revise(partial(self._to, found), await self._without_trial(), terms, "rollback")

    async def _without_trial(self) -> Basis:
        """What would be in force if nothing were on trial."""
        file, settled = self._held.basis.file, self._held.settled
        base = await judge(file, settled)
        return Basis(file, base, settled, overlays.merge(base.config, settled))

    def _is_in_force(self, revision: Revision) -> bool:
        basis = self._held.basis
        return (revision.digest, revision.overlay) == (basis.file.digest, overlays.stateless(basis.overlay))

    def _to(self, revision: Revision, basis: Basis) -> Amended:
        overlay = overlays.with_states(revision.overlay, basis.overlay)
        if revision.digest == basis.file.digest:
            return Amended(overlay, based(basis.file, overlay))
        text = self.history.kept.files.get(revision.digest)
        if text is None:
            raise Conflict(f"the file of revision {revision.number} was too large to be kept: put it back and reload")
        file = parse(text, f"the file of revision {revision.number}", self._environ, basis.file.file)
        origin = based(file, revision.overlay)
        return reaching(basis, origin, overlays.merge(origin.config, revision.overlay), origin)

    async def confirm(self, number: int | None, author: str) -> int:
        """Keep what is on trial; the number of its revision. Conflict: there is nothing, or another."""
        async with self._changing:
            trial = self.trial
            if trial is None:
                raise Conflict(f"there is nothing to confirm: {self._no_trial(number)}")
            if number is not None and number != trial.revision:
                raise Conflict(f"revision {trial.revision} is on trial, not {number}")
            basis = self._held.basis
            await self._held.make(basis.base, basis.overlay, basis.overlay)
            self._end()
            self.results["confirmed"] += 1
            self.history.mark(trial.revision, provisional=False, note=f"confirmed by {author}")
            self.history.keep()
            log.info("configuration confirmed", revision=trial.revision, author=author)
            return trial.revision

    async def save(self, terms: Terms) -> tuple[Change, ...]:
        """Fold what the API has changed into the file; what of it.

        Unsaved: the file can not be made to say so. HalfSaved: the file says so, and the overlay still does.
        """
        async with self._changing:
            self.check(terms.match)
            basis = self._held.basis
            path = basis.file.file
            if path is None:
                raise Conflict("there is no file to save to: the environment says everything")
            if self.trial is not None:
                raise Conflict(f"revision {self.trial.revision} is on trial: confirm it or roll it back first")
            folding = await asyncio.to_thread(self._describe)
            if not overlays.stateless(basis.overlay).is_empty:
                text, loaded, overlay = await asyncio.to_thread(saved, basis, self._environ)
                if terms.dry_run:
                    return folding
                if await asyncio.to_thread(path.read_bytes) != basis.file.source.content:
                    raise Conflict(f"{path} has been changed since it was read: reload it first")
                await asyncio.to_thread(write, path, text)
                try:
                    await self._held.make(loaded, overlay, overlay, loaded)
                except Exception as error:  # whatever it is, the file has been written, and whoever asked must know
                    log.exception("configuration saved by half", file=str(path), author=terms.author)
                    raise HalfSaved(
                        f"{path} has been written and says what is in force, but the same is still kept as changes "
                        f"over it: {error}. Mend that, reload, and save again; the file as it was is {path.name}.bak"
                    ) from error
                await self.note(basis.running, terms.author, "save")
                log.info("configuration saved", file=str(path), author=terms.author, changes=len(folding))
            return folding

    async def why(self, path: str) -> tuple[tuple[Origin, Said | None], ...]:
        """Where the settings at or below a path come from, with who said so over the API.

        Nowhere: there is none; ValueError: it is no path.
        """
        found = await asyncio.to_thread(origins, path, self._held.basis)
        return tuple((one, self.history.kept.said.get(one.path) if one.kind == "api" else None) for one in found)

    # The trial.

    def _no_trial(self, number: int | None) -> str:
        """What became of the one that was, as somebody may come too late."""
        for one in reversed(self.history.revisions):
            if one.note and one.cause != "undo" and number in (None, one.number):
                return f"revision {one.number} is on trial no more: {one.note}"
        return "no change is on trial"

    async def _watch(self) -> None:
        while (trial := self.trial) is not None:
            await self._sleep(min(GLANCE, max(0.0, trial.deadline - self._clock())) or GLANCE)
            try:
                reason = trial.verdict(self._clock(), await self._held.report())
                if reason is None:
                    continue
                async with self._changing:
                    if self.trial is not trial:
                        return
                    before = self._held.basis.running
                    await self._undo(trial, reason)
                    after = self._held.basis.running
                if self.undone is not None:
                    back = await asyncio.to_thread(diff, before, after)
                    await self.undone(trial.revision, trial.author, reason, back)
                return
            except Exception:  # outermost place of this task: what can not be undone now is tried again
                log.exception("a change on trial could not be undone yet", revision=trial.revision)

    async def _undo(self, trial: Trial, reason: str) -> None:
        basis, settled = self._held.basis, self._held.settled
        await self._held.make(await judge(basis.file, settled), settled, settled)
        self._undone(trial, reason)
        await self.note(basis.running, BALANCER, "undo", reason=reason)
        self._end()

    def _undone(self, trial: Trial, reason: str) -> None:
        self.results["undone"] += 1
        self.history.mark(trial.revision, provisional=False, note=f"undone: {reason}")
        log.error("configuration undone", revision=trial.revision, author=trial.author, reason=reason)

    def settle(self, overlay: Overlay) -> None:
        """Another change has made what is in force and what is kept the same: nothing is left to confirm."""
        if self.trial is not None and overlay == self._held.settled:
            self.history.mark(self.trial.revision, provisional=False, note="taken back")
            self._end()

    def _end(self) -> None:
        self.trial = None
        watcher, self._watcher = self._watcher, None
        if watcher is not None and watcher is not asyncio.current_task():
            watcher.cancel()

    async def close(self) -> None:
        """Stop looking. A change on trial stays in force until the process ends, and does not come back with it."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])
        await self.history.close()

    # The history.

    async def begin(self) -> None:
        """Recall it, and note what the process has begun with."""
        await self.history.recall()
        latest = self.history.latest
        if latest is not None and latest.provisional:
            reason = "the process ended before it was confirmed"
            self.history.mark(latest.number, provisional=False, note=f"undone: {reason}")
            log.warning("configuration undone", revision=latest.number, reason="the process ended before")
            if self.undone is not None:
                back = [Change(one.path, one.after, one.before) for one in latest.changes]
                await self.undone(latest.number, latest.author, reason, back)
        self._described = await asyncio.to_thread(self._describe)
        if latest is None or latest.provisional or not self._is_in_force(latest):
            self._add(FILE, "start", ())
        self.history.keep()

    async def note(
        self, before: Config, author: str, cause: Cause, *, provisional: bool = False, reason: str = ""
    ) -> int | None:
        """Note that what is in force is another configuration than `before`; its number, None if it is none."""
        after = self._held.basis.running
        changes, described = await asyncio.to_thread(lambda: (diff(before, after), self._describe()))
        self.history.credit(self._described, described, Said(by=author, at=self._wall()))
        self._described = described
        number = None
        latest = self.history.latest
        if changes or provisional or latest is None or not self._is_in_force(latest):
            number = self._add(author, cause, changes, provisional=provisional, note=reason)
        if cause in ("change", "rollback", "save") and number is not None:
            self.results["provisional" if provisional else "settled"] += 1
        self.history.keep()
        return number

    def _add(
        self, author: str, cause: Cause, changes: tuple[Change, ...], *, provisional: bool = False, note: str = ""
    ) -> int:
        basis = self._held.basis
        revision = Revision(
            number=self._next(),
            at=self._wall(),
            author=author,
            cause=cause,
            changes=changes[:CHANGES],
            more=max(0, len(changes) - CHANGES),
            digest=basis.file.digest,
            overlay=overlays.stateless(basis.overlay),
            provisional=provisional,
            note=note,
        )
        self.history.add(revision, basis.file.source.content.decode("utf-8", "replace"))
        return revision.number

    def _next(self) -> int:
        latest = self.history.latest
        return latest.number + 1 if latest is not None else 1

    def _describe(self) -> tuple[Change, ...]:
        basis = self._held.basis
        return overlays.describe(basis.file.config, basis.overlay, basis.base.config)

    def check(self, match: frozenset[str] | None) -> None:
        """Stale: what is in force has none of these entity tags."""
        if match is not None and "*" not in match and self.etag not in match:
            raise Stale(
                f"the configuration has changed: it is {self.etag} now; get it again, and make the change to that"
            )
