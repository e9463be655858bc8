"""The limits that balancers share over Redis, for as long as that can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from random import Random
from time import monotonic
from typing import Final, Literal

from balancer.guarding.presence import Presence
from balancer.guarding.shared_bucket import BUCKET, DIGEST, bucket_key, told
from balancer.guarding.shared_policy import Asking, SharedPolicy, Sharing
from balancer.guards.leases import Leases, Lot
from balancer.guards.limiter import Policy
from balancer.redis_gateway import Gateway, Unavailable
from config.schema import Config

DEADLINE: Final = 0.05
"""Seconds that a request waits for Redis, at most."""
LEAST: Final = 0.005
"""Seconds that Redis is given to answer who has waited for others' tokens before."""
MISSES: Final = 3
"""Answers in a row that do not come in time, before Redis is asked no more: one may be late on any day."""
BEAT: Final = 2.0
"""Seconds between two signs of life."""
PAUSE: Final = 1.0
LONGEST: Final = 16.0
"""Seconds until Redis is tried again after a failure; doubled after each that comes soon after another."""
FIRST: Final = 0.25
"""Seconds that a configuration waits to know whether Redis can be asked."""
STEADY: Final = 30.0
"""Seconds that it has to work for the next pause to be the shortest again."""

AWAY: Final = ("open", "half-open")
SLOW: Final = "answers take too long"
LOCAL: Final = "rate_limits_local"
SHARED: Final = "rate_limits_shared"


