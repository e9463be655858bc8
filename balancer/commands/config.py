"""`balancer config`: what is configured, what may be, and an example of it all."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from balancer.commands.console import Console
from balancer.commands.outcome import ERROR, OK, USAGE, Failure
from balancer.commands.places import needed_configuration

EXAMPLE = "balancer.yaml"


def show(console: Console, file: Path | None, as_json: bool) -> int:
    """The configuration in effect: the file and the environment, with every default, without secrets."""
    from config.document import document
    from config.load import load
    from config.problems import ConfigError
    from config.show import show as yaml_of

    path = needed_configuration(file, console.environ)
    try:
        config = load(path, console.environ).config
    except ConfigError as error:
        raise Failure(USAGE, str(error)) from None
    console.out(json.dumps(document(config), indent=2) if as_json else yaml_of(config).rstrip("\n"))
    return OK


def schema(console: Console) -> int:
    from config.json_schema import schema_text

    console.out(schema_text().rstrip("\n"))
    return OK


def example(console: Console) -> int:
    """The commented reference, as it lies in the package or, in a checkout, at the top of the tree."""
    top = Path(__file__).parent.parent.parent
    for place in (resources.files("config"), top):
        if (file := place / EXAMPLE).is_file():
            console.out(file.read_text(encoding="utf-8").rstrip("\n"))
            return OK
    raise Failure(ERROR, f"this installation has no {EXAMPLE}; `balancer config schema` describes every key")
