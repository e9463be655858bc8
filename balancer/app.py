"""The composition root: the only file that knows all parts, and in which order they come and go."""

from __future__ import annotations

import asyncio
import gc
import resource
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from socket import gethostname
from time import monotonic
from time import time as wall_time  # noqa: TID251  # the access log's time stamps; nothing is decided by it

import structlog
from aiohttp import web

from api.app import make_app, make_metrics_app
from api.auth import Keyring
from api.door import Layer, Site
from api.key_store import KeyStore, LastUse
from api.live import LiveViews
from api.monitoring import Monitoring
from api.services import Services
from api.trail import Actor, AuditTrail, Matter
from api.trail_file import TrailFile
from balancer.alerting.measures import Drop, Measures
from balancer.alerting.service import AlertService
from balancer.analytics.collector import Collector
from balancer.analytics.service import AnalyticsService
from balancer.cdn.local.figures import Front, front_of
from balancer.cdn.service import CdnService
from balancer.control import Control, PublishError
from balancer.databases.service import Databases
from balancer.decision import Decision
from balancer.fleet import LocalFleet
from balancer.guarding.shared_limits import LOCAL
from balancer.history import History
from balancer.issuers import OF_ISSUERS, UNREACHABLE
from balancer.listening import remove_stale_socket
from balancer.memory import Memory
from balancer.plane import TAGS_LEFT_OUT, Plane
from balancer.proxy.tls_layer import TlsLayer
from balancer.ranges.book import KEPT as RANGES_KEPT
from balancer.ranges.book import OF_RANGES, Ranges
from balancer.reception import Observer, Views
from balancer.redis_gateway import DOWN, OF_REDIS, REFUSES
from balancer.redis_link import RedisLink
from balancer.secret import SHORTEST, SIZE, common_secret, given_secret, kept_secret
from balancer.telemetry import program_log
from balancer.telemetry.access_log import AccessLog, open_log
from balancer.telemetry.error_groups import ErrorGroups
from balancer.telemetry.history import History as RecordedHistory
from balancer.telemetry.last_errors import LastErrors
from balancer.telemetry.metrics import Metrics
from balancer.telemetry.process import LoopLag, Process
from balancer.telemetry.rates import Recent
from balancer.telemetry.report import Report
from balancer.telemetry.sink import Sink
from balancer.tls import credentials
from balancer.tls.certificates import Unusable
from balancer.tls.credentials import EXPIRED, KEPT, LOADED
from balancer.witness import Witness
from config.cdn_routes import FILES as CDN_FILES
from config.cdn_routes import URL as CDN
from config.diff import Change
from config.expiry import expired_keys, without_admin
from config.load import Loaded, load
from config.problems import ConfigError
from config.schema import Admin, Config, ListenerTls
from config.values import Address

BEAT = 0.1  # seconds between two flushes of the access log
LOOK = 5.0  # seconds between two looks at the files of the admin listener's certificate
USES_KEPT = 60.0  # seconds between two looks at what is to be kept of the last uses of keys
COMPARED = 60.0  # seconds between two looks at how often product events happen
GLANCE = 0.05  # seconds between two looks at what is still open during shutdown

log = structlog.get_logger("balancer")


def run(config_path: Path | None, environ: Mapping[str, str]) -> int:
    """Run until told to stop; the process's exit status. A bad configuration is 2, what cannot be bound 1."""
    try:
        loaded = load(config_path, environ)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2

    async def main() -> int:
        try:
            app = App(loaded, environ)
        except OSError as error:
            to = loaded.config.logs.access.to
            print(f"logs.access.to: {to} cannot be opened: {error.strerror or error}", file=sys.stderr)
            return 1
        return await app.main()

    _raise_descriptor_limit(loaded.config)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main())


