"""What is said in two rooms is the same."""

from __future__ import annotations

from balancer.analytics.app_database.mapping import ENTITIES
from balancer.analytics.app_database.queries import queries
from balancer.analytics.event import KNOWN
from balancer.analytics.events_source import NEEDS, NEVER, OF_EVENTS
from balancer.analytics.source import QUERIES
from balancer.analytics.sqlite_store.rows import ROWS
from config.analytics import Mapping
from config.analytics_checks import REPORTED


def test_events_that_reports_understand_are_those_that_checks_know():
    assert REPORTED == KNOWN


def test_every_query_is_answered_by_the_store_and_but_for_one_by_the_database():
    assert set(ROWS) == set(QUERIES)
    assert set(queries()) == set(QUERIES) - {"events.series"}


def test_what_is_said_of_a_query_is_said_of_columns_that_it_has():
    for told in (NEVER, OF_EVENTS):
        for query, columns in told.items():
            assert set(columns) <= set(QUERIES[query]), query
    assert set(NEEDS) <= set(QUERIES)


def test_every_entity_can_be_mapped():
    assert set(ENTITIES) == set(Mapping.model_fields)
