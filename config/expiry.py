"""Keys whose time is over: allowed, since time passes under a file that nobody changes, and yet worth a word."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from config.load import Loaded
from config.problems import Path, Problem, path_text
from config.schema import AdminKey


def over(expires: str | None, today: date) -> bool:
    """Whether the last day on which something is good has passed; `today` is by UTC."""
    return expires is not None and date.fromisoformat(expires) < today


def expired_keys(loaded: Loaded, today: date) -> Iterator[Problem]:
    """A warning for each key that lets nobody in any more."""
    for position, key in enumerate(loaded.config.admin.keys):
        if over(key.expires, today):
            message = f"has passed: the key {key.id} opens nothing any more"
            yield _at(loaded, ("admin", "keys", position, "expires"), message)
    for way, auth in loaded.config.auth.items():
        for name, client in auth.api_keys.keys.items() if auth.api_keys is not None else ():
            if over(client.expires, today):
                message = f"has passed: the key {name} lets nobody in any more"
                yield _at(loaded, ("auth", way, "api_keys", "keys", name, "expires"), message)


def without_admin(loaded: Loaded, today: date) -> Iterator[Problem]:
    """A warning where the file has keys and none of them may do everything; without any, one is made at the start."""
    keys = loaded.config.admin.keys
    if keys and not any(works_as_admin(key, today) for key in keys):
        message = (
            "has no key of role admin that works: nobody can make keys or change the configuration, but with one "
            "that was made over the API. `balancer key create --role admin --offline` makes one"
        )
        yield _at(loaded, ("admin", "keys"), message)


def works_as_admin(key: AdminKey, today: date) -> bool:
    return key.role == "admin" and not over(key.expires, today)


def _at(loaded: Loaded, path: Path, message: str) -> Problem:
    place = loaded.where(path)
    return Problem.at(place, message) if place else Problem("", 0, 0, path_text(path), message)
