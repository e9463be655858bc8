"""Analytics as the rest of the process sees them: told of a new configuration, given events, asked for reports."""

from __future__ import annotations

from pathlib import Path

from config.schema import Analytics


class AnalyticsService:
    """Everything that one configuration of analytics makes, and what outlives it.

    To be made on the loop that it will run on. Nothing here delays a request, or a change of the configuration.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is where files are whose names have no slash: that of `admin.state`."""
        self._folder = folder
        self._settings: Analytics | None = None

    @property
    def settings(self) -> Analytics | None:
        """None: there are no analytics."""
        return self._settings

    async def change(self, settings: Analytics | None) -> None:
        """Take over a configuration that has come into force."""
        self._settings = settings

    def tick(self, now: float) -> None:
        """Ten times a second: what has been gathered is sent on its way."""

    async def close(self) -> None:
        """What has been gathered is stored, as far as that does not take long."""