class SharedLimits:
    """The shared limits of a plane.

    A question that is not answered well is judged here, within `DEADLINE`. As soon as Redis has failed, or some answers
    in a row have come too late, nobody asks any more, until a sign of life, for which nobody waits, has got through.
    """

    def __init__(
        self,
        on_event: Callable[[str, str, str], None],
        secret: bytes = b"",
        *,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        """`secret`: what all balancers know and Redis does not; keys of clients are hashed with it."""
        self.deadline = deadline
        self.policies: dict[str, SharedPolicy] = {}
        self.prefix = ""
        key = blake2b(secret, digest_size=32, person=b"rate limits").digest()
        self._hash = blake2b(digest_size=12, key=key)
        self.clock = clock
        self.shares = False
        """Whether Redis is asked."""
        self._on_event = on_event
        self._wall = wall
        self._sleep = sleep
        self._rng = rng or Random()
        self._gateway: Gateway | None = None
        self._presence = Presence()
        self._reason: str | None = "not asked yet"
        self._since = wall()
        self._missed = 0  # answers in a row, to questions and to signs of life
        self._pause = PAUSE
        self._risen = 0.0  # when it was last well again
        self._due: list[tuple[SharedPolicy, str, Lot[Asking]]] = []
        self._beating: asyncio.Task[None] | None = None
        self._first = asyncio.Event()

    # What the plane says.

    def configure(self, config: Config, policies: Mapping[str, Policy]) -> None:
        """Take a configuration. Call it before the policies make their steps, and `use` after it."""
        self.prefix = config.redis.prefix
        old, self.policies = self.policies, {}
        for name, policy in policies.items():
            settings = policy.settings
            policy.shared = None
            if settings.shared and settings.rate is not None and config.redis.url:
                shared = old.get(name)
                if shared is None or shared.policy is not policy:
                    shared = SharedPolicy(self, policy)
                shared.configure(settings, self._presence.instances)
                policy.shared = self.policies[name] = shared

    async def use(self, gateway: Gateway | None) -> None:
        """Share over this Redis, for as long as some limit is shared. Returns when it is known whether that works."""
        wanted = gateway if self.policies else None
        if wanted is self._gateway and (wanted is None) == (self._beating is None):
            return
        await self._end()
        self._gateway = wanted
        if wanted is not None:
            self._first.clear()
            self._beating = asyncio.get_running_loop().create_task(self._beat(wanted), name="shared-limits")
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST):
                    await self._first.wait()

    async def close(self) -> None:
        """Share nothing any more. Call it while the gateway can still be asked."""
        await self._end()

    async def _end(self) -> None:
        beating, self._beating = self._beating, None
        gateway, self._gateway = self._gateway, None
        self.shares = False
        self._reason = "not asked yet"
        if beating is not None:
            beating.cancel()
            await asyncio.wait([beating])
        if gateway is not None and gateway.up:
            await self._presence.leave(gateway)

    @property
    def sharing(self) -> Sharing | None:
        """How it goes; None where no limit is shared."""
        if self._gateway is None:
            return None
        state: Literal["shared", "local"] = "shared" if self.shares else "local"
        return Sharing(state, self._reason, self._since, self._presence.instances)

    # Whether Redis can be asked.

    async def _beat(self, gateway: Gateway) -> None:
        with suppress(Unavailable):
            await gateway.run("PING")  # it pays for the connection
        while True:
            began = self.clock()
            try:
                await self._presence.tell(gateway, self.prefix, began)
            except Unavailable as error:
                self._miss(error.why)
            else:
                if self.clock() - began < self.deadline:
                    self._rise()
                else:
                    self._miss(SLOW)
            self._first.set()
            await self._sleep(BEAT if self.shares else self._pause * self._rng.uniform(1.0, 1.5))

    def _miss(self, why: str) -> None:
        """There was no answer, or none in time."""
        self._missed += 1
        if not self.shares or why not in (SLOW, "timeout") or self._missed >= MISSES:
            self.fall(why)

    def _rise(self) -> None:
        instances = self._presence.instances
        for policy in self.policies.values():
            policy.share(instances)
        self._missed = 0
        if self.shares:
            return
        self.shares = True
        if self._first.is_set():
            self._risen = self.clock()
            self._on_event(SHARED, "", f"by {instances} balancers, as Redis answers again")
        self._reason = None
        self._since = self._wall()

    def fall(self, why: str) -> None:
        """Redis has not answered as it should: it is not asked any more until a sign of life has got through."""
        gateway = self._gateway
        reason = (gateway.state.reason if gateway is not None else None) or why
        if not self.shares and self._first.is_set():
            self._reason = reason
            return
        now = self.clock()
        self._pause = PAUSE if now - self._risen > STEADY else min(2 * self._pause, LONGEST)
        self.shares = False
        self._reason = reason
        self._since = self._wall()
        self._on_event(LOCAL, "", f"{self._alone()}: {reason}")

    def _alone(self) -> str:
        """What each policy does by itself."""
        words = {"local": f"1/{self._presence.instances} of it", "allow": "lets all pass", "deny": "refuses all"}
        return ", ".join(f"{name} {words[policy.down]}" for name, policy in self.policies.items())

    # Questions.

    def up(self) -> bool:
        """Whether Redis can be asked now."""
        if not self.shares:
            return False
        gateway = self._gateway
        if gateway is None:
            return False
        if not gateway.up:
            self.fall(gateway.state.phase)
            return False
        return True

    def order(self, policy: SharedPolicy, key: str, lot: Lot[Asking]) -> None:
        """Ask for tokens of this key at the end of the loop's turn, once for all that it brings."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._ask_all)
        self._due.append((policy, key, lot))

    def _ask_all(self) -> None:
        due, self._due = self._due, []
        now = self.clock()
        for policy, key, lot in due:
            if not lot.asked:
                self._ask(policy, policy.leases, key, lot, now)

    def _ask(self, policy: SharedPolicy, leases: Leases[Asking], key: str, lot: Lot[Asking], now: float) -> None:
        until = now + self.deadline
        if lot.queue:
            until = lot.queue[0][1].since + self.deadline
            if until < now + LEAST:
                until = now + LEAST
        want, least = leases.order(lot, now)
        policy.questions += 1
        name = bucket_key(self.prefix, policy.name, key, self._hash)
        terms = policy.terms
        command = (b"1", name, terms.interval, terms.depth, b"%d" % want, b"%d" % least)
        gateway = self._gateway
        if gateway is None:
            self._unanswered(policy, leases, key, lot, "closed")
            return
        answer = gateway.run(b"EVALSHA", DIGEST, *command, deadline=until - now)
        whole = False  # the script has been sent as a whole: that is done once

        def answered(answer: asyncio.Future[object]) -> None:
            nonlocal whole
            try:
                granted, debt = told(answer.result(), want, terms.longest)
            except Unavailable as error:
                if error.why == "NOSCRIPT" and not whole:
                    whole = True
                    again = gateway.run(b"EVAL", BUCKET.text, *command, deadline=max(until - self.clock(), LEAST))
                    again.add_done_callback(answered)
                    return
                self._unanswered(policy, leases, key, lot, error.why)
                return
            self._missed = 0
            now = self.clock()
            settled = leases.told(lot, granted, debt, now)
            if lot.owed and not lot.asked:
                self._ask(policy, leases, key, lot, now)
            if len(settled) == 1:
                asking, said = settled[0]
                asking.tell(policy.verdict(key, said))
            else:
                tell = asyncio.get_running_loop().call_soon  # so that what comes of one does not touch the others
                for asking, said in settled:
                    tell(asking.tell, policy.verdict(key, said))

        answer.add_done_callback(answered)

    def forget(self, policy: str, key: str) -> None:
        """Have Redis fill a bucket; if that can not be said, it fills in its time."""
        if self._gateway is not None:
            self._gateway.run("DEL", bucket_key(self.prefix, policy, key, self._hash))

    def _unanswered(self, policy: SharedPolicy, leases: Leases[Asking], key: str, lot: Lot[Asking], why: str) -> None:
        # Of a cluster a part may be away: those whose tokens are there are told at once, and nobody waits.
        if self.shares and not (why in AWAY and self._gateway is not None and self._gateway.up):
            self._miss(why)
        now = self.clock()
        tell = asyncio.get_running_loop().call_soon
        for cost, asking in leases.failed(lot):
            tell(asking.tell, policy.alone(key, cost, now))
