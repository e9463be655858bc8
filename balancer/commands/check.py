"""`balancer check`: everything that is wrong with a configuration, and where."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from balancer.commands.console import Console, counted
from balancer.commands.outcome import OK, USAGE
from balancer.commands.places import needed_configuration
from balancer.server_tls import BadTls, any_secured, build
from balancer.strategy import StrategyError, load_strategy
from balancer.tls.inspection import certificate_problems
from config.expiry import expired_keys, without_admin
from config.load import Loaded, load
from config.problems import ConfigError, Problem, in_order, path_text
from config.problems import Path as Place
from config.redis_url import is_secured
from config.schema import Config, ServerTls

Format = Literal["text", "json", "github"]
GROUPS = ("listeners", "pools", "servers", "routes")


def check(console: Console, file: Path | None, style: Format) -> int:
    path = needed_configuration(file, console.environ)
    config: Config | None = None
    problems: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()
    try:
        loaded = load(path, console.environ)
        config, warnings = loaded.config, loaded.warnings
        now = datetime.now(UTC)
        wrong, doubtful = certificate_problems(loaded, now)
        doubtful = [*doubtful, *expired_keys(loaded, now.date()), *without_admin(loaded, now.date())]
        problems = in_order([*_plugin_problems(loaded), *_tls_problems(loaded), *_issuer_problems(loaded), *wrong])
        warnings = in_order([*warnings, *doubtful])
    except ConfigError as error:
        problems = error.problems
    if style == "json":
        console.out(json.dumps(_document(path, problems, warnings, config), indent=2))
        return USAGE if problems else OK
    for problem in problems:
        console.out(str(problem) if style == "text" else _annotation("error", problem))
    for warning in warnings:
        softer = replace(warning, message=f"warning: {warning.message}")
        console.out(str(softer) if style == "text" else _annotation("warning", warning))
    name = path or "the environment"
    if problems or config is None:
        console.say(f"{name} has {counted(len(problems), 'problem')}")
        return USAGE
    told = [counted(count, noun.removesuffix("s")) for noun, count in _counts(config).items()]
    console.out(f"{name} is good: {', '.join(told)}")
    return OK


def _plugin_problems(loaded: Loaded) -> Iterator[Problem]:
    """Strategies of the user's own that cannot be loaded; the configuration's own check imports nothing."""
    for name, pool in loaded.config.pools.items():
        try:
            load_strategy(pool.strategy)
        except StrategyError as error:
            place = loaded.where(("pools", name, "strategy"))
            yield (Problem.at(place, str(error)) if place else Problem("", 0, 0, f"pools.{name}.strategy", str(error)))


def _tls_problems(loaded: Loaded) -> Iterator[Problem]:
    """Certificates that cannot be loaded; the configuration's own check reads no other files."""
    pools = loaded.config.pools.items()
    settings: dict[Place, ServerTls] = {("pools", name): pool.tls for name, pool in pools if any_secured(pool)}
    if is_secured(loaded.config.redis.url):
        settings["redis",] = loaded.config.redis.tls
    for above, tls in settings.items():
        try:
            build(tls)
        except BadTls as error:
            path = (*above, "tls", *error.key.split("."))
            place = loaded.where(path)
            yield Problem.at(place, str(error)) if place else Problem("", 0, 0, path_text(path), str(error))


def _issuer_problems(loaded: Loaded) -> Iterator[Problem]:
    """Authorities for the issuers of tokens that cannot be loaded: nobody with a token would be let in."""
    for name, auth in loaded.config.auth.items():
        if auth.jwt is None or auth.jwt.ca is None:
            continue
        try:
            ssl.create_default_context(cafile=auth.jwt.ca)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            path = ("auth", name, "jwt", "ca")
            reason = error.strerror if not isinstance(error, ssl.SSLError) and isinstance(error, OSError) else "no PEM"
            message = f"must be a PEM file of authorities that can be read ({reason})"
            place = loaded.where(path)
            yield Problem.at(place, message) if place else Problem("", 0, 0, ".".join(path), message)


def _counts(config: Config) -> dict[str, int]:
    servers = sum(len(pool.servers) for pool in config.pools.values())
    found = (len(config.listeners), len(config.pools), servers, len(config.routes))
    return dict(zip(GROUPS, found, strict=True))


def _document(
    path: Path | None, problems: Sequence[Problem], warnings: Sequence[Problem], config: Config | None
) -> dict[str, object]:
    found = [("error", problem) for problem in problems] + [("warning", warning) for warning in warnings]
    return {
        "file": str(path) if path else None,
        "ok": not problems,
        "problems": [
            {
                "severity": severity,
                "file": problem.file,
                "line": problem.line or None,
                "column": problem.column or None,
                "path": problem.path,
                "message": problem.message,
            }
            for severity, problem in found
        ],
        "summary": _counts(config) if config and not problems else None,
    }


def _annotation(severity: str, problem: Problem) -> str:
    """A workflow command of GitHub Actions, which puts the message beside its line."""
    place = {"file": problem.file, "line": problem.line, "col": problem.column} if problem.line else {}
    title = {"title": problem.path} if problem.path else {}
    properties = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in {**place, **title}.items())
    text = problem.message if problem.line else str(problem)
    return f"::{severity} {properties}".rstrip() + f"::{_escaped(text)}"


def _escaped(text: str, further: str = "") -> str:
    for char in f"%\r\n{further}":  # the % first, as the others become one
        text = text.replace(char, f"%{ord(char):02X}")
    return text
