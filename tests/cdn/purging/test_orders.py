"""An order on its way: the journal, the own cache, and only then the CDN."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from balancer.cache.purges import EVERYTHING, Purge
from balancer.cache.receipts import LevelReceipt, PurgeReceipt
from balancer.cdn.errors import Conflict, Full, Invalid, NotFound, Unavailable
from balancer.cdn.purging.desk import MOST_TARGETS
from balancer.cdn.purging.journal import Journal
from balancer.cdn.purging.orders import Clocks, Orders
from balancer.cdn.purging.own import Places
from balancer.cdn.purging.patterns import BadOrder
from balancer.cdn.purging.retries import Pace
from balancer.cdn.purging.ticket import LevelCount, PurgeOrder, Scope, Ticket
from balancer.cdn.types import Capability, PurgeResult, PurgeState
from tests.cdn.purging.desks import Scripted, Time

T = TypeVar("T")


class Cache:
    """The own cache: what it was told, in one list with what others were told."""

    def __init__(self, heard: list[str]) -> None:
        self.heard = heard
        self.purges: list[Purge] = []
        self.redis: str | None = None
        """Why the second level does not take purges."""
        self.holds: asyncio.Event | None = None
        """It answers when this is set."""

    async def purge(self, purges: Sequence[Purge]) -> list[PurgeReceipt]:
        self.heard.append("own")
        if self.holds is not None:
            await self.holds.wait()
        self.purges += purges
        redis = LevelReceipt("redis", self.redis is None, None, 0.0, self.redis)
        return [PurgeReceipt(one, (LevelReceipt("memory", True, 2, 0.0), redis)) for one in purges]


class Room:
    """Orders with all that is around them."""

    def __init__(self, path: Path, provider: Scripted, time: Time) -> None:
        self.heard: list[str] = []
        self.cache = Cache(self.heard)
        self.time = time
        self.provider = provider
        self.journal = Journal(path, time)
        self.orders = Orders(self.journal, self.cache, Clocks(time, time, Random(3), time.pause))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
                await asyncio.sleep(0)

    async def done(self, id_: str) -> PurgeState:
        async with asyncio.timeout(20):
            while not (ticket := await self.orders.find(id_)).done:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0)
        return ticket.state


class Here(Scripted):
    """The balancer itself."""

    def __init__(self, time: Time) -> None:
        super().__init__(time)
        self.name = "local"


def at_work(
    path: Path, use: Callable[[Room], Awaitable[T]], kind: Callable[[Time], Scripted] = Scripted, start: bool = True
) -> T:
    async def main() -> T:
        time = Time()
        room = Room(path / "journal", kind(time), time)
        try:
            if start:
                await room.orders.start(room.provider, Pace())
            return await use(room)
        finally:
            await room.orders.close()

    return asyncio.run(main())


def test_the_own_cache_is_purged_before_the_cdn_is_told(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        ticket = await room.orders.place(PurgeOrder(patterns=("/a", "/b/*")), author="somebody")
        assert room.cache.purges == [Purge("path", b"/a"), Purge("prefix", b"/b/")]
        assert room.provider.calls == []
        assert ticket.state is PurgeState.QUEUED
        assert ticket.own == (LevelCount("memory", True, 4), LevelCount("redis", True, None))
        assert (ticket.author, ticket.durable, ticket.verified) == ("somebody", True, False)
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        assert room.provider.sent == ["/a", "/b/*"]

    at_work(tmp_path, use)


def test_the_ticket_is_in_the_journal_before_anything_happens(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.cache.holds = asyncio.Event()
        placing = asyncio.ensure_future(room.orders.place(PurgeOrder(patterns=("/a",))))
        await room.until(lambda: room.heard)
        assert [ticket.written for ticket in await room.journal.latest(9)] == [("/a",)]
        placing.cancel()

    at_work(tmp_path, use)

    async def after(room: Room) -> None:
        (ticket,) = await room.orders.latest(9)
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        assert room.cache.purges == [Purge("path", b"/a")]
        assert room.provider.sent == ["/a"]

    at_work(tmp_path, after)


def test_who_goes_away_while_the_own_cache_is_purged_has_ordered_it_all_the_same(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.cache.holds = asyncio.Event()
        placing = asyncio.ensure_future(room.orders.place(PurgeOrder(patterns=("/a",))))
        await room.until(lambda: room.heard)
        placing.cancel()
        await asyncio.wait([placing])
        room.cache.holds.set()
        await room.until(lambda: room.provider.sent == ["/a"])
        (ticket,) = await room.orders.latest(9)
        assert await room.done(ticket.id) is PurgeState.SUBMITTED

    at_work(tmp_path, use)


def test_an_order_that_another_configuration_came_upon_is_carried_out_by_that(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.cache.holds = asyncio.Event()
        placing = asyncio.ensure_future(room.orders.place(PurgeOrder(patterns=("/a",))))
        await room.until(lambda: room.heard)
        await room.orders.stop()
        assert (await placing).state is PurgeState.QUEUED
        room.cache.holds.set()
        await room.orders.start(room.provider, Pace())
        (ticket,) = await room.orders.latest(9)
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        assert (room.heard, room.provider.sent) == (["own", "own"], ["/a"])

    at_work(tmp_path, use)


class Slow(Journal):
    """A journal that has written, and does not say so yet."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        super().__init__(path, wall)
        self.added = asyncio.Event()
        self.says = asyncio.Event()

    async def add(self, ticket: Ticket, key: str = "", digest: bytes = b"") -> Ticket:
        added = await super().add(ticket, key, digest)
        self.added.set()
        await self.says.wait()
        return added


