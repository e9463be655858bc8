"""/api/config: what may be asked, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema

from api.answers import Provisional
from api.operation import Model
from balancer.history import Cause
from config.origin import Kind
from config.values import seconds

Source = Literal["running", "file"]
Confirm = Annotated[
    float,
    BeforeValidator(seconds),
    Field(le=86400),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]+(\\.[0-9]+)?(ms|s|m|h)|0)$", "examples": ["30s", "5m"]}),
]


class SourceQuery(Model):
    """Which configuration."""

    source: Source = "running"
    """running: what is in force; file: what the file said when it was last taken."""


class ChangeQuery(Model):
    """How to make a change."""

    dry_run: bool = False
    """Only say what would happen."""
    confirm: Confirm | None = None
    """Undo it again unless it is confirmed within this time; 0: keep it at once; by default as `admin.confirm` says."""


class SaveQuery(Model):
    """How to save."""

    dry_run: bool = False
    """Only say whether it is possible, and what would be written."""


class PathQuery(Model):
    """Which settings."""

    path: Annotated[str, Field(min_length=1, max_length=1000, examples=["pools.app.servers.a.weight"])]
    """One, or everything below a part; names with dots in them are quoted: pools.app.servers["10.0.0.11:8000"]."""


class RollbackRequest(Model):
    """Where to go back to."""

    revision: Annotated[int, Field(ge=1)]


class ConfirmRequest(Model):
    """What is to be kept."""

    revision: Annotated[int, Field(ge=1)] | None = None
    """By default the one that is on trial."""


class ConfigChange(Model):
    """One value that differs; credentials are masked."""

    path: str
    before: str | None
    """null: it was not there."""
    after: str | None
    """null: it is not there any more."""
    stale: bool
    """It changes nothing, as what it is about is no longer in the file."""


class ConfigWarning(Model):
    """What is allowed in a configuration and yet probably not meant."""

    path: str
    message: str
    line: int | None
    column: int | None


class ReloadAnswer(Model):
    """What a reload has changed."""

    generation: int
    changes: list[ConfigChange]
    restart_required: list[str]
    """Settings that differ from those the process started with and take effect only at the next start."""
    warnings: list[ConfigWarning]


class CheckAnswer(Model):
    """What a reload with this configuration would say; nothing has been changed."""

    valid: bool
    problems: list[ConfigWarning]
    """Everything that is wrong, up to a thousand."""
    warnings: list[ConfigWarning]
    changed: list[str]
    """Paths of what would change; empty unless valid."""


class RevisedAnswer(Model):
    """What a change has done, or with `dry_run` would do."""

    dry_run: bool
    revision: int | None
    """The number of the new configuration; null when nothing has changed."""
    generation: int
    changes: list[ConfigChange]
    effects: list[str]
    """What it does, in words: whom it touches now, and what it leaves alone."""
    provisional: Provisional | None
    restart_required: list[str]
    """Settings among the changes that take effect only at the next start."""
    warnings: list[ConfigWarning]


class SavedAnswer(Model):
    """What was folded into the file."""

    dry_run: bool
    file: str
    changes: list[ConfigChange]
    """From what the file said to what it says now."""


class WrittenAnswer(Model):
    """What holds without the API."""

    source: Kind
    value: str | None
    file: str | None
    line: int | None
    column: int | None
    path: str | None
    """Where it was written, if under another path: `defaults.timeouts.connect`, say."""
    variables: list[str]
    """Variables and files that it came from."""


class WhyItem(Model):
    """One setting in force."""

    path: str
    value: str | None
    """Credentials are masked; null: nothing."""
    source: Kind
    by: str | None
    """The key that said so over the API; null: the API did not, or that is not known any more."""
    at: datetime | None
    written: WrittenAnswer


class WhyAnswer(Model):
    """Where settings come from."""

    items: list[WhyItem]
    more: int
    """Settings that are not told."""


class DiffAnswer(Model):
    """What differs."""

    running: list[ConfigChange]
    """From the file, as it was last taken, to what is in force."""
    file: list[ConfigChange] | None
    """From the file as it was last taken to the one on disk now; null when that one can not be taken."""
    problems: list[ConfigWarning]
    """Why it can not."""


class RevisionAnswer(Model):
    """One configuration that was in force."""

    revision: int
    at: datetime
    author: str
    """The id of the key, or "the file", "the operator", "the balancer"."""
    cause: Cause
    changes: list[ConfigChange]
    more: int
    """Changes that are not told."""
    provisional: bool
    note: str | None
    """What became of it."""


class HistoryAnswer(Model):
    """The last configurations, the latest first."""

    items: list[RevisionAnswer]
    next: None


class ConfigAnswer(Model):
    """A configuration, and what there is to know of it."""

    generation: int
    revision: int | None
    """Of the configuration in force, as the history counts."""
    source: Source
    file: str | None
    config: dict[str, JsonValue]
    """In the keys of balancer.yaml, defaults included; credentials are masked."""
    overlay: list[ConfigChange]
    """What the API changed over the file."""
    provisional: Provisional | None
    """The change that is on trial; null when none is."""
    restart_required: list[str]
    warnings: list[ConfigWarning]