def _raise_descriptor_limit(config: Config) -> None:
    """Take as many descriptors as the system lets us: a connection through the balancer has two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems name a hard limit that they do not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    needed = 2 * config.limits.connections * len(config.listeners)
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "fewer descriptors than connections",
            descriptors=soft,
            needed=needed,
            advice="raise the limit (ulimit -n, LimitNOFILE=) or lower defaults.limits.connections",
        )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not built for this platform: asyncio's own loop serves, at a fifth more CPU
        return None
    return uvloop.new_event_loop


class Both:
    """Two observers as one."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self._first = first
        self._second = second

    def observe(self, decision: Decision) -> None:
        self._first.observe(decision)
        self._second.observe(decision)


class Beside:
    """What runs beside the rest: each task is held until it has ended, and none fails unheard."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._named: dict[str, asyncio.Task[None]] = {}

    def run(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def run_once(self, name: str, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """The same, unless the last of this name has not ended: a disk that hangs is not asked again and again."""
        last = self._named.get(name)
        if last is None or last.done():
            self._named[name] = self.run(work())

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("something beside the rest has failed", exc_info=error)


class App:
    """The parts of one process. To be made on the loop that it will run on."""

    def __init__(self, loaded: Loaded, environ: Mapping[str, str]) -> None:
        config = loaded.config
        self._sink = Sink("stderr")
        program_log.configure(self._sink, config.logs.level, config.logs.format)
        for warning in loaded.warnings:
            log.warning("configuration", problem=str(warning))
        self._access: AccessLog | None = None
        self._access_settings: object = None
        self._dropped_before = 0  # by access logs that were replaced
        self._errors = LastErrors()
        self._error_groups = ErrorGroups()
        self._views = Views(failures=Both(self._errors, self._error_groups), on_event=_tell)
        self._open_access_log(config)
        state = Path(config.admin.state)
        secret = _secret(state.parent / "cookie.secret", environ)
        ranges = Ranges(state.parent, _tell)
        common = common_secret(environ)
        self.plane = Plane(self._views, secret, common=common, ranges=ranges)
        self.fleet = LocalFleet(self.plane)
        self.control = Control(
            loaded,
            self.fleet,
            environ=environ,
            memory=Memory(state),
            history=History(state.with_suffix(".history.json")),
            secret=sha256(b"entity tags" + secret).digest(),
            applied=self._applied,
        )
        self.cdn = CdnService(state.parent, self.control, common=common)
        self.cdn.front = self._before_files
        self.cdn.trusts = lambda address: address in self.plane.trust.proxies
        self.plane.dialer.doors[CDN] = self.cdn.connect
        self.analytics = AnalyticsService(state.parent, self._watch_events)
        self.redis = RedisLink(config.redis)
        self.databases = Databases(self.redis)
        self.alerts = AlertService(state.parent, gethostname())
        self.recent = Recent()
        self.history = RecordedHistory()
        self.lag = LoopLag(BEAT)
        process = Process()
        store = KeyStore(state.parent / "keys.json")
        self._uses = LastUse(state.parent / "key-uses.json")
        keyring = Keyring(lambda: self.control.snapshot.config, None, monotonic, store=store, uses=self._uses)
        self._admin_tls: credentials.Watched | None = None
        self._one_time_key = keyring.make_one_if_needed()
        today = datetime.now(UTC).date()
        nobody = () if keyring.has_admin() else without_admin(loaded, today)
        for warning in (*expired_keys(loaded, today), *nobody):
            log.warning("configuration", problem=str(warning))
        self.trail = AuditTrail(_trail_file(config.admin))
        self.control.revisions.undone = self._undone
        self.services = Services(
            control=self.control,
            keyring=keyring,
            trail=self.trail,
            recent=self.recent,
            metrics=Metrics(config.metrics.max_series, process),
            process=process,
            lag=self.lag,
            redis=self.redis,
            cdn=self.cdn,
            analytics=self.analytics,
            databases=self.databases,
            alerts=self.alerts,
            errors=self._errors,
            error_groups=self._error_groups,
            history=self.history,
            loop=type(asyncio.get_running_loop()).__module__.partition(".")[0],
            dropped=self._dropped,
        )
        self._monitoring = Monitoring(self.services)
        self._live = LiveViews(self.services)
        self._drops: dict[str, Drop] = {}
        self._compared = 0.0
        self._config = config
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._beside = Beside()

    async def main(self) -> int:
        """Start, serve until a signal, drain, leave."""
        runners: list[web.AppRunner] = []
        try:
            try:
                await self.control.start()
                runners.append(
                    await _serve(make_app(self.services), self._config.admin.listen, await self._admin_layer())
                )
                if self._config.metrics.listen is not None:
                    runners.append(await _serve(make_metrics_app(self.services), self._config.metrics.listen))
            except PublishError as error:
                for problem in error.problems:
                    print(problem, file=sys.stderr)
                return 1
            except Unusable as error:
                print(f"admin.tls.{error.setting[-1]}: {error}", file=sys.stderr)
                return 1
            except OSError as error:
                print(f"the admin listener cannot be opened: {error.strerror or error}", file=sys.stderr)
                return 1
            self.redis.start()
            self._handle_signals()
            self._beside.run(self._beat())
            self._announce()
            gc.collect()
            gc.freeze()  # what is here now stays: the collector need not look at it again
            gc.set_threshold(50_000, 20, 50)  # no cycles are made per request, so there is little to find
            await self._stop.wait()
            await self._drain()
            return 0
        finally:
            self._beside.cancel()
            self.services.streams.close()
            await self._keep_uses()
            await self.control.close()
            await self.plane.close()
            await self.cdn.close()
            await self.analytics.close()
            await self.alerts.close()
            await self.databases.close()
            await self.redis.close()
            for runner in runners:
                await runner.cleanup()
            await self.trail.close()
            if self._access is not None:
                self._access.sink.close()
            self._sink.close()

    async def _admin_layer(self) -> Layer | None:
        """The TLS of the admin listener, if it is to speak it. Raises Unusable."""
        files = self._config.admin.tls
        if files is None:
            return None
        settings = ListenerTls(certificates=(files,))
        first = await asyncio.to_thread(credentials.load, settings)
        watched = self._admin_tls = credentials.Watched("admin", settings, first, _tell)
        return lambda inner: TlsLayer(watched.current.contexts.standing, inner, server_side=True)

    async def _look_at_certificate(self, watched: credentials.Watched) -> None:
        watched.take(await asyncio.to_thread(watched.look))

    def _announce(self) -> None:
        for name, listener in self.plane.listeners.items():
            where = listener.settings.address
            scheme = listener.scheme.decode()
            shown = str(where) if where.path else f"{scheme}://{where.host or '0.0.0.0'}:{listener.port}"
            log.info("listening", listener=name, address=shown)
        log.info(
            "listening", listener="admin", address=_url(self._config.admin.listen, secure=self._admin_tls is not None)
        )
        if self._one_time_key is not None:
            page = _page(self._config.admin.listen, secure=self._admin_tls is not None)
            link = f"\nThe dashboard: {page}#login={self._one_time_key}" if page else ""
            print(
                f"No admin key is configured. This one is valid until the balancer stops and is shown only here:\n"
                f"  {self._one_time_key}{link}",
                file=sys.stderr,
                flush=True,
            )

    # While it runs.

    async def _beat(self) -> None:
        """Ten times a second: write the access log. Once a second: note how things stand."""
        count = 0
        while True:
            await asyncio.sleep(BEAT)
            now = monotonic()
            self.lag.beat(now)
            if self._access is not None:
                self._access.tick(wall_time())
            self._sink.flush()
            self.analytics.tick(now)
            count += 1
            if count % round(1 / BEAT) == 0:
                report = self.plane.report()
                self.recent.sample(now, report)
                self.history.sample(now, wall_time(), report)
                self._live.look(report, self._monitoring.note(report))
                if self.alerts.is_due(now):
                    self.alerts.look(self._measures(report), wall_time())
                    if self.alerts.events and now - self._compared > COMPARED:
                        self._compared = now
                        self._beside.run_once("events", self._compare_events)
                self.control.revisions.trend.sample(now, report)
                self._beside.run_once("trail", self.trail.flush)
            if count % round(LOOK / BEAT) == 0 and self._admin_tls is not None:
                self._beside.run_once("certificate", partial(self._look_at_certificate, self._admin_tls))
            if count % round(USES_KEPT / BEAT) == 0:
                self._beside.run_once("uses", self._keep_uses)

    def _measures(self, report: Report) -> Measures:
        """What rules of alerts are held against."""
        redis = self.redis.state
        cdn = self.cdn.look()
        store = self.analytics.desk.figures if self.analytics.desk is not None else None
        return Measures(
            report,
            self.recent,
            wall_time(),
            redis=(redis.ok, redis.reason),
            cdn=(cdn.ok, cdn.reason) if cdn is not None else (None, None),
            databases=self.databases.problems(),
            store=(store.ok, store.reason) if store is not None else (None, None),
            lag=self.lag.worst,
            reload_ok=self.control.reloads.last_ok,
            drops=self._drops,
        )

    async def _compare_events(self) -> None:
        """How often events happened in the last hour, and in the same hour of last week."""
        now, week = datetime.now(UTC), timedelta(days=7)
        hour = timedelta(hours=1)
        drops = {}
        for name in self.alerts.events:
            last = await self.analytics.count(name, now - hour, now)
            then = await self.analytics.count(name, now - week - hour, now - week)
            if last is not None and then is not None:
                drops[name] = Drop(last, then)
        self._drops = drops

    def _before_files(self) -> Front | None:
        """What clients were answered below the path of the local CDN's files, the cache's answers included."""
        tally = self.plane.report().routes.get(CDN_FILES)
        return front_of(tally) if tally is not None else None

    async def _keep_uses(self) -> None:
        await self._uses.keep([held.key for held in self.services.keyring.held()])

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._beside.run(self._reload()))
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)

    def _on_stop(self) -> None:
        """The first signal asks to finish, a second one to hurry."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _reload(self) -> None:
        """By a signal. It needs no line in the trail beforehand: whoever sends it could do without the trail."""
        witness = Witness()
        status, detail = 200, None
        try:
            with witness.present():
                await self.control.reload()
        except (ConfigError, PublishError) as error:  # control has logged every problem, and nothing has changed
            status, detail = 422, str(error)
        except Exception as error:  # outermost place of this task: the trail has a line of whatever came of it
            log.exception("reload failed")
            status, detail = 500, f"{type(error).__name__}, see the log"
        matter = Matter("", Actor("signal"), "", "SIGHUP", "reload_config", "")
        await self.trail.done(matter, status, detail, await asyncio.to_thread(witness.changes))

    async def _undone(self, revision: int, author: str, reason: str, changes: Sequence[Change]) -> None:
        """A trial that nobody has ended. No line beforehand: it must not fail where the trail cannot be written."""
        matter = Matter("", Actor("balancer"), "", "", None, "")
        detail = f"revision {revision} of {author} was undone: {reason}"
        await self.trail.done(matter, 200, detail, changes)

    def _reopen_logs(self) -> None:
        if self._access is not None:
            self._access.sink.reopen()
        self.trail.reopen()

    async def _applied(self, config: Config) -> None:
        """A configuration has come into force: take over what can be taken over while running."""
        program_log.configure(self._sink, config.logs.level, config.logs.format)
        try:
            self._open_access_log(config)
        except OSError as error:
            log.error("access log cannot be opened", to=config.logs.access.to, reason=error.strerror or str(error))
        await self.redis.change(config.redis)
        await self.cdn.change(config.cdn)
        await self.analytics.change(config.analytics)
        await self.databases.change(config.databases)
        await self.alerts.change(config.alerts)

    def _open_access_log(self, config: Config) -> None:
        settings = config.logs.access
        if settings == self._access_settings:
            return
        opened = open_log(settings, Random(secrets.token_bytes(16)), wall_time(), _tell_of_log)
        old, self._access = self._access, opened
        self._access_settings = settings
        self._views.every = opened
        if old is not None:
            old.sink.close(patience=0)
            self._dropped_before += old.sink.dropped

    def _watch_events(self, collector: Collector | None) -> None:
        self._views.events = collector

    def _dropped(self) -> Mapping[str, int]:
        access = self._access.sink.dropped if self._access is not None else 0
        return {"access": self._dropped_before + access, "program": self._sink.dropped}

    # The end.

    async def _drain(self) -> None:
        """Readiness off, wait, stop accepting, let everything finish within `shutdown.grace`."""
        settings = self.control.snapshot.config.shutdown
        self.control.begin_shutdown()
        log.info("stopping", delay=settings.delay, grace=settings.grace, connections=self.plane.connections)
        await self._pause(settings.delay, lambda: False)
        await self.plane.drain(settings.grace)
        await self._pause(settings.grace, lambda: self.plane.connections == 0)
        log.info("stopped", cut=self.plane.connections)

    async def _pause(self, longest: float, done: Callable[[], bool]) -> None:
        """Wait until it is done, somebody hurries us, or the time is over."""
        end = monotonic() + longest
        while (left := end - monotonic()) > 0 and not done():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), min(GLANCE, left))
                return


