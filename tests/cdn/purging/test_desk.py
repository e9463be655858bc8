"""The desk: together, in order, not too fast, again when it failed, and the same call when it may have been heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest

from balancer.cdn.errors import (
    AuthError,
    Full,
    Invalid,
    NotFound,
    QuotaExhausted,
    RateLimited,
    Unavailable,
    Unsupported,
)
from balancer.cdn.purging.desk import MOST_TARGETS
from balancer.cdn.purging.journal import JournalFailed
from balancer.cdn.purging.patterns import target
from balancer.cdn.purging.retries import Pace
from balancer.cdn.purging.ticket import Ticket
from balancer.cdn.types import CALLS, LimitState, PurgeResult, PurgeState
from tests.cdn.purging.desks import BEGIN, Bureau, Polled, Scripted, Time, limit, states

T = TypeVar("T")
TAKEN = PurgeResult(PurgeState.SUBMITTED, "id")
GOES_ON = PurgeResult(PurgeState.IN_PROGRESS, "I1")
AWAY = Unavailable("no answer within 10 s")


def at_work(
    path: Path,
    use: Callable[[Bureau], Awaitable[T]],
    *,
    limits: dict[str, LimitState] | None = None,
    pace: Pace | None = None,
    kind: type[Scripted] = Scripted,
) -> T:
    async def main() -> T:
        time = Time()
        async with Bureau(path / "journal", kind(time, limits), time, pace) as bureau:
            return await use(bureau)

    return asyncio.run(main())


# Together.


def test_purges_that_come_together_go_together(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        first = await bureau.order("/a", "tag:t")
        second = await bureau.order("/b", "tag:t")
        one, two = await bureau.done(first, second)
        assert bureau.provider.sent == ["/a /b", "tag:t"]
        assert bureau.provider.times == [0.25, 0.25]
        assert one.cdn is not None
        assert two.cdn is not None
        assert (one.cdn.accepted, two.cdn.accepted) == (("/a", "tag:t"), ("/b", "tag:t"))
        assert (one.cdn.batches, one.cdn.attempts) == (2, 1)
        assert states([one, two]) == ["submitted", "submitted"]
        assert not one.verified
        assert one.notes == ("tag:t: noted",)

    at_work(tmp_path, use)


def test_what_a_later_purge_covers_is_not_sent_and_is_accepted_with_it(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        tickets = await bureau.done(await bureau.order("/posts/7"), await bureau.order("/posts/*"))
        assert bureau.provider.sent == ["/posts/*"]
        assert [ticket.cdn and ticket.cdn.accepted for ticket in tickets] == [("/posts/7",), ("/posts/*",)]

    at_work(tmp_path, use)


def test_everything_swallows_all_that_waits_before_it(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        waiting = [await bureau.order("/a", "/a/*/b"), await bureau.order("tag:t", soft=True)]
        tickets = await bureau.done(*waiting, await bureau.order("*"))
        assert bureau.provider.sent == ["*"]
        assert states(tickets) == ["submitted"] * 3
        assert tickets[0].cdn is not None
        assert tickets[0].cdn.accepted == ("/a", "/a/*/b")

    at_work(tmp_path, use)


def test_everything_swallows_what_is_tried_again_but_a_soft_one_does_not(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [RateLimited("slow", retry_after_s=100), TAKEN, TAKEN]
        bureau.begin()
        first = await bureau.order("/a")
        await bureau.until(lambda: bureau.provider.calls)
        bureau.time.runs.clear()
        second = await bureau.order("*", soft=True)
        third = await bureau.order("*")
        assert states(await bureau.done(first, second, third)) == ["submitted"] * 3
        assert bureau.provider.sent == ["/a", "*"]
        assert bureau.counts["swallowed"] == 1

    at_work(tmp_path, use)


def test_soft_and_hard_purges_are_other_calls(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        await bureau.done(await bureau.order("/a", soft=True), await bureau.order("/b"))
        assert [(batch.items, batch.soft) for _, batch, _ in bureau.provider.calls] == [
            (("/a",), True),
            (("/b",), False),
        ]

    at_work(tmp_path, use)


def test_a_crowd_that_waits_becomes_its_folder_and_says_so(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        ids = [await bureau.order(*(f"/posts/{part}-{number}" for number in range(67))) for part in range(3)]
        tickets = await bureau.done(*ids)
        assert bureau.provider.sent == ["/posts/*"]
        assert tickets[0].notes == ("/posts/* is purged in the place of more than 200 URLs below it",)
        assert tickets[2].cdn is not None
        assert tickets[2].cdn.accepted == tickets[2].written

    at_work(tmp_path, use)


def test_what_waits_for_the_limit_is_planned_anew_with_what_comes(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.begin()
        first = await bureau.order("tag:a", "/1", "/2", "/3")
        await bureau.until(lambda: bureau.provider.calls)
        bureau.time.runs.clear()
        second = await bureau.order("/4")
        await bureau.done(first, second)
        assert bureau.provider.sent[:2] == ["/1 /2", "tag:a"]
        assert bureau.provider.sent[2:] == ["/3 /4"]

    at_work(tmp_path, use, limits={"urls": limit(2, 0.1)})


# Not too fast.


def test_calls_keep_to_the_limit_of_their_kind_and_do_not_wait_for_another(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        await bureau.done(await bureau.order("/a/*", "/b/*", "/c/*", "tag:t"))
        assert bureau.provider.sent == ["/a/*", "/b/*", "tag:t", "/c/*"]
        assert bureau.provider.times == [0.25, 0.25, 0.25, 2.25]

    at_work(tmp_path, use, limits={"prefix": limit(2, 0.5)})


def test_the_provider_is_believed_when_it_says_how_much_is_left(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [PurgeResult(PurgeState.SUBMITTED, left=0)]
        await bureau.done(await bureau.order("tag:a", "tag:b"))
        assert bureau.provider.times == [0.25, 10.25]

    at_work(tmp_path, use, limits={CALLS: limit(100, 0.1)})


def test_when_there_will_be_more_is_believed_as_well(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [PurgeResult(PurgeState.SUBMITTED, left=0, reset_s=240)]
        await bureau.done(await bureau.order("tag:a", "tag:b"))
        assert bureau.provider.times == [0.25, 240.25]

    at_work(tmp_path, use, limits={CALLS: limit(600, 2)})


def test_to_be_told_to_wait_holds_all_of_the_kind_and_is_no_attempt(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [RateLimited("slow", retry_after_s=17)] * 6
        (ticket,) = await bureau.done(await bureau.order("/a/*", "/b/*", "tag:t"))
        assert bureau.provider.sent[:2] == ["/a/*", "tag:t"]
        assert set(bureau.provider.sent[2:6]) == {"/a/*", "tag:t"}
        assert sorted(bureau.provider.sent[6:]) == ["/a/*", "/b/*", "tag:t"]
        assert ticket.state is PurgeState.SUBMITTED
        assert ticket.cdn is not None
        assert ticket.cdn.attempts == 1

    at_work(tmp_path, use, limits={"prefix": limit(9, 9)}, pace=Pace(attempts=2))


def test_what_may_be_in_progress_is_given_back_when_it_is_done(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [GOES_ON, PurgeResult(PurgeState.IN_PROGRESS, "I2")]
        (ticket,) = await bureau.done(await bureau.order("/a/*", "/b/*"))
        assert bureau.provider.times == [0.25, 5.25]
        assert [(round(at - BEGIN, 3), id_) for at, id_ in bureau.provider.polls] == [(5.25, "I1"), (10.25, "I2")]
        assert ticket.state is PurgeState.COMPLETED

    at_work(tmp_path, use, limits={"prefix": limit(1, 0)}, kind=Polled)


# Again.


def test_a_call_that_failed_is_made_again_as_the_same_one_and_each_time_later(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [AWAY, AWAY, AWAY, AWAY]
        (ticket,) = await bureau.done(await bureau.order("/a"))
        assert len(set(bureau.provider.ids)) == 1
        pauses = [later - at for at, later in pairwise(bureau.provider.times)]
        assert all(0.499 <= pause <= most for pause, most in zip(pauses, (1, 2, 4, 8), strict=True)), pauses
        assert ticket.state is PurgeState.SUBMITTED
        assert ticket.cdn is not None
        assert (ticket.cdn.attempts, ticket.cdn.next_try) == (5, None)
        assert bureau.counts["retried"] == 4

    at_work(tmp_path, use)


def test_what_the_provider_says_of_when_to_come_back_wins(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [Unavailable("busy", retry_after_s=44)]
        await bureau.done(await bureau.order("/a"))
        assert bureau.provider.times == [0.25, 44.25]

    at_work(tmp_path, use)


def test_an_open_ticket_tells_its_error_and_when_it_is_tried_again(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [Unavailable("busy", retry_after_s=44)]
        id_ = await bureau.order("/a")
        before = bureau.desk.find(id_)
        assert before is not None
        assert before.state is PurgeState.QUEUED
        bureau.begin()
        await bureau.until(lambda: bureau.desk.state().error)
        bureau.time.runs.clear()
        found = bureau.desk.find(id_)
        assert found is not None
        assert found.state is PurgeState.IN_PROGRESS
        assert found.cdn is not None
        assert found.cdn.error == "busy"
        assert found.cdn.next_try is not None
        assert found.cdn.next_try.timestamp() == pytest.approx(BEGIN + 44.25)

    at_work(tmp_path, use)


@pytest.mark.parametrize(
    ("answer", "calls"),
    [(Invalid("a bad URL"), 1), (QuotaExhausted("spent"), 1), (AuthError("bad key"), 1), (AWAY, 3)],
)
def test_a_call_is_given_up_when_it_can_not_succeed_or_was_tried_often_enough(
    tmp_path: Path, answer: Exception, calls: int
) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [answer] * 9
        (ticket,) = await bureau.done(await bureau.order("/a"))
        assert len(bureau.provider.calls) == calls
        assert ticket.state is PurgeState.FAILED
        assert ticket.cdn is not None
        assert ticket.cdn.error == str(answer)
        assert ticket.cdn.failed == ("/a",)
        assert not ticket.verified

    at_work(tmp_path, use, pace=Pace(attempts=3))


def test_a_credential_that_is_refused_once_may_be_a_mistake_of_the_provider(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        refused = AuthError("10000", retry_after_s=2)
        bureau.provider.answers = [refused]
        (good,) = await bureau.done(await bureau.order("/a"))
        assert bureau.provider.times == [0.25, 2.25]
        assert good.state is PurgeState.SUBMITTED
        bureau.provider.answers = [refused, refused, refused]
        (bad,) = await bureau.done(await bureau.order("/b"))
        assert len(bureau.provider.calls) == 4
        assert bad.state is PurgeState.FAILED

    at_work(tmp_path, use)


@pytest.mark.slow
def test_a_call_is_given_up_after_a_time(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [RateLimited("slow")] * 500
        (ticket,) = await bureau.done(await bureau.order("/a"))
        assert ticket.state is PurgeState.FAILED
        assert ticket.cdn is not None
        assert ticket.cdn.error == "slow; given up after 600 s"
        assert 30 < bureau.time.now - BEGIN < 601
        assert len(bureau.provider.calls) < 120

    at_work(tmp_path, use)


def test_a_part_that_failed_makes_it_partial_and_can_be_tried_again(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [TAKEN, Invalid("no such tag")]
        (ticket,) = await bureau.done(await bureau.order("/a", "tag:t"))
        assert ticket.state is PurgeState.PARTIAL
        assert ticket.cdn is not None
        assert (ticket.cdn.accepted, ticket.cdn.failed) == (("/a",), ("tag:t",))
        assert not bureau.desk.again(ticket).done
        (anew,) = await bureau.done(ticket.id)
        assert bureau.provider.sent == ["/a", "tag:t", "tag:t"]
        assert len(set(bureau.provider.ids)) == 3
        assert anew.state is PurgeState.SUBMITTED
        assert anew.cdn is not None
        assert (anew.cdn.accepted, anew.cdn.failed, anew.cdn.error) == (("/a", "tag:t"), (), None)

    at_work(tmp_path, use)


def test_what_has_no_form_is_refused_with_the_reason_and_the_rest_goes(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        mixed, none = await bureau.done(await bureau.order("/a", "/a/*/b"), await bureau.order("/x*/y"))
        assert (mixed.state, none.state) == (PurgeState.PARTIAL, PurgeState.PARTIAL)
        assert mixed.cdn is not None
        assert [(one.written, one.reason) for one in mixed.cdn.rejected] == [("/a/*/b", "no star")]
        assert bureau.provider.sent == ["/a"]

    at_work(tmp_path, use)


def test_what_a_provider_leaves_out_of_its_plan_does_not_pass_for_purged(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        (ticket,) = await bureau.done(await bureau.order("host:h"))
        assert ticket.state is PurgeState.PARTIAL
        assert ticket.cdn is not None
        assert ticket.cdn.rejected[0].reason == "the provider has no call for it"

    at_work(tmp_path, use)


def test_a_plan_that_fails_fails_its_tickets_and_no_later_ones(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.faulty = Unsupported("no zone")
        (ticket,) = await bureau.done(await bureau.order("/a"))
        assert ticket.state is PurgeState.FAILED
        assert ticket.cdn is not None
        assert ticket.cdn.error == "no zone"
        bureau.provider.faulty = None
        assert states(await bureau.done(await bureau.order("/a"))) == ["submitted"]

    at_work(tmp_path, use)


def test_a_mistake_of_ours_in_a_plan_does_not_end_the_desk(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.faulty = KeyError("a mistake")
        assert states(await bureau.done(await bureau.order("/a"))) == ["failed"]
        bureau.provider.faulty = None
        assert states(await bureau.done(await bureau.order("/a"))) == ["submitted"]

    at_work(tmp_path, use)


def test_a_mistake_of_ours_in_one_call_does_not_end_the_desk(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [TypeError("a mistake"), TAKEN]
        tickets = await bureau.done(await bureau.order("/a", "tag:t"))
        assert states(tickets) == ["partial"]

    at_work(tmp_path, use)


# Left alone.


def test_a_provider_that_is_away_is_left_alone_and_asked_once_every_thirty_seconds(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [AWAY] * 7
        tickets = await bureau.done(await bureau.order("/a", "/b", "/c", "/d", "tag:t", "tag:u", "/x/*"))
        times = bureau.provider.times
        assert times[:5] == [0.25] * 5
        assert [round(later - at) for at, later in pairwise(times[4:8])] == [30, 30, 30]
        assert states(tickets) == ["submitted"]
        assert bureau.desk.state().breaker == "closed"
        assert bureau.desk.state().opened == 1

    at_work(tmp_path, use)


def test_a_refusal_is_an_answer_and_opens_no_breaker(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [Invalid("bad")] * 8
        await bureau.done(await bureau.order(*(f"tag:{n}" for n in range(8))))
        assert bureau.provider.times == [0.25] * 8

    at_work(tmp_path, use)


@pytest.mark.slow
def test_what_was_never_tried_fails_when_the_provider_is_away_for_too_long(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [AWAY] * 99
        (ticket,) = await bureau.done(await bureau.order(*(f"tag:{n}" for n in range(30))))
        assert ticket.state is PurgeState.FAILED
        assert ticket.cdn is not None
        assert ticket.cdn.error == "no answer within 10 s; given up after 600 s"
        assert len(bureau.provider.calls) < 30
        assert bureau.time.now - BEGIN < 700

    at_work(tmp_path, use)


# How far it is.


def test_it_asks_ever_more_rarely_how_far_a_purge_is_until_it_is_done(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [GOES_ON]
        bureau.provider.polled = [PurgeState.IN_PROGRESS] * 6
        id_ = await bureau.order("/a")
        (ticket,) = await bureau.done(id_)
        times = [round(at - BEGIN - 0.25) for at, _ in bureau.provider.polls]
        assert times == [5, 15, 35, 75, 135, 195, 255]
        assert ticket.state is PurgeState.COMPLETED
        assert ticket.verified
        assert ticket.cdn is not None
        assert (ticket.cdn.provider_ids, ticket.cdn.verified) == (("I1",), True)
        assert len(bureau.provider.calls) == 1

    at_work(tmp_path, use, kind=Polled)


@pytest.mark.slow
def test_it_stops_asking_after_half_an_hour_and_does_not_claim_to_have_seen_it(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [GOES_ON]
        bureau.provider.polled = [PurgeState.IN_PROGRESS] * 99
        (ticket,) = await bureau.done(await bureau.order("/a"))
        assert 1800 <= bureau.time.now - BEGIN < 1900
        assert (ticket.state, ticket.verified) == (PurgeState.SUBMITTED, False)
        assert ticket.warnings == ("scripted did not say in time that I1 is done",)

    at_work(tmp_path, use, kind=Polled)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (NotFound("gone"), PurgeState.SUBMITTED),
        (PurgeState.FAILED, PurgeState.FAILED),
        (PurgeState.SUBMITTED, PurgeState.SUBMITTED),
        (AWAY, PurgeState.COMPLETED),
        (AuthError("bad"), PurgeState.COMPLETED),
    ],
)
def test_what_it_hears_of_a_purge_decides(tmp_path: Path, answer: PurgeState | Exception, state: PurgeState) -> None:
    async def use(bureau: Bureau) -> None:
        bureau.provider.answers = [GOES_ON]
        bureau.provider.polled = [answer]
        (ticket,) = await bureau.done(await bureau.order("/a"))
        assert ticket.state is state

    at_work(tmp_path, use, kind=Polled)


def test_a_second_purge_follows_after_a_time_where_that_is_wanted(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        await bureau.done(await bureau.order("/a"))
        await bureau.until(lambda: len(bureau.provider.calls) == 2 and bureau.desk.state().calls == 0)
        assert bureau.provider.sent == ["/a", "/a"]
        assert bureau.provider.times == [0.25, 8.25]
        assert len(set(bureau.provider.ids)) == 2

    at_work(tmp_path, use, pace=Pace(settle=8))


# The next life.


def test_an_unfinished_ticket_goes_on_in_the_next_life_with_the_same_call(tmp_path: Path) -> None:
    async def before(bureau: Bureau) -> tuple[str, list[str]]:
        bureau.provider.answers = [TAKEN, AWAY]
        bureau.begin()
        id_ = await bureau.order("/a", "tag:t")
        await bureau.until(lambda: bureau.counts["retried"])
        bureau.time.runs.clear()
        await bureau.until(lambda: len(bureau.provider.calls) == 2)
        return id_, bureau.provider.ids

    async def after(bureau: Bureau) -> None:
        left = await bureau.journal.unfinished()
        assert bureau.desk.adopt(*left) == []
        (ticket,) = await bureau.done(id_)
        assert bureau.provider.sent == ["tag:t"]
        assert bureau.provider.ids == ids[1:2]
        assert ticket.state is PurgeState.SUBMITTED
        assert ticket.cdn is not None
        assert ticket.cdn.accepted == ("/a", "tag:t")
        assert not (await bureau.journal.unfinished()).tickets
        assert not (await bureau.journal.unfinished()).sendings
        kept = await bureau.journal.find(id_)
        assert kept is not None
        assert kept == ticket

    id_, ids = at_work(tmp_path, before)
    at_work(tmp_path, after)


def test_a_ticket_that_was_never_planned_is_planned_in_the_next_life(tmp_path: Path) -> None:
    id_ = at_work(tmp_path, lambda bureau: bureau.order("/a"))

    async def after(bureau: Bureau) -> None:
        bureau.desk.adopt(*await bureau.journal.unfinished())
        assert states(await bureau.done(id_)) == ["submitted"]

    at_work(tmp_path, after)


def test_a_purge_in_progress_is_asked_for_in_the_next_life_and_not_sent_again(tmp_path: Path) -> None:
    async def before(bureau: Bureau) -> str:
        bureau.provider.answers = [GOES_ON]
        bureau.provider.polled = [PurgeState.IN_PROGRESS] * 99
        bureau.begin()
        id_ = await bureau.order("/a")
        await bureau.until(lambda: bureau.provider.polls)
        return id_

    async def after(bureau: Bureau) -> None:
        bureau.desk.adopt(*await bureau.journal.unfinished())
        assert bureau.desk.state().limits["urls"].left == 1
        (ticket,) = await bureau.done(id_)
        assert bureau.provider.calls == []
        assert [name for _, name in bureau.provider.polls] == ["I1"]
        assert (ticket.state, ticket.verified) == (PurgeState.COMPLETED, True)

    id_ = at_work(tmp_path, before, kind=Polled, limits={"urls": limit(2, 0)})
    at_work(tmp_path, after, kind=Polled, limits={"urls": limit(2, 0)})


def test_what_was_for_another_provider_fails_and_says_so(tmp_path: Path) -> None:
    async def before(bureau: Bureau) -> str:
        bureau.provider.answers = [Unavailable("busy", retry_after_s=500), AWAY, AWAY]
        bureau.begin()
        id_ = await bureau.order("/a", "tag:t")
        await bureau.until(lambda: bureau.counts["retried"] == 2)
        return id_

    class Other(Scripted):
        def __init__(self, time: Callable[[], float], limits: object = None) -> None:
            super().__init__(time)
            self.name = "other"

    async def after(bureau: Bureau) -> None:
        assert len(bureau.desk.adopt(*await bureau.journal.unfinished())) == 2
        (ticket,) = await bureau.done(id_)
        assert ticket.state is PurgeState.FAILED
        assert ticket.cdn is not None
        assert ticket.cdn.error == "it was for scripted, and the provider is other now"
        bureau.desk.again(ticket)
        (anew,) = await bureau.done(id_)
        assert anew.state is PurgeState.SUBMITTED
        assert anew.cdn is not None
        assert anew.cdn.provider == "other"

    id_ = at_work(tmp_path, before)
    at_work(tmp_path, after, kind=Other)


def test_without_a_journal_everything_goes_on_and_the_ticket_says_that_it_will_not_last(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()

    async def use(bureau: Bureau) -> None:
        with pytest.raises(JournalFailed):
            await bureau.order("/a")
        bureau.desk.take(Ticket("pg_1", PurgeState.QUEUED, datetime.now(UTC), (target("/a"),)))
        (ticket,) = await bureau.done("pg_1")
        assert ticket.state is PurgeState.SUBMITTED
        assert not ticket.durable
        assert "does not outlive" in ticket.warnings[0]

    at_work(tmp_path, use)


@pytest.mark.slow
def test_only_so_much_waits(tmp_path: Path) -> None:
    async def use(bureau: Bureau) -> None:
        for part in range(MOST_TARGETS // 1000):
            await bureau.order(*(f"/{part}/{number}" for number in range(1000)))
        with pytest.raises(Full) as full:
            bureau.desk.check_room(1)
        assert full.value.retry_after_s == 30

    at_work(tmp_path, use)
