"""Purges of Bunny by the desk that works them off: within the account's limits, and through what goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from balancer.cdn.purging.ticket import Ticket
from balancer.cdn.types import PurgeState
from balancer.http1.tag_fields import spelled
from tests.cdn.bunny.test_provider import bunny
from tests.cdn.fakes.bunny import HOST, FakeBunny
from tests.cdn.purging.desks import BEGIN, Bureau, Scripted, Time


@asynccontextmanager
async def desk(fake: FakeBunny, time: Time, folder: Path) -> AsyncIterator[Bureau]:
    async with bunny(fake, folder) as provider, Bureau(folder / "journal", cast("Scripted", provider), time) as bureau:
        yield bureau


def accepted(ticket: Ticket) -> bool:
    return ticket.state is PurgeState.SUBMITTED and not ticket.verified


@pytest.mark.slow
async def test_many_purges_are_made_as_fast_as_bunny_takes_them_and_no_faster(tmp_path: Path) -> None:
    time = Time()
    urls = [f"https://{HOST}/{folder}/{name}.png" for folder in range(10) for name in range(10)]
    tags = [f"a-tag-of-some-length-{number}" for number in range(40)]
    pages = {f"https://{HOST}/page/{tag}": f"~{spelled(tag, 'bunny')}~" for tag in tags}
    fake = FakeBunny(clock=time, cached=dict.fromkeys(urls, "") | pages | {f"https://{HOST}/kept": "~kept~"})
    async with desk(fake, time, tmp_path) as bureau:
        one = await bureau.order(*(url.removeprefix(f"https://{HOST}") for url in urls))
        two = await bureau.order(*(f"tag:{tag}" for tag in tags))
        assert all(map(accepted, await bureau.done(one, two)))
    assert fake.cached == {f"https://{HOST}/kept": "~kept~"}
    wide = len(urls) + len(tags)
    assert len(fake.asked) == wide + len(urls)  # none was refused, and so made twice
    assert (wide - 20) / 0.5 - 10 <= time.now - BEGIN <= (wide - 20) / 0.5 + 10


async def test_an_account_that_others_use_as_well_is_waited_for(tmp_path: Path) -> None:
    time = Time()
    fake = FakeBunny(clock=time, cached={f"https://{HOST}/a": f"~t{number}~" for number in range(1)})
    fake.prefix.left = 0.0
    async with desk(fake, time, tmp_path) as bureau:
        (ticket,) = await bureau.done(await bureau.order("tag:t0", "tag:t1"))
    assert accepted(ticket)
    assert fake.cached == {}


async def test_what_broke_on_the_way_is_purged_all_the_same(tmp_path: Path) -> None:
    time = Time()
    fake = FakeBunny(clock=time, cached={f"https://{HOST}/a": "~t~"})
    fake.faults.extend(["500 page", "reset", "429 silent", "truncated"])
    async with desk(fake, time, tmp_path) as bureau:
        (ticket,) = await bureau.done(await bureau.order("tag:t"))
    assert accepted(ticket)
    assert (fake.cached, len(fake.asked)) == ({}, 5)


async def test_a_wrong_key_is_not_tried_for_ten_minutes(tmp_path: Path) -> None:
    time = Time()
    fake = FakeBunny(clock=time)
    fake.faults.extend(["401"] * 5)
    async with desk(fake, time, tmp_path) as bureau:
        (ticket,) = await bureau.done(await bureau.order("tag:t"))
    assert ticket.state is PurgeState.FAILED
    assert len(fake.asked) == 1
