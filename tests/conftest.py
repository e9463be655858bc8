"""Settings that all tests share: how hard the property tests try."""

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# The same examples each time, so that a red result means a change and not a draw. No deadline: two busy cores
# make any single example slow once in a while, and that is not the code's fault.
settings.register_profile(
    "ci", deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# HYPOTHESIS_PROFILE=search looks for trouble instead of guarding against it.
settings.register_profile("search", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that starts what configures logging must not have the next one's warnings go there."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    added = [handler for handler in root.handlers if handler not in handlers]
    if added:
        structlog.reset_defaults()
        root.handlers = handlers
        root.setLevel(level)
