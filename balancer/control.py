"""Decides what should be: file, operator's changes and health verdicts become one snapshot after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from balancer.cache.contents import Contents, Met
from balancer.cache.purges import Purge
from balancer.cache.receipts import PurgeReceipt
from balancer.changes import Conflict, Edit, Standing, Unknown
from balancer.guards.rulings import NamedKey, Ruling
from balancer.health.monitor import CheckResult, Monitor, OnChange
from balancer.health.target import Target, targets
from balancer.history import History
from balancer.memory import Memory, judge
from balancer.preview import Preview, PreviewAnswer, RouteAnswer, RouteQuestion
from balancer.reloads import Reloaded, Reloads, restart_required
from balancer.revisions import FILE, Revisions
from balancer.server import ServerKey
from balancer.server_tls import BadPools, Contexts
from balancer.snapshot import Snapshot
from balancer.telemetry.limit_report import KeyReport
from balancer.telemetry.report import Report
from balancer.tls.inspection import certificate_problems
from balancer.witness import witnessed
from config import overlay as overlays
from config.amend import Basis
from config.diff import Change, diff
from config.expiry import expired_keys, without_admin
from config.load import Loaded, load, parse
from config.overlay import Overlay
from config.problems import ConfigError
from config.schema import Config, Match
from config.state import StateError

GLANCE = 0.1
"""Seconds between two looks at a server that is waited for."""
OPERATOR = "the operator"
"""Who has made a change that came without a key."""

log: FilteringBoundLogger = structlog.get_logger("balancer.control")


class PublishError(Exception):
    """A snapshot can not be made so, for instance because a port is taken; nothing has changed anywhere.

    `problems` are sentences for the operator: the setting's path, a colon, and what is wrong with it.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class Fleet(Protocol):
    """Every plane there is."""

    async def publish(self, snapshot: Snapshot) -> None:
        """Return once every live plane has applied it, or raise PublishError when none has."""

    async def report(self) -> Report:
        """The sum over planes."""

    async def purge(self, purges: Sequence[Purge]) -> list[PurgeReceipt]:
        """Put purges in force on every level of every cache; a level that does not take one says so in its receipt."""

    async def rehearse(self, purges: Sequence[Purge], most: int) -> Met:
        """What purges would meet in memory."""

    async def contents(self, most: int) -> Contents:
        """The URLs and tags that take most of the caches."""

    async def limited_keys(self) -> dict[str, tuple[KeyReport, ...]]:
        """By policy, the keys that an operator has said something of, and those that were refused most."""

    async def rule(self, ruling: Ruling) -> NamedKey:
        """Lift the limit of a key, block it, or let it be again. UnknownKey, ValueError: there is no such key."""

    async def preview(self, question: Preview) -> list[PreviewAnswer]:
        """What strategies would pick now; the pool's own comes first, and no turn is spent."""

    async def explain(self, question: RouteQuestion, matches: Mapping[str, Match]) -> RouteAnswer:
        """Which route takes a request, and why no other one."""


