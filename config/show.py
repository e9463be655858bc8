"""The configuration in effect, as YAML that loads to the same again where nothing had to be masked."""

from __future__ import annotations

import re

import yaml

from config.document import document
from config.schema import Config

_DOLLAR = re.compile(r"\$(?=[${])")


def show(config: Config) -> str:
    """YAML with every value, defaults included; credentials as ***."""
    return dump(_escaped(document(config)))


def dump(value: object) -> str:
    """Plain data as YAML that this package's loader reads back: keys in their order, no line broken."""
    text = yaml.dump(
        value,
        Dumper=yaml.SafeDumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=10_000,
    )
    assert isinstance(text, str)  # without a stream, dump returns its text
    return text


def _escaped(value: object) -> object:
    """Text in which what looks like a variable stays as it is."""
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return _DOLLAR.sub("$$", value) if isinstance(value, str) else value
