"""The reports over HTTP: parameters, names, tables, and what is answered when figures can not be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from balancer.analytics.source import SourceAway, TimedOut
from config.schema import Analytics, AppDatabase
from tests.analytics import seeded
from tests.api.desk import Desk

pytestmark = pytest.mark.slow
ANALYTICS = "/api/monitoring/analytics"
MARCH = "from=2026-03-01&to=2026-03-30&timezone=Europe/Berlin"


@pytest.fixture
async def served(desk: Desk) -> AsyncIterator[Desk]:
    """With the seeded community's database, and a store without events."""
    url = await asyncio.to_thread(lambda: seeded.template().url("community", "reader", "a-secret-of-the-reader"))
    rules = {"post_viewed": {"match": [{"path": "/posts/{post}"}]}}
    settings = Analytics.model_validate({"events": rules, "database": {"url": url, "tables_in": "app"}})
    service = desk.services.analytics
    await service.change(settings)
    assert service.desk is not None
    await asyncio.wait_for(service.desk.opened.wait(), 15)
    yield desk
    await service.close()


async def report(desk: Desk, name: str, query: str = MARCH, role: Any = "viewer") -> dict[str, Any]:
    answer = await desk.ask("GET", f"{ANALYTICS}/{name}?{query}", role=role)
    assert answer.status == 200, answer.content
    found: dict[str, Any] = answer.document  # type: ignore[assignment]  # an object
    return found


async def test_a_report_has_its_period_its_source_and_the_one_before(served: Desk) -> None:
    found = await report(served, "user-growth")
    assert (found["from"], found["to"]) == ("2026-03-01T00:00:00+01:00", "2026-03-31T00:00:00+02:00")
    assert (found["source"], found["interval"], len(found["series"])) == ("sql", "day", 30)
    growth = found["summary"]["new_users"]
    assert growth["value"] == sum(bucket["new_users"] for bucket in found["series"])
    before = await report(served, "user-growth", "from=2026-01-30&to=2026-02-28&timezone=Europe/Berlin")
    assert growth["previous"] == before["summary"]["new_users"]["value"]
    assert growth["change"] == pytest.approx((growth["value"] - growth["previous"]) / growth["previous"], abs=1e-4)
    again = await report(served, "user-growth")
    assert (found["cached"], again["cached"]) == (False, True)
    cohort = again["tables"]["retention"][0]
    assert set(cohort) == {"cohort", "size", "weeks"}
    assert (await report(served, "user-growth", f"{MARCH}&compare=none"))["summary"]["new_users"]["previous"] is None


async def test_every_report_and_the_summary_of_all_are_of_the_database(served: Desk) -> None:
    answer = await served.ask("GET", f"{ANALYTICS}?{MARCH}", role="viewer")
    reports: Any = answer.at("reports")
    assert {name: part["source"] for name, part in reports.items()} == dict.fromkeys(reports, "sql")
    assert len(reports) == 8
    unknown = {f"{r}.{n}" for r, part in reports.items() for n, m in part["summary"].items() if m["value"] is None}
    assert unknown == {"users.seen_30d"}  # of a period that is long over


async def test_names_are_for_admins_and_others_see_the_same_hash_each_time(served: Desk) -> None:
    for name, table, columns in (
        ("users", "top", ("id", "username")),
        ("moderation", "moderators", ("moderator_id", "username")),
        ("post-activity", "top", ("author_id",)),
    ):
        shown = (await report(served, name, role="admin"))["tables"][table][0]
        hidden = (await report(served, name, role="operator"))["tables"][table][0]
        for column in columns:
            assert shown[column] != hidden[column]
            assert hidden[column] is None if column == "username" else len(str(hidden[column])) == 16
    authors = {row["author_id"] for row in (await report(served, "post-activity"))["tables"]["top"]}
    again = {row["author_id"] for row in (await report(served, "post-activity"))["tables"]["top"]}
    assert authors == again


async def test_csv_is_the_series_or_a_table_and_begins_no_formula(served: Desk) -> None:
    name = seeded.copy()
    seeded.template().run("UPDATE app.communities SET name = '=cmd()' WHERE id = 1", name)
    url = seeded.template().url(name, "reader", "a-secret-of-the-reader")
    await served.services.analytics._change_app(AppDatabase(url=url, tables_in="app"))
    answer = await served.ask("GET", f"{ANALYTICS}/communities?{MARCH}&format=csv&table=communities&limit=500")
    assert answer.headers["Content-Type"].startswith("text/csv")
    lines = answer.content.decode().split("\r\n")
    assert lines[0].startswith("id,slug,name,visibility,created_at,members")
    assert "'=cmd()" in answer.content.decode()
    series = await served.ask("GET", f"{ANALYTICS}/reports?{MARCH}&format=csv")
    assert series.content.decode().split("\r\n")[0] == "start,partial,opened,resolved,open_at_end"
    wrong = await served.ask("GET", f"{ANALYTICS}/reports?{MARCH}&format=csv&table=nix")
    assert (wrong.status, wrong.faults["?table"][:31]) == (422, "must be a table of this report;")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("from=yesterday", "?from"),
        ("from=2026-03-02&to=2026-03-01", "?to"),
        ("interval=decade", "?interval"),
        ("timezone=Mars/Olympus", "?timezone"),
        ("limit=0", "?limit"),
        ("limit=501", "?limit"),
        ("compare=maybe", "?compare"),
        ("from=2020-01-01&to=2025-01-01", "?from"),
    ],
)
async def test_a_parameter_that_is_none_is_named(desk: Desk, query: str, parameter: str) -> None:
    answer = await desk.ask("GET", f"{ANALYTICS}/user-growth?{query}")
    assert (answer.status, list(answer.faults)) == (422, [parameter])


async def test_without_anything_to_report_from_it_says_what_to_write(desk: Desk) -> None:
    for path in (ANALYTICS, f"{ANALYTICS}/users"):
        answer = await desk.ask("GET", path)
        assert (answer.status, answer.at("code")) == (501, "not_configured")
        assert "balancer.yaml" in str(answer.at("detail"))
    assert (await desk.ask("GET", f"{ANALYTICS}/status")).at("configured") is False


@pytest.mark.parametrize(
    ("error", "code"), [(TimedOut("too slow"), "analytics_timeout"), (SourceAway("it is gone"), "analytics_away")]
)
async def test_a_source_that_is_late_or_away_is_503_and_nothing_else(served, monkeypatch, error, code) -> None:
    app = served.services.analytics.app
    assert app is not None

    async def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(app, "answer", fails)
    answer = await served.ask("GET", f"{ANALYTICS}/users?{MARCH}")
    assert (answer.status, answer.at("code"), answer.at("detail")) == (503, code, str(error))
    other = await report(served, "events", f"{MARCH}&source=traffic")
    assert other["source"] == "events"
    whole = await served.ask("GET", f"{ANALYTICS}?{MARCH}")
    assert whole.status == 200
    assert whole.at("reports", "users", "reason") == str(error)
