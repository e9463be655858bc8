"""A configuration as the plain mapping that a file could hold: durations and sizes as text, sets as lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from config.masking import masked
from config.merge import BY_ITSELF, INHERITED
from config.problems import Path
from config.schema import Config


def document(config: Config, mask: bool = True) -> dict[str, object]:
    """The whole configuration in the keys of a file, defaults included; with `mask`, without its secrets."""
    written = _plain(config.model_dump(), config)
    assert isinstance(written, dict)  # a model dumps to a mapping
    # The schema has these two at the top, where the file has them under `defaults`.
    written["defaults"] = {key: written.pop(key) for key in ("timeouts", "limits")}
    _say_none(written)
    result = _masked(written, ()) if mask else written
    assert isinstance(result, dict)  # masking keeps the form
    return result


def _say_none(written: dict[str, object]) -> None:
    """Write `false` where a route has nothing of what all others have: without a word it would have it, too."""
    routes = written["routes"]
    assert isinstance(routes, dict)  # as pydantic dumps a mapping
    for part in INHERITED:
        if part not in written:
            continue
        for route in routes.values():
            if part not in route and not (part == "compress" and any(key in route for key in BY_ITSELF)):
                route[part] = False


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Each single value of a document with its path; an empty mapping or list is one."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for position, item in enumerate(value):
            yield from leaves(item, (*path, position))
    else:
        yield path, value


def _plain(dumped: object, live: object) -> object:
    """What was dumped, without nulls that go without saying, and with sets in a fixed order."""
    if isinstance(live, BaseModel):
        assert isinstance(dumped, dict)  # as pydantic dumps a model
        fields = type(live).model_fields
        pairs = ((name, dumped[name], getattr(live, name)) for name in fields)
        return {
            name: _plain(text, value)
            for name, text, value in pairs
            if text is not None or fields[name].default is not None
        }
    if isinstance(live, Mapping):
        assert isinstance(dumped, dict)  # as pydantic dumps a mapping
        return {key: _plain(dumped[key], value) for key, value in live.items()}
    if isinstance(live, tuple):
        assert isinstance(dumped, tuple)  # as pydantic dumps a tuple
        return [_plain(text, value) for text, value in zip(dumped, live, strict=True)]
    return sorted(live) if isinstance(live, frozenset) else dumped


def _masked(value: object, path: Path) -> object:
    if isinstance(value, dict):
        return {key: _masked(inner, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(item, (*path, position)) for position, item in enumerate(value)]
    return masked(path, value) if isinstance(value, str) else value