class Control:
    """Owns the one snapshot that is in force; every other is made in `_become`, or for verdicts in `_mark`.

    `_changing` makes reloads and the operator's changes take turns. `_publishing` is held only while a
    snapshot is on its way, never while a file is read or written: a slow disk keeps no verdict waiting.
    """

    def __init__(
        self,
        loaded: Loaded,
        fleet: Fleet,
        *,
        environ: Mapping[str, str],
        memory: Memory | None = None,
        history: History | None = None,
        secret: bytes = b"",
        applied: Callable[[Config], Awaitable[None]] | None = None,
        monitor: Callable[[OnChange], Monitor] = Monitor,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`loaded` came from its file, if any, under `environ`; reloads look there again.

        Without a memory, a restart forgets the operator's changes. `secret` is what entity tags are made with.
        `applied` is told each configuration that has come into force, the first one too; it must not raise.
        """
        self.loaded = loaded
        self.base = loaded
        self.snapshot = Snapshot(0, loaded.config)
        self.overlay = Overlay()
        self.settled = Overlay()
        self.reloads = Reloads()
        self.closing = False
        self.monitor = monitor(self._verdicts)
        self._started_with = loaded.config
        self._fleet = fleet
        self.environ = environ
        self._memory = memory or Memory(None)
        self._applied = applied
        self._clock = clock
        self._sleep = sleep
        self._wall = wall
        self._changing = asyncio.Lock()
        self.revisions = Revisions(self, history or History(None), self._changing, environ, secret, clock, sleep, wall)
        self._publishing = asyncio.Lock()
        self._contexts = Contexts()  # for checks of servers with TLS
        self._news = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None
        self._targets: Mapping[ServerKey, Target] = {}
        self._marked: dict[ServerKey, datetime] = {}  # when the operator marked a server, in this process

    # Life.

    async def start(self) -> None:
        """Publish the first snapshot and begin to watch health. PublishError: it can not be made so."""
        async with self._changing:
            overlay = await self._memory.recall(self.loaded)
            await self.monitor.start()
            try:
                await self._become(await judge(self.loaded, overlay), overlay)
            except PublishError as error:
                if overlay.is_empty:
                    raise
                await self._become(self.loaded, Overlay())  # else the changes are not to blame, and stay
                await self._memory.set_aside(str(error))
            self.settled = self.overlay
            await self.revisions.begin()
            self.reloads.last_success = self._wall()
            self._follower = asyncio.get_running_loop().create_task(self._follow(), name="control")

    def begin_shutdown(self) -> None:
        """Tell whoever asks for readiness to send traffic elsewhere."""
        self.closing = True

    async def close(self) -> None:
        """Stop watching health; what is in force stays so."""
        self.closing = True
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
            await asyncio.wait([follower])
        await self.revisions.close()
        await self.monitor.close()

    @property
    def ready(self) -> bool:
        """Whether to send traffic here: every server has been asked once, and no shutdown has begun."""
        return self.monitor.first_round.is_set() and not self.closing

    # Asking.

    @property
    def standing(self) -> Standing:
        return Standing(self.base.config, self.snapshot.config, self.overlay)

    @property
    def basis(self) -> Basis:
        """The same for changes of the whole configuration."""
        return Basis(self.loaded, self.base, self.overlay, self.snapshot.config)

    async def report(self) -> Report:
        return await self._fleet.report()

    async def rehearse(self, purges: Sequence[Purge], most: int) -> Met:
        """What purges would meet in memory, and some of the URLs; nothing is touched. It looks at everything there."""
        return await self._fleet.rehearse(purges, most)

    async def contents(self, most: int) -> Contents:
        """The URLs and tags that take most of the caches; it takes a look at everything in them."""
        return await self._fleet.contents(most)

    async def preview(self, question: Preview) -> list[PreviewAnswer]:
        """What strategies would pick now; Unknown when the pool is not there."""
        self.standing.pool(question.pool)
        return await self._fleet.preview(question)

    async def explain(self, question: RouteQuestion) -> RouteAnswer:
        """Which route takes a request, and why no other one; nothing is sent anywhere."""
        matches = {name: route.match for name, route in self.snapshot.config.routes.items()}
        return await self._fleet.explain(question, matches)

    async def check_now(self, keys: Iterable[ServerKey] | None = None) -> list[CheckResult]:
        """Probe these servers, or all that are probed; the verdicts are in force when this returns."""
        results = await self.monitor.check_now(keys)
        await self._mark()
        return results

    async def emptied(self, pool: str, server: str, wait: float) -> bool:
        """Wait until nothing is in flight on a server, for at most `wait` seconds; whether that came true."""
        end = self._clock() + wait
        while True:
            found = dict((await self.report()).servers()).get((pool, server))
            if found is None or not (found.inflight or found.tunnels):
                return True
            left = end - self._clock()
            if left <= 0 or self.closing:
                return False
            await self._sleep(min(GLANCE, left))

    def marked_since(self, key: ServerKey) -> datetime | None:
        """When the operator drained a server or took it out; None when that was before this process."""
        return self._marked.get(key)

    def overlay_changes(self) -> tuple[Change, ...]:
        """What the operator's changes say over the file."""
        return overlays.describe(self.loaded.config, self.overlay, self.base.config)

    async def check(self, content: bytes) -> Loaded:
        """What a reload would take if this were the file. ConfigError: it would not.

        Whoever may ask this may not read the balancer's files and variables, so none is looked at, and the
        operator's changes are not judged over a configuration that lacks what depends on them.
        """
        loaded = await asyncio.to_thread(
            partial(parse, content, "the body", self.environ, self.loaded.file, look=False)
        )
        if not loaded.unjudged:
            await judge(loaded, self.overlay)
        return loaded

    async def unread(self) -> tuple[Change, ...]:
        """What a reload would change of what the file says. ConfigError: it would be refused."""
        loaded = await asyncio.to_thread(load, self.loaded.file, self.environ)
        await judge(loaded, self.overlay)
        return await asyncio.to_thread(diff, self.loaded.config, loaded.config)

    @property
    def restart_required(self) -> tuple[str, ...]:
        """Settings in force that will take effect only at the next start."""
        return restart_required(self._started_with, self.snapshot.config)

    # Changing.

    async def reload(self, author: str = FILE) -> Reloaded:
        """Read the configuration anew and make it so. ConfigError, PublishError: nothing has changed."""
        async with self._changing:
            before = self.snapshot.config
            try:
                loaded = await asyncio.to_thread(load, self.loaded.file, self.environ)
                base = await judge(loaded, self.overlay)
                if self.settled != self.overlay:
                    await judge(loaded, self.settled)  # a change on trial may have to be undone over this file
                await self._become(base, self.overlay, reads=self.snapshot.reads + 1, file=loaded)
            except (ConfigError, PublishError) as error:
                self.reloads.refused(self._wall())
                log.error("reload refused, the configuration in force stays", problems=str(error))
                raise
            self.reloads.taken(self._wall())
            changes = await asyncio.to_thread(diff, before, self.snapshot.config)
            await self.revisions.note(before, author, "reload")
            log.info("reloaded", generation=self.snapshot.generation, changes=len(changes))
            # Certificates that cannot be used do not fail a reload, as the old ones stay: it has to be told.
            now = self._wall()
            wrong, doubtful = await asyncio.to_thread(certificate_problems, loaded, now)
            over = (*expired_keys(loaded, now.date()), *without_admin(loaded, now.date()))
            warnings = (*loaded.warnings, *wrong, *doubtful, *over)
            return Reloaded(self.snapshot.generation, changes, self.restart_required, warnings)

    async def change(self, edit: Edit, author: str = OPERATOR, match: frozenset[str] | None = None) -> None:
        """The one way of an operator's change to servers: edit the overlay, validate, keep, publish.

        `match` are entity tags of which one must be that of the configuration in force. Stale, Unknown, Conflict,
        ConfigError, StateError, PublishError: nothing has changed.
        """
        async with self._changing:
            self.revisions.check(match)
            overlay = edit(self.standing)
            if overlay == self.overlay:
                return
            before, old = self.snapshot.config, self.overlay
            base = await judge(self.loaded, overlay, self.base if overlay.patch == old.patch else None)
            await self.make(base, overlay, await self._settled_too(edit, overlay))
            self.revisions.settle(overlay)
            if overlays.stateless(overlay) != overlays.stateless(old):
                await self.revisions.note(before, author, "change")

    async def _settled_too(self, edit: Edit, overlay: Overlay) -> Overlay:
        """What to keep when the edit makes this overlay: while a change is on trial, the edit without that."""
        if self.settled == self.overlay:
            return overlay
        try:
            base = await judge(self.loaded, self.settled)
            settled = edit(Standing(base.config, overlays.merge(base.config, self.settled), self.settled))
            await judge(self.loaded, settled)
        except (Unknown, Conflict, ConfigError):
            return self.settled  # it is about what is on trial, and goes with it
        return settled

    async def make(self, base: Loaded, overlay: Overlay, settled: Overlay, file: Loaded | None = None) -> None:
        """Put an overlay in force over the file, or over another one that has been written, with `settled` as what
        the next start begins with.

        StateError, PublishError: nothing has changed, or where the disk fails just then, the log says that it has not
        been taken back from there. The caller's turn to change things must have come.
        """
        # Kept first: a change in force that the next start forgets is worse than one that is only kept.
        kept, self.settled = self.settled, settled
        becoming = overlay != self.overlay or base is not self.base
        try:
            if settled != kept:
                await self._memory.keep(settled)
            if becoming:
                await self._become(base, overlay, file=file)
        except BaseException as error:  # a cancellation, too: what is settled and not in force passes for a trial
            if becoming and self.overlay is overlay and self.base is base:
                raise  # it is in force, and what failed came after
            self.settled = kept
            if settled != kept and not isinstance(error, StateError):
                await self._keep_again(kept)
            raise

    async def _keep_again(self, kept: Overlay) -> None:
        """Take back from the disk what has not come into force. It never raises: why that did not is what is told."""
        try:
            await self._memory.keep(kept)
        except Exception as error:  # whatever it is, it must not hide why the change was refused
            log.error(
                "a change that was refused is still kept",
                problem=str(error),
                effect="the next start begins with it, unless another change is kept before",
            )

    async def purge(self, purges: Sequence[Purge]) -> list[PurgeReceipt]:
        """Put purges in force. There is nothing of them in a snapshot: what is gone is gone."""
        receipts = await self._fleet.purge(purges)
        failed = [receipt for receipt in receipts if not receipt.ok]
        log.info("cache_purged", purges=len(receipts))
        if failed:
            reasons = {f"{level.level}: {level.reason}" for one in failed for level in one.levels if not level.ok}
            log.error("cache_not_purged", purges=len(failed), reasons=sorted(reasons))
        return receipts

    async def limited_keys(self) -> dict[str, tuple[KeyReport, ...]]:
        """By policy, the keys that an operator has said something of, and those that were refused most."""
        return await self._fleet.limited_keys()

    async def rule(self, ruling: Ruling) -> NamedKey:
        """Lift the limit of a key, block it, or let it be again. UnknownKey, ValueError: there is no such key.

        It holds for a time and in memory only, and so is in no snapshot.
        """
        key = await self._fleet.rule(ruling)
        lasting = {} if ruling.order == "restore" else {"seconds": ruling.seconds}
        log.info("limit_exception", policy=ruling.policy, order=ruling.order, key=key.masked, name=key.name, **lasting)
        return key

    # Becoming.

    async def _become(
        self, base: Loaded, overlay: Overlay, reads: int | None = None, file: Loaded | None = None
    ) -> None:
        """Make a patched file and the changes to servers the snapshot in force in every plane.

        With other `reads` than before, the files that the configuration names are read anew.
        """
        async with self._publishing:
            before = self.snapshot
            merged = overlays.merge(base.config, overlay)
            if merged == before.config:
                merged = before.config  # planes tell by identity that only marks have changed
            maintenance = overlays.marks(merged, overlay, "maintenance")
            reads = before.reads if reads is None else reads
            try:
                contexts = await self._contexts.prepare(merged, reads)
            except BadPools as error:
                raise PublishError(error.problems) from error
            watched = targets(merged, maintenance, contexts.contexts)
            checking, down = self._foreseen(watched)
            drained = overlays.marks(merged, overlay, "drained")
            snapshot = Snapshot(before.generation + 1, merged, checking, down, drained, maintenance, reads)
            await self._fleet.publish(snapshot)
            self._contexts.adopt(contexts)
            self.snapshot, self.overlay, self._targets = snapshot, overlay, watched
            self.loaded, self.base = file or self.loaded, base
            self._note_marks(before)
            self.monitor.watch(watched)
            self._news.set()  # a verdict may have come while the planes were busy
            witnessed(before, snapshot)
        if self._applied is not None and (merged is not before.config or not before.generation):
            await self._applied(merged)

    def _foreseen(self, watched: Mapping[ServerKey, Target]) -> tuple[frozenset[ServerKey], frozenset[ServerKey]]:
        """`checking` and `down` as they will be once the monitor watches these.

        The monitor is told only after the planes have taken the snapshot: had it to go back, it would have
        lost its verdicts on the servers that were to leave.
        """
        checking, down = set(), set()
        for key, target in watched.items():
            before = self._targets.get(key)
            if target.checks is None:
                continue
            if before is None or before.url != target.url or (before.maintenance and not target.maintenance):
                if target.start == "checking":
                    checking.add(key)
            elif key in self.monitor.checking:
                checking.add(key)
            elif key in self.monitor.down:
                down.add(key)
        return frozenset(checking), frozenset(down)

    def _note_marks(self, before: Snapshot) -> None:
        """Remember since when servers are drained or in maintenance."""
        for key in list(self._marked):
            if key not in self.snapshot.drained | self.snapshot.maintenance:
                del self._marked[key]
        if before.generation:  # the marks of the first snapshot are older than this process
            new = (self.snapshot.drained - before.drained) | (self.snapshot.maintenance - before.maintenance)
            self._marked.update(dict.fromkeys(new, self._wall()))

    # Verdicts.

    def _verdicts(self, checking: Collection[ServerKey], down: Collection[ServerKey]) -> None:
        """The monitor's call; what it says is read when its turn to be published has come."""
        self._news.set()

    async def _follow(self) -> None:
        me = asyncio.current_task()
        while self._follower is me:  # whatever a fleet does with a cancellation
            await self._news.wait()
            self._news.clear()
            try:
                await self._mark()
            except Exception:  # outermost place of this task: the next verdict must still be published
                log.exception("health verdicts could not be published")

    async def _mark(self) -> None:
        """Make the monitor's verdicts those of the snapshot in force, if they are not."""
        async with self._publishing:
            checking, down = self.monitor.checking, self.monitor.down
            if (checking, down) == (self.snapshot.checking, self.snapshot.down):
                return
            generation = self.snapshot.generation + 1
            snapshot = replace(self.snapshot, generation=generation, checking=checking, down=down)
            await self._fleet.publish(snapshot)
            self.snapshot = snapshot
