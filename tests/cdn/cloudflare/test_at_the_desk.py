"""Purges of Cloudflare by the desk that works them off: within the plan's limits, and through what goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from balancer.cdn.purging.ticket import Ticket
from balancer.cdn.types import PurgeState
from tests.cdn.cloudflare.accounts import account
from tests.cdn.fakes.cloudflare import FakeCloudflare
from tests.cdn.purging.desks import BEGIN, Bureau, Scripted, Time

SITE = "https://www.example.com"


@asynccontextmanager
async def desk(fake: FakeCloudflare, time: Time, folder: Path, **changed: object) -> AsyncIterator[Bureau]:
    async with account(fake, **changed) as provider:
        async with Bureau(folder / "journal", cast("Scripted", provider), time) as bureau:
            yield bureau


def accepted(ticket: Ticket) -> bool:
    return ticket.state is PurgeState.SUBMITTED and not ticket.verified


async def test_more_purges_than_a_free_plan_takes_are_made_as_fast_as_it_takes_them(tmp_path: Path) -> None:
    time = Time()
    fake = FakeCloudflare(clock=time)
    tags = [f"t{number}" for number in range(40 * 30)]  # 40 calls: 25 at once, and 15 more at 5 a minute
    fake.cached = {f"{SITE}/{tag}": frozenset((tag,)) for tag in tags} | {f"{SITE}/kept": frozenset(("kept",))}
    async with desk(fake, time, tmp_path) as bureau:
        tickets = [await bureau.order(*(f"tag:{tag}" for tag in tags[part::2])) for part in (0, 1)]
        assert all(map(accepted, await bureau.done(*tickets)))
    assert set(fake.cached) == {f"{SITE}/kept"}
    assert len(fake.received) == 40  # none was refused, and so made twice
    assert 15 * 12 - 5 <= time.now - BEGIN <= 15 * 12 + 5


async def test_files_do_not_wait_for_the_kinds_that_have_fewer_calls(tmp_path: Path) -> None:
    time = Time()
    fake = FakeCloudflare(clock=time)
    fake.cached = {f"{SITE}/{number}": frozenset() for number in range(300)}
    async with desk(fake, time, tmp_path, batch=10) as bureau:
        ticket = await bureau.order(*(f"/{number}" for number in range(300)))
        (done,) = await bureau.done(ticket)
    assert accepted(done)
    kinds = [one.body.split(b'"')[1] for one in fake.received]
    assert sorted(kinds) == [b"files"] * 30 + [b"prefixes"] * 30
    assert kinds[-5:] == [b"prefixes"] * 5  # which came when the bucket had filled


async def test_what_broke_on_the_way_is_purged_all_the_same(tmp_path: Path) -> None:
    time = Time()
    fake = FakeCloudflare(clock=time)
    fake.cached = {f"{SITE}/a": frozenset(("t",))}
    fake.faults.extend(["502 page", "reset in mid-body", "429", "429 without a word", "truncated"])
    async with desk(fake, time, tmp_path) as bureau:
        (ticket,) = await bureau.done(await bureau.order("tag:t"))
    assert accepted(ticket)
    assert (fake.cached, len(fake.received)) == ({}, 6)


@pytest.mark.parametrize(("times", "state"), [(1, PurgeState.SUBMITTED), (2, PurgeState.FAILED)])
async def test_a_refusal_of_the_token_is_believed_the_second_time(
    tmp_path: Path, times: int, state: PurgeState
) -> None:
    time = Time()
    fake = FakeCloudflare(clock=time)
    fake.faults.extend(["401"] * times)
    async with desk(fake, time, tmp_path) as bureau:
        (ticket,) = await bureau.done(await bureau.order("tag:t"))
    assert (ticket.state, len(fake.received)) == (state, 2)
    assert time.now - BEGIN >= 2


async def test_what_has_no_form_is_told_and_the_rest_is_purged(tmp_path: Path) -> None:
    time = Time()
    fake = FakeCloudflare(clock=time)
    fake.cached = {f"{SITE}/a/1/b": frozenset(), f"{SITE}/c": frozenset()}
    async with desk(fake, time, tmp_path) as bureau:
        (ticket,) = await bureau.done(await bureau.order("/a/*/b", "/c"))
    assert ticket.state is PurgeState.PARTIAL
    assert set(fake.cached) == {f"{SITE}/a/1/b"}
