"""Copies of the lists: one that is shipped with the balancer, and one on disk of what was fetched last."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from balancer.ranges.lists import BadList, judged
from config.addresses import CDN_NAMES, CdnName
from config.values import Network

LARGEST: Final = 4 * 1024 * 1024
Origin = Literal["shipped", "disk", "fetched", "none"]


@dataclass(frozen=True, slots=True)
class Copy:
    """The networks of one CDN as they were at a time."""

    networks: tuple[Network, ...]
    at: float
    """Unix time."""
    origin: Origin


NONE: Final = Copy((), 0.0, "none")


def shipped(name: CdnName) -> Copy:
    """What the balancer came with.

    None of Bunny: its servers stand in networks of others, one address here and one there, and an address that it has
    given up is somebody else's.
    """
    known = json.loads(files("balancer.ranges").joinpath("shipped.json").read_bytes())
    if name not in known:
        return NONE
    at = datetime.fromisoformat(known[name]["at"]).replace(tzinfo=UTC).timestamp()
    return Copy(judged(known[name]["networks"]), at, "shipped")


def load(path: Path | None, name: CdnName, now: float) -> Copy:
    """The newest there is. What is on disk is judged like what is fetched, as others might write there."""
    first = shipped(name)
    kept = _read(path).get(name) if path is not None else None
    return kept if kept is not None and first.at < kept.at <= now else first


def keep(path: Path, copies: Mapping[CdnName, Copy]) -> None:
    """Write what was fetched; of other CDNs, what is there already stays. Raises OSError."""
    whole = {name: copy for name, copy in {**_read(path), **copies}.items() if copy.networks}
    document = {name: {"at": copy.at, "networks": [str(one) for one in copy.networks]} for name, copy in whole.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(path.name + ".new")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(written, path)


def _read(path: Path) -> dict[CdnName, Copy]:
    """What is on disk and can be believed."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    found: dict[CdnName, Copy] = {}
    for name in CDN_NAMES:
        try:
            entry = document[name]
            found[name] = Copy(judged([str(one) for one in entry["networks"]]), float(entry["at"]), "disk")
        except (BadList, KeyError, TypeError, ValueError):
            continue
    return found
