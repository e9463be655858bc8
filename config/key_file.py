"""The file with the keys that were made over the admin API: hashes alone, readable by nobody else."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

from pydantic import ValidationError

from config.problems import Problem
from config.schema import AdminKey, Model
from config.state import set_aside, write_private


class KeptKey(AdminKey):
    """A key as the API made it."""

    created: str
    """When, in RFC 3339."""
    created_by: str
    """The id of the key with which it was made."""


class _File(Model):
    keys: tuple[KeptKey, ...] = ()


def load_keys(path: pathlib.Path) -> tuple[dict[str, KeptKey], tuple[Problem, ...]]:
    """The keys of a file by id, none when there is none.

    A file that cannot be used is set aside as `.bad` and reported: its keys then open nothing.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, ()
    except OSError as error:
        return {}, (Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror or error}"),)
    try:
        kept = _File.model_validate_json(content)
    except ValidationError as error:
        message = f"is not a file of keys: {error.error_count()} values are not as expected"
        return {}, (Problem(str(path), 0, 0, "", message), set_aside(path, "the keys in it"))
    return {key.id: key for key in kept.keys}, ()


def save_keys(path: pathlib.Path, keys: Mapping[str, KeptKey]) -> None:
    """Write the keys so that a crash leaves the old file or the new one. Blocks; StateError when it cannot be kept."""
    listed = [key.model_dump(mode="json", exclude_defaults=True) for key in keys.values()]
    write_private(path, json.dumps({"keys": listed}, indent=1) + "\n")
