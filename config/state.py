"""The file that keeps the overlay over restarts: written whole or not at all, never in the way of a start."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterator

from pydantic import ValidationError

from config.addresses import server_address
from config.checks import STRATEGIES
from config.compose import compose
from config.nodes import plain
from config.overlay import Overlay
from config.patterns import NAME, PLUGIN
from config.problems import ConfigError, Path, Place, Problem, Unfit, path_text
from config.schema import Server
from config.show import dump
from config.values import WRITTEN
from config.wording import worded

_HEAD = "# What the admin API changed. It lies over the configuration file and survives a restart.\n"


class StateError(Exception):
    """The overlay could not be kept. Its text says why and what to do, and may be answered by the API."""


def load_overlay(path: pathlib.Path) -> tuple[Overlay, tuple[Problem, ...]]:
    """The overlay of a file, empty when there is none.

    A file that cannot be used is set aside as `.bad` and reported: better to start without it than not.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Overlay(), ()
    except OSError as error:
        return Overlay(), (Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror or error}"),)
    try:
        return from_text(content, str(path)), ()
    except ConfigError as error:
        return Overlay(), (*error.problems, set_aside(path))


def save_overlay(path: pathlib.Path, overlay: Overlay) -> None:
    """Write the overlay so that a crash leaves the old file or the new one. Blocks for a disk's time.

    Raises StateError when it cannot be kept; the old file is then as it was.
    """
    write_private(path, to_text(overlay))


def write_private(path: pathlib.Path, text: str) -> None:
    """The same for any file of the balancer's own."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes it 0600: what is kept names servers, which are nobody else's business, and may hold secrets.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            pathlib.Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise StateError(f"cannot keep the change in {path}: {reason}; make room or another `admin.state`") from error
    _sync_folder(path.parent)


def to_text(overlay: Overlay) -> str:
    """The overlay as YAML."""
    data = overlay.model_dump(exclude_defaults=True)
    return _HEAD + dump(_listed(data))


def from_text(content: bytes | str, name: str) -> Overlay:
    """The overlay of a state file's content; `name` stands for the file in problems. Raises ConfigError."""
    tree, problems = compose(content, name)
    try:
        overlay = Overlay.model_validate(plain(tree), context=WRITTEN)
    except ValidationError as error:
        told = worded(error, tree, Overlay, (), set())
        raise ConfigError([*problems, *(problem for problem, _ in told if problem is not None)]) from None
    problems += [Problem.at(Place(name, path=path_text(path)), message) for path, message in _faults(overlay)]
    if problems:
        raise ConfigError(problems)
    return overlay


def _faults(overlay: Overlay) -> Iterator[tuple[Path, str]]:
    """What no plane could use: planes take for granted that URLs and names are good."""
    for pool, changes in overlay.pools.items():
        strategy = changes.strategy
        if strategy is not None and strategy not in STRATEGIES and not PLUGIN.fullmatch(strategy):
            yield ("pools", pool, "strategy"), "must be a built-in strategy or package.module:Class"
        groups: dict[str, dict[str, Server]] = {"servers": changes.servers or {}, "added": changes.added}
        for group, servers in groups.items():
            for name, server in servers.items():
                path: Path = ("pools", pool, group, name)
                if not NAME.fullmatch(name):
                    yield path, "must have a name of letters, digits and . _ - :"
                try:
                    server_address(server.url)
                except Unfit as error:
                    yield (*path, "url"), error.expected


def _listed(value: object) -> object:
    """Sets as lists, always in the same order."""
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    return sorted(value) if isinstance(value, (set, frozenset)) else value


def set_aside(path: pathlib.Path, what: str = "the changes of the admin API") -> Problem:
    """Move a file that cannot be used out of the way, as `.bad`; what is then to be told."""
    bad = path.with_name(f"{path.name}.bad")
    try:
        os.replace(path, bad)
    except OSError as error:
        message = f"is left out, and could not be moved to {bad.name}: {error.strerror or error}"
    else:
        message = f"is left out: {what} are not in effect; they were moved to {bad.name}"
    return Problem(str(path), 0, 0, "", message)


def _sync_folder(folder: pathlib.Path) -> None:
    """Make the new name last through a power cut, on file systems that can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems cannot; the file itself is safe
    finally:
        os.close(descriptor)