def slowly(room: Room, path: Path) -> Slow:
    """The same room with that journal."""
    journal = Slow(path / "slow", room.time)
    room.journal = journal
    room.orders = Orders(journal, room.cache, Clocks(room.time, room.time, Random(3), room.time.pause))
    return journal


def test_an_order_that_is_being_written_while_the_configuration_changes_is_carried_out_once(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        journal = slowly(room, tmp_path)
        await room.orders.start(room.provider, Pace())
        placing = asyncio.ensure_future(room.orders.place(PurgeOrder(patterns=("/a",))))
        await journal.added.wait()
        other = Scripted(room.time)
        # Its first call has to be tried again: a second ticket of the same name in its place would be met by that.
        other.answers = [Unavailable("it is away")]

        async def change() -> None:
            await room.orders.stop()
            await room.orders.start(other, Pace())

        changing = asyncio.ensure_future(change())
        for _ in range(20):
            await asyncio.sleep(0)
        journal.says.set()
        await changing
        ticket = await placing
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        assert (room.provider.sent, other.sent) == ([], ["/a", "/a"])
        assert len({id_ for _, _, id_ in other.calls}) == 1
        assert (room.heard, room.orders.failure) == (["own"], None)
        later = await room.orders.place(PurgeOrder(patterns=("/b",)))
        assert await room.done(later.id) is PurgeState.SUBMITTED
        state = room.orders.desk
        assert state is not None
        assert (state.tickets, state.calls) == (0, 0)

    at_work(tmp_path, use, start=False)


def test_an_order_that_no_journal_keeps_is_handed_to_the_next_configuration(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()

    async def use(room: Room) -> None:
        room.cache.holds = asyncio.Event()
        placing = asyncio.ensure_future(room.orders.place(PurgeOrder(patterns=("/a",))))
        await room.until(lambda: room.heard)
        await room.orders.stop()
        ticket = await placing
        assert (await room.orders.find(ticket.id)).id == ticket.id
        await room.orders.start(room.provider, Pace())
        await room.orders.stop()
        room.cache.holds.set()
        await room.orders.start(room.provider, Pace())
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        assert (room.cache.purges, room.provider.sent) == ([Purge("path", b"/a")], ["/a"])

    at_work(tmp_path, use)


def test_a_call_that_two_changes_came_upon_is_made_again_under_its_name(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.provider.answers = [Unavailable("it is away")]
        ticket = await room.orders.place(PurgeOrder(patterns=("/a",)))
        await room.until(lambda: room.provider.calls)
        room.time.runs.clear()
        # Its own cache keeps the next desk waiting before that takes over, and so the one after finds an empty one.
        room.cache.holds = asyncio.Event()
        waiting = asyncio.ensure_future(room.orders.place(PurgeOrder(patterns=("/b",))))
        await room.until(lambda: len(room.heard) == 2)
        for _ in range(2):
            await room.orders.stop()
            await room.orders.start(room.provider, Pace())
        await waiting
        room.cache.holds.set()
        room.time.runs.set()
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        mine = [id_ for _, batch, id_ in room.provider.calls if batch.items == ("/a",)]
        assert len(mine) == 2
        assert len(set(mine)) == 1

    at_work(tmp_path, use)


def test_a_ticket_that_is_open_is_not_taken_again(tmp_path: Path) -> None:
    async def main() -> None:
        time = Time()
        journal = Journal(tmp_path / "journal", time)
        await journal.open()
        provider = Scripted(time)
        provider.answers = [Unavailable("it is away")]
        orders = Orders(journal, Cache([]), Clocks(time, time, Random(3), time.pause))
        await orders.start(provider, Pace())
        ticket = await orders.place(PurgeOrder(patterns=("/a",)))
        async with asyncio.timeout(20):
            while not provider.calls:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0)
            assert orders._desk is not None
            orders._desk.take(ticket)
            while (state := orders.desk) is not None and state.calls:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0)
        assert (await orders.find(ticket.id)).done
        assert (orders.failure, provider.sent) == (None, ["/a", "/a"])
        await orders.close()

    asyncio.run(main())


def test_a_bad_order_does_nothing_at_all(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        for order in (PurgeOrder(), PurgeOrder(patterns=("/good", "bad")), PurgeOrder(patterns=("*",))):
            with pytest.raises(BadOrder):
                await room.orders.place(order)
        assert room.heard == []
        assert await room.orders.latest(9) == []

    at_work(tmp_path, use)


@pytest.mark.parametrize(
    ("scope", "own", "calls", "state"),
    [
        (("own",), 1, 0, PurgeState.COMPLETED),
        (("cdn",), 0, 1, PurgeState.SUBMITTED),
        (("own", "cdn"), 1, 1, PurgeState.SUBMITTED),
    ],
)
def test_an_order_is_for_those_whom_it_names(
    tmp_path: Path, scope: tuple[Scope, ...], own: int, calls: int, state: PurgeState
) -> None:
    async def use(room: Room) -> None:
        ticket = await room.orders.place(PurgeOrder(patterns=("/a",), scope=scope))
        assert await room.done(ticket.id) is state
        assert (len(room.cache.purges), len(room.provider.calls)) == (own, calls)
        assert (await room.orders.find(ticket.id)).verified is (scope == ("own",))

    at_work(tmp_path, use)


def test_at_the_balancer_itself_the_own_cache_is_all_there_is(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        ticket = await room.orders.place(PurgeOrder(everything=True))
        assert (ticket.state, ticket.verified, ticket.cdn) == (PurgeState.COMPLETED, True, None)
        assert room.cache.purges == [EVERYTHING]
        elsewhere = await room.orders.place(PurgeOrder(patterns=("/a",), scope=("cdn",)))
        assert (elsewhere.verified, elsewhere.notes) == (
            False,
            ("there is no CDN apart from the balancer: nothing was purged",),
        )
        assert room.provider.calls == []
        assert room.orders.desk is None

    at_work(tmp_path, use, Here)


def test_a_level_that_does_not_take_it_is_told_and_nothing_is_verified(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.cache.redis = "it is away"
        ticket = await room.orders.place(PurgeOrder(patterns=("/a", "/b")))
        assert (ticket.state, ticket.verified) == (PurgeState.PARTIAL, False)
        assert ticket.warnings == ("redis: it is away",)

    at_work(tmp_path, use, Here)


def test_an_order_that_waits_is_done_when_it_is_answered(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        # The clock jumps to what is waited for: only that it comes to an end can be seen here.
        ticket = await room.orders.place(PurgeOrder(patterns=("/a",), wait_s=30))
        assert ticket.id.startswith("pg_")
        assert await room.done(ticket.id) is PurgeState.SUBMITTED

    at_work(tmp_path, use)


def test_the_same_key_gives_the_same_ticket_and_never_for_another_order_or_author(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        order = PurgeOrder(patterns=("/a", "/b"))
        first = await room.orders.place(order, author="one", key="k")
        again = await room.orders.place(PurgeOrder(paths=("/b", "/a")), author="one", key="k")
        other = await room.orders.place(order, author="two", key="k")
        assert again.id == first.id
        assert other.id != first.id
        assert room.heard == ["own", "own"]
        for different in (PurgeOrder(patterns=("/a",)), PurgeOrder(patterns=("/a", "/b"), soft=True)):
            with pytest.raises(Conflict, match=first.id):
                await room.orders.place(different, author="one", key="k")
        assert room.heard == ["own", "own"]

    at_work(tmp_path, use)


def test_with_a_broken_disk_the_own_cache_is_purged_and_the_answer_says_that_the_ticket_will_not_last(
    tmp_path: Path,
) -> None:
    (tmp_path / "journal").mkdir()

    async def use(room: Room) -> None:
        ticket = await room.orders.place(PurgeOrder(patterns=("/a",)))
        assert room.cache.purges == [Purge("path", b"/a")]
        assert not ticket.durable
        assert "does not outlive the process" in ticket.warnings[0]
        assert room.orders.journal_failure is not None
        await room.until(lambda: room.provider.calls)
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        assert [one.id for one in await room.orders.latest(9)] == [ticket.id]
        with pytest.raises(NotFound, match="can not be read"):
            await room.orders.find("pg_none")

    at_work(tmp_path, use)


def test_what_has_failed_is_tried_again_when_somebody_says_so(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.provider.answers = [Invalid("bad")]
        ticket = await room.orders.place(PurgeOrder(patterns=("/a",)))
        with pytest.raises(Conflict, match="queued"):
            await room.orders.again(ticket.id)
        assert await room.done(ticket.id) is PurgeState.FAILED
        await room.orders.again(ticket.id)
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        with pytest.raises(Conflict, match="submitted"):
            await room.orders.again(ticket.id)
        with pytest.raises(NotFound, match="7 days"):
            await room.orders.again("pg_none")

    at_work(tmp_path, use)


def test_pictures_on_disk_go_before_the_cache_in_front_of_them(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        async def forget(means: Callable[[str, Collection[str]], bool] | None) -> int:
            room.heard.append("pictures" if means is not None and means("image/a.png", ()) else "others")
            return 3

        await room.orders.start(room.provider, Pace(), Places("/cdn/", "/img/"), forget)
        ticket = await room.orders.place(PurgeOrder(patterns=("/cdn/image/*",)))
        assert room.heard == ["pictures", "own"]
        assert ticket.own[-1] == LevelCount("pictures", True, 3)
        soft = await room.orders.place(PurgeOrder(patterns=("/cdn/image/*",), soft=True))
        assert room.heard[2:] == ["own"]
        assert [level.level for level in soft.own] == ["memory", "redis"]

    at_work(tmp_path, use, Here, start=False)


def test_another_configuration_of_the_same_provider_goes_on_with_what_is_left(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.time.runs.clear()
        ticket = await room.orders.place(PurgeOrder(patterns=("/a",)))
        await room.orders.stop()
        with pytest.raises(Unavailable, match="order it again"):
            await room.orders.place(PurgeOrder(patterns=("/a",)))
        other = Scripted(room.time)
        await room.orders.start(other, Pace())
        room.time.runs.set()
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        assert (room.provider.sent, other.sent) == ([], ["/a"])

    at_work(tmp_path, use)


def test_what_is_counted_is_of_the_provider_in_force(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        ticket = await room.orders.place(PurgeOrder(patterns=("/a",)))
        assert await room.done(ticket.id) is PurgeState.SUBMITTED
        assert room.orders.counts["submitted"] == 1
        await room.orders.stop()
        await room.orders.start(Here(room.time), Pace())
        assert room.orders.counts["submitted"] == 0
        await room.orders.stop()
        await room.orders.start(room.provider, Pace())
        assert room.orders.counts["submitted"] == 1

    at_work(tmp_path, use)


def test_what_was_left_by_a_cdn_is_not_called_done_when_there_is_none_any_more(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.provider.answers = [PurgeResult(PurgeState.SUBMITTED), Full("no", retry_after_s=60)]
        ticket = await room.orders.place(PurgeOrder(patterns=("/a", "tag:t")))
        await room.until(lambda: len(room.provider.calls) == 1)
        room.time.runs.clear()
        await room.orders.stop()
        await room.orders.start(Here(room.time), Pace())
        assert await room.done(ticket.id) is PurgeState.PARTIAL
        assert "was for scripted as well" in (await room.orders.find(ticket.id)).warnings[0]

    at_work(tmp_path, use)


@pytest.mark.slow
def test_an_order_that_finds_no_room_does_nothing(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.time.runs.clear()
        for part in range(MOST_TARGETS // 1000):
            await room.orders.place(PurgeOrder(paths=tuple(f"/{part}/{number}" for number in range(1000))))
        heard = len(room.heard)
        with pytest.raises(Full):
            await room.orders.place(PurgeOrder(paths=("/one-more",)))
        await room.orders.place(PurgeOrder(paths=("/one-more",), scope=("own",)))
        assert len(room.heard) == heard + 1

    at_work(tmp_path, use)


class Unpaid(Scripted):
    """Without what purges need."""

    capabilities = Capability.UPLOAD


def test_a_cdn_that_takes_no_purges_is_told_at_once(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        ticket = await room.orders.place(PurgeOrder(patterns=("/a",)))
        assert (ticket.state, room.cache.purges) == (PurgeState.FAILED, [Purge("path", b"/a")])
        assert ticket.cdn is not None
        assert (ticket.cdn.failed, ticket.cdn.error) == (
            ("/a",),
            "scripted takes no purges as it is configured: see its status",
        )

    at_work(tmp_path, use, Unpaid)


def test_what_is_left_of_a_ticket_whose_cdn_is_gone_can_be_tried_when_it_is_back(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        room.provider.answers = [Unavailable("no answer")] * 2
        ticket = await room.orders.place(PurgeOrder(patterns=("/a",)))
        await room.until(lambda: room.provider.calls)
        await room.orders.stop()
        await room.orders.start(Here(room.time), Pace())
        assert await room.done(ticket.id) is PurgeState.PARTIAL
        left = (await room.orders.find(ticket.id)).cdn
        assert left is not None
        assert (left.failed, left.next_try) == (("/a",), None)
        await room.orders.stop()
        room.provider.answers = []
        await room.orders.start(room.provider, Pace())
        await room.orders.again(ticket.id)
        await room.until(lambda: room.provider.sent[-1:] == ["/a"] and len(room.provider.calls) > 1)

    at_work(tmp_path, use)


def test_the_journal_has_no_idempotency_key_in_clear(tmp_path: Path) -> None:
    async def use(room: Room) -> None:
        await room.orders.place(PurgeOrder(patterns=("/a",)), author="somebody", key="orders-4711-key")

    at_work(tmp_path, use)
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"/a" in kept
    assert b"orders-4711-key" not in kept
