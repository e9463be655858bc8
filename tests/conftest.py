"""Settings that all tests share: how hard the property tests try."""

import os

from hypothesis import HealthCheck, settings

# The same examples each time, so that a red result means a change and not a draw. No deadline: two busy cores
# make any single example slow once in a while, and that is not the code's fault.
settings.register_profile(
    "ci", deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# HYPOTHESIS_PROFILE=search looks for trouble instead of guarding against it.
settings.register_profile("search", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
