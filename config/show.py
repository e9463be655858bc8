"""The configuration in effect, as YAML that loads to the same again where nothing had to be masked."""

from __future__ import annotations

import re

import yaml

from config.compose import typed
from config.document import document
from config.schema import Config

_ODD = re.compile("[\x85\u2028\u2029\ufeff]")
"""YAML takes them for line breaks, and PyYAML writes them as they are unless in double quotes."""
_DOLLAR = re.compile(r"\$(?=[${])")


class Dumper(yaml.SafeDumper):
    """Writes every text so that it is read back as it was."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # By YAML 1.1, which PyYAML writes, 1e3 is a text; by 1.2, which is read here, it is a number.
    quoted = _ODD.search(text) or not isinstance(typed(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


Dumper.add_representer(str, _text)


def show(config: Config) -> str:
    """YAML with every value, defaults included; credentials as ***."""
    return dump(escaped(document(config)))


def in_a_line(value: object) -> str:
    """Plain data as YAML that fits into any other."""
    text = yaml.dump(
        [value], Dumper=Dumper, sort_keys=False, default_flow_style=True, allow_unicode=True, width=1_000_000
    )
    assert isinstance(text, str)  # without a stream, dump returns its text
    return text.strip()[1:-1]


def dump(value: object) -> str:
    """Plain data as YAML that this package's loader reads back: keys in their order, no line broken."""
    text = yaml.dump(
        value,
        Dumper=Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=10_000,
    )
    assert isinstance(text, str)  # without a stream, dump returns its text
    return text


def escaped(value: object) -> object:
    """Text in which what looks like a variable stays as it is."""
    if isinstance(value, dict):
        return {key: escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return _DOLLAR.sub("$$", value) if isinstance(value, str) else value