async def _serve(app: web.Application, address: Address, layer: Layer | None = None) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    if address.path:
        remove_stale_socket(address.path)
    try:
        await Site(runner, address, layer).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def _trail_file(admin: Admin) -> TrailFile | None:
    if admin.audit is None:
        return None
    path = Path(admin.audit)
    return TrailFile(path if "/" in admin.audit else Path(admin.state).parent / path)


def _url(address: Address, *, secure: bool) -> str:
    if address.path:
        return str(address)
    host = f"[{address.host}]" if ":" in address.host else address.host or "0.0.0.0"
    return f"{'https' if secure else 'http'}://{host}:{address.port}"


def _page(address: Address, *, secure: bool) -> str:
    """Where a browser on this machine finds the dashboard; nothing if it can not reach it."""
    if address.path:
        return ""
    if address.host in ("", "0.0.0.0", "::"):
        return f"{'https' if secure else 'http'}://localhost:{address.port}/"
    return f"{_url(address, secure=secure)}/"


def _secret(path: Path, environ: Mapping[str, str]) -> bytes:
    """The key of sticky cookies: what several machines that share clients all know, else what is kept in a file."""
    if common := common_secret(environ):
        return common
    if given := given_secret(environ):
        log.warning(
            "BALANCER_SECRET is too short and not used",
            bytes=len(given),
            needed=SHORTEST,
            advice="make one with: openssl rand -hex 32",
            instead=str(path),
        )
    try:
        return kept_secret(path)
    except OSError as error:
        log.warning("sticky cookies will not survive a restart", file=str(path), reason=error.strerror)
        return secrets.token_bytes(SIZE)


_BAD_NEWS = frozenset(
    (
        KEPT,
        EXPIRED,
        LOCAL,
        DOWN,
        REFUSES,
        UNREACHABLE,
        RANGES_KEPT,
        "pool_panic",
        "server_ejected",
        "strategy_failed",
        "guard_failed",
        TAGS_LEFT_OUT,
    )
)
_OF_LISTENERS = frozenset((LOADED, KEPT, EXPIRED))


def _tell(event: str, where: str, detail: str) -> None:
    """What happens in a plane and an operator should read."""
    pool, _, server = where.partition("/")
    named = {"pool": pool, "server": server} if server else {"pool": pool}
    if event in _OF_LISTENERS:
        named = {"listener": where}
    elif event in ("guard_failed", TAGS_LEFT_OUT):
        named = {"route": where}
    elif event in OF_RANGES:
        named = {"cdn": where}
    elif event in OF_ISSUERS:
        named = {"auth": where}
    elif event in OF_REDIS:
        named = {"server": where}
    elif not where:
        named = {}
    (log.warning if event in _BAD_NEWS else log.info)(event, detail=detail, **named)


def _tell_of_log(message: str) -> None:
    log.warning("access log", problem=message)
