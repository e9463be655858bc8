"""What the rules of events do not make is told as unknown, with what is missing in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from balancer.analytics import event as known
from balancer.analytics.event import Event
from balancer.analytics.events_source import NEEDS, NEVER, OF_EVENTS, TAKES, EventsSource
from balancer.analytics.source import QUERIES, Asked, Row, Unavailable
from config.schema import Analytics
from tests.analytics.store import Memory

ASKED = Asked(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC))
AT = 1_790_812_800_000


class Store:
    """The events of a small community, whatever the rules are now."""

    def __init__(self) -> None:
        self._memory = Memory("UTC")
        self._memory.write(
            [
                Event(AT, known.POSTED, 1, None, 201, 1, 1, {}),
                Event(AT + 1, known.COMMENTED, 2, None, 201, 1, 1, {}),
                Event(AT + 2, known.REPORTED, 2, None, 201, 1, 1, {"report": "1"}),
                Event(AT + 3, known.RESOLVED, 3, None, 200, 1, 1, {}),
                Event(AT + 4, known.MODERATED, 3, None, 200, 1, 1, {}),
            ]
        )

    async def rows(self, query: str, asked: Asked) -> list[Row]:
        return self._memory.rows(query, asked)


def source(**rules: Any) -> EventsSource:
    events = {name: {"match": [{"path": path}], "take": take} for name, (path, take) in rules.items()}
    return EventsSource(Store(), Analytics.model_validate({"events": events}))


def test_only_columns_that_there_are_have_conditions():
    for table in (NEVER, OF_EVENTS, TAKES):
        for query, conditions in table.items():
            assert conditions.keys() <= set(QUERIES[query]), query
    assert NEEDS.keys() <= QUERIES.keys()


async def test_reports_that_no_rule_numbers_are_not_open_for_ever():
    found = source(report_filed=("/reports", {}), report_resolved=("/reports/{report}/resolve", {}))
    (first, *_) = await found.rows("reports.series", ASKED)
    assert (first["opened"], first["resolved"], first["open_at_end"]) == (1, None, None)
    reason = "analytics.events.report_filed takes no `report`"
    assert found.missing("reports.series", ASKED) == {"resolved": reason, "open_at_end": reason}


async def test_comments_that_do_not_say_of_which_post_leave_none_unanswered():
    found = source(post_created=("/posts", {"post": "location:/posts/{post}"}), comment_created=("/comments", {}))
    (row,) = await found.rows("post_activity.first_response", ASKED)
    assert row["unanswered"] is None
    missing = found.missing("post_activity.first_response", ASKED)
    assert missing["unanswered"] == "analytics.events.comment_created takes no `post`"
    assert "posts" not in missing


async def test_outcomes_and_kinds_of_actions_that_no_rule_takes_are_not_none_of_them():
    numbered = {"report": "location:/reports/{report}"}
    found = source(
        report_filed=("/reports", numbered), report_resolved=("/r/{report}", {}), moderation_action=("/m", {})
    )
    (summary,) = await found.rows("reports.summary", ASKED)
    assert (summary["upheld"], summary["resolved_of_opened"]) == (None, 0)
    (quality,) = await found.rows("moderation.quality", ASKED)
    assert (quality["removals"], quality["automated_share"]) == (None, None)
    missing = found.missing("moderation.quality", ASKED)
    assert missing["removals"] == "analytics.events.moderation_action takes no `action`"


@pytest.mark.parametrize("community", ["{community}", "c"])
def test_a_comment_is_in_the_community_of_its_post(community):
    found = source(
        post_created=(f"/{community}/posts", {"post": "location:/posts/{post}"}),
        comment_created=("/posts/{post}/comments", {}),
        community_joined=("/{community}/members", {}),
    )
    missing = found.missing("communities.table", ASKED)
    assert ("comments" in missing, "active_users" in missing) == (community == "c",) * 2
    assert "new_members" not in missing


async def test_without_any_rule_of_it_a_query_has_no_answer():
    with pytest.raises(Unavailable, match=r"no rule of analytics\.events makes post_created"):
        await source(search=("/search", {})).rows("post_activity.heatmap", ASKED)
