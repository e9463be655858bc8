"""A user's module that needs another one, which is not installed."""

import a_package_that_nobody_wrote  # type: ignore[import-not-found]  # that is the point

__all__ = ["a_package_that_nobody_wrote"]
