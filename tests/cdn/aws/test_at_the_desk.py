"""Purges of CloudFront by the desk that works them off: what is in progress at once, seen to the end, and paid once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from balancer.cdn.aws.provider import AwsProvider
from balancer.cdn.types import PurgeState
from tests.cdn.aws.test_provider import settings
from tests.cdn.fakes.aws import FakeAws, Fault
from tests.cdn.purging.desks import Bureau, Scripted, Time

pytestmark = pytest.mark.slow


@asynccontextmanager
async def desk(fake: FakeAws, folder: Path, **aws: object) -> AsyncIterator[Bureau]:
    provider = AwsProvider(settings(fake.url, folder, **aws))
    await provider.start()
    async with Bureau(folder / "journal", cast("Scripted", provider), Time()) as bureau:
        yield bureau
    await provider.close()


async def test_what_is_too_much_at_once_waits_until_something_is_done(tmp_path: Path) -> None:
    async with FakeAws().running() as fake:
        fake.polls_to_done = 2
        async with desk(fake, tmp_path) as bureau:
            ids = [await bureau.order(f"/folder-{number}/*") for number in range(40)]
            tickets = await bureau.done(*ids)
        assert {(ticket.state, ticket.verified) for ticket in tickets} == {(PurgeState.COMPLETED, True)}
        assert fake.operations().count("create_invalidation") == 3  # none was refused, and so made twice
        assert (fake.most_open, fake.billed) == ([15, 0], 40)


async def test_what_others_have_in_progress_is_waited_for(tmp_path: Path) -> None:
    async with FakeAws().running() as fake:
        fake.polls_to_done = 1
        fault = Fault("create_invalidation", "refuse", 400, "TooManyInvalidationsInProgress", times=7)
        fake.faults.append(fault)
        async with desk(fake, tmp_path) as bureau:
            before = bureau.time.now
            (ticket,) = await bureau.done(await bureau.order("/posts/*"))
            waited = bureau.time.now - before
        assert (ticket.state, ticket.verified) == (PurgeState.COMPLETED, True)
        assert waited >= 7 * 30


async def test_an_answer_that_is_lost_is_not_paid_twice(tmp_path: Path) -> None:
    async with FakeAws().running() as fake:
        fake.polls_to_done = 1
        fake.faults += [Fault("create_invalidation", "reset"), Fault("create_invalidation", "fine, and lost")]
        async with desk(fake, tmp_path) as bureau:
            (ticket,) = await bureau.done(await bureau.order("/a?x", "tag:home"))
        assert (ticket.state, ticket.verified) == (PurgeState.COMPLETED, True)
        assert fake.operations().count("create_invalidation") == 3
        assert (fake.billed, len(fake.invalidations)) == (2, 1)


async def test_what_may_not_be_spent_fails_and_says_so(tmp_path: Path) -> None:
    async with FakeAws().running() as fake:
        async with desk(fake, tmp_path, most_paths=1) as bureau:
            (ticket,) = await bureau.done(await bureau.order("/a?x", "/b?x"))
        assert ticket.state is PurgeState.FAILED
        assert ticket.cdn is not None
        assert "cdn.aws.most_paths is 1" in str(ticket.cdn.error)
        assert fake.billed == 0
