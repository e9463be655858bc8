"""The command `balancer`: its words. What a command does is imported only when it is given."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import balancer
from balancer.commands import options as takes
from balancer.commands.console import Console
from balancer.commands.outcome import ERROR, INTERRUPTED, USAGE, Failure

if TYPE_CHECKING:
    from balancer.commands.client import Client
    from balancer.commands.revisions import Terms

AFTER = """\
environment:
  BALANCER_CONFIG         the configuration file (-c)
  LOAD_BALANCER_SERVERS   servers, with commas between them; a whole configuration by itself
  BALANCER_ADMIN          where the admin API answers (--admin)
  BALANCER_ADMIN_CA       who vouches for it with TLS (--ca)
  ADMIN_API_KEY           the key to it; BALANCER_ADMIN_KEY goes before it
  NO_COLOR                no colours, whatever the terminal can do

exit codes:
  0 done   1 failed   2 command line or configuration not valid   3 no balancer answers
  4 refused: key or condition   5 what was waited for did not come in time
"""


def main(argv: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Carry out a command line and return its exit code. `--help` and mistakes in it raise SystemExit."""
    console = console or Console()
    options = parser().parse_args(argv)
    act: Callable[[Namespace, Console], int] = options.act
    try:
        return act(options, console)
    except Failure as failure:
        console.say(f"balancer: {failure}")
        return failure.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR


class Command(NamedTuple):
    """One word of the command line, or two."""

    name: str
    help: str
    act: Callable[[Namespace, Console], int]
    options: Sequence[Callable[[ArgumentParser], object]] = ()


class _Parser(ArgumentParser):
    """Says of a word that is none which one was probably meant; argparse lists all there are."""

    def error(self, message: str) -> NoReturn:
        found = _NO_CHOICE.match(message)
        if found is not None:
            from config.problems import nearest

            close = nearest(found[1], _WORD.findall(found[2]))
            message += f"; did you mean {close}?" if close else ""
        super().error(message)


_NO_CHOICE = re.compile(r"argument [^:]*: invalid choice: '([^']*)' \(choose from (.*)\)")
_WORD = re.compile(r"[\w-]+")


def parser() -> ArgumentParser:
    about = "A reverse-proxy load balancer."
    top = _Parser("balancer", description=about, epilog=AFTER, formatter_class=_formatter, allow_abbrev=False)
    top.add_argument("-V", "--version", action="version", version=f"balancer {balancer.__version__}")
    words = top.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        _add(words.add_parser, command)
    for name, about, commands in GROUPS:
        group = words.add_parser(name, help=about, description=about)
        inner = group.add_subparsers(metavar="COMMAND", required=True)
        for command in commands:
            _add(inner.add_parser, command)
    return top


def _formatter(prog: str) -> RawDescriptionHelpFormatter:
    return RawDescriptionHelpFormatter(prog, max_help_position=32)


def _add(add_parser: Callable[..., ArgumentParser], command: Command) -> None:
    about = f"{command.help[:1].upper()}{command.help[1:]}."
    # An abbreviation could mean something else after the next option is added; and --key is no --key-file.
    own = add_parser(command.name, help=command.help, description=about, allow_abbrev=False)
    own.set_defaults(act=command.act)
    for option in command.options:
        option(own)


def _client(options: Namespace, console: Console) -> Client:
    from balancer.commands.client import Client
    from balancer.commands.places import admin, key

    return Client(
        admin(options.admin, options.config, console.environ, options.ca), key(options.key_file, console.environ)
    )


# Commands.


def _run(options: Namespace, console: Console) -> int:
    from balancer.commands.run import run

    return run(console, options.config)


def _check(options: Namespace, console: Console) -> int:
    from balancer.commands.check import check

    return check(console, options.file or options.config, options.format)


def _reload(options: Namespace, console: Console) -> int:
    from balancer.commands.reload import reload

    return reload(console, _client(options, console))


def _status(options: Namespace, console: Console) -> int:
    from balancer.commands.status import status, watch

    return (watch if options.watch else status)(console, _client(options, console), options.json)


def _drain(options: Namespace, console: Console) -> int:
    from balancer.commands.servers import change

    return change(console, _client(options, console), "drain", options.server, options.wait)


def _ready(options: Namespace, console: Console) -> int:
    from balancer.commands.servers import change

    return change(console, _client(options, console), "ready", options.server)


def _maintenance(options: Namespace, console: Console) -> int:
    from balancer.commands.servers import change

    return change(console, _client(options, console), "maintenance", options.server, options.wait)


def _purge(options: Namespace, console: Console) -> int:
    from balancer.commands.cache import purge

    wanted = {
        "urls": options.urls,
        "prefixes": options.prefixes,
        "patterns": options.patterns,
        "tags": options.tags,
        "hosts": options.hosts,
        "everything": options.everything,
        "soft": options.soft,
    }
    return purge(console, _client(options, console), wanted, options.json)


def _cache(options: Namespace, console: Console) -> int:
    from balancer.commands.cache import stats

    return stats(console, _client(options, console), options.json, options.top)


def _limits(options: Namespace, console: Console) -> int:
    from balancer.commands.limits import ORDERS, rule, show

    client = _client(options, console)
    if options.what == "show" or options.what not in ORDERS:
        return show(console, client, options.json, options.policy if options.what == "show" else options.what)
    if options.policy is None:
        raise Failure(
            USAGE, f"`balancer limits {options.what}` needs a policy and a key, such as: per-client 192.0.2.7"
        )
    return rule(console, client, options.what, options.policy, options.key, options.name, options.time)


def _show(options: Namespace, console: Console) -> int:
    from balancer.commands.config import show

    if options.running:
        from balancer.commands.revisions import running

        return running(console, _client(options, console), options.json)
    return show(console, options.config, options.json)


def _terms(options: Namespace) -> Terms:
    from balancer.commands.revisions import Terms

    return Terms(options.dry_run, options.confirm, options.json)


def _patch(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import patch

    return patch(console, _client(options, console), options.file, options.settings, _terms(options))


def _put(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import put

    return put(console, _client(options, console), options.file, _terms(options))


def _diff(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import diff

    return diff(console, _client(options, console), options.json)


def _history(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import history

    return history(console, _client(options, console), options.json)


def _rollback(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import rollback

    return rollback(console, _client(options, console), options.revision, _terms(options))


def _confirm(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import confirm

    return confirm(console, _client(options, console), options.revision)


def _why(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import why

    return why(console, _client(options, console), options.path, options.json)


def _save(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import save

    return save(console, _client(options, console), options.dry_run)


def _clear(options: Namespace, console: Console) -> int:
    from balancer.commands.overlay import clear

    return clear(console, _client(options, console), options.pool, options.dry_run)


def _schema(options: Namespace, console: Console) -> int:
    from balancer.commands.config import schema

    return schema(console)


def _example(options: Namespace, console: Console) -> int:
    from balancer.commands.config import example

    return example(console)


def _create_key(options: Namespace, console: Console) -> int:
    from balancer.commands.keys import Wanted, create

    client = None if options.offline else _client(options, console)
    wanted = Wanted(options.role, options.id, options.expires, options.networks)
    return create(console, client, wanted, options.json)


def _list_keys(options: Namespace, console: Console) -> int:
    from balancer.commands.keys import show

    return show(console, _client(options, console), options.json)


def _revoke_key(options: Namespace, console: Console) -> int:
    from balancer.commands.keys import revoke

    return revoke(console, _client(options, console), options.id, options.last)


def _analytics_status(options: Namespace, console: Console) -> int:
    from balancer.commands.analytics import status

    return status(console, _client(options, console), options.json)


def _analytics_report(options: Namespace, console: Console) -> int:
    from balancer.commands.analytics import report

    asked = (
        ("from", options.from_),
        ("to", options.to),
        ("interval", options.interval),
        ("timezone", options.zone),
        ("compare", "none" if options.alone else None),
        ("source", options.source),
    )
    return report(console, _client(options, console), options.name, asked, options.json)


def _analytics_suggest(options: Namespace, console: Console) -> int:
    from balancer.commands.analytics import suggest

    return suggest(console, _client(options, console), options.json)


def _analytics_forget(options: Namespace, console: Console) -> int:
    from balancer.commands.analytics import forget

    return forget(console, _client(options, console), options.user)


def _errors(options: Namespace, console: Console) -> int:
    from balancer.commands.monitoring import errors

    return errors(console, _client(options, console), options.json)


def _database(options: Namespace, console: Console) -> int:
    from balancer.commands.database import database

    client = _client(options, console)
    return database(console, client, options.json, options.name, options.top, fresh=options.fresh)


def _alerts(options: Namespace, console: Console) -> int:
    from balancer.commands.monitoring import alerts

    return alerts(console, _client(options, console), options.json)


def _cdn_status(options: Namespace, console: Console) -> int:
    from balancer.commands.cdn import status

    return status(console, _client(options, console), options.json)


def _cdn_upload(options: Namespace, console: Console) -> int:
    from balancer.commands.cdn import Wanted, upload

    wanted = Wanted(options.name, options.kind, options.tags, options.overwrite)
    return upload(console, _client(options, console), options.files, wanted, options.json)


def _cdn_ls(options: Namespace, console: Console) -> int:
    from balancer.commands.cdn import ls

    return ls(console, _client(options, console), options.prefix, options.json)


def _cdn_rm(options: Namespace, console: Console) -> int:
    from balancer.commands.cdn import rm

    return rm(console, _client(options, console), options.paths, options.json)


def _cdn_stats(options: Namespace, console: Console) -> int:
    from balancer.commands.cdn import stats

    client = _client(options, console)
    return stats(console, client, options.from_, options.to, options.interval, options.json)


def _cdn_image(options: Namespace, console: Console) -> int:
    from balancer.commands.cdn import image_url

    names = ("url", "width", "height", "quality", "format", "fit", "render")
    return image_url(console, _client(options, console), {name: getattr(options, name) for name in names}, options.json)


def _cdn_purge(options: Namespace, console: Console) -> int:
    from balancer.commands.cdn import purge

    names = ("patterns", "tags", "hosts", "everything", "soft", "widen", "wait")
    wanted = {name: getattr(options, name) for name in names}
    wanted |= {"scope": ["own"] if options.own else None, "timeout": options.timeout if options.wait else None}
    return purge(console, _client(options, console), wanted, options.once, options.json)


def _cdn_purges(options: Namespace, console: Console) -> int:
    from balancer.commands.cdn import purges, ticket

    client = _client(options, console)
    if options.ticket is not None:
        return ticket(console, client, options.ticket, options.retry, options.json)
    if options.retry:
        raise Failure(USAGE, "--retry needs the ticket of a purge, as `balancer cdn purges` shows it")
    return purges(console, client, options.limit, options.json)


def _healthcheck(options: Namespace, console: Console) -> int:
    from balancer.commands.healthcheck import healthcheck

    return healthcheck(console, options.admin, options.config, options.ready, options.ca)


def _version(options: Namespace, console: Console) -> int:
    from balancer.commands.version import version

    return version(console, options.verbose)


def _hash_password(options: Namespace, console: Console) -> int:
    from balancer.commands.credentials import hash_password

    return hash_password(console)


def _api_key(options: Namespace, console: Console) -> int:
    from balancer.commands.credentials import api_key

    return api_key(console, options.name, options.expires, options.networks, options.json)


COMMANDS = (
    Command("run", "run the balancer in the foreground", _run, (takes.config,)),
    Command("check", "find everything that is wrong with a configuration", _check, (takes.check,)),
    Command("reload", "make the running balancer read its configuration anew", _reload, takes.CLIENT),
    Command("status", "show how every server is doing", _status, (takes.watch, takes.as_json, *takes.CLIENT)),
    Command("errors", "show what goes wrong, equal failures together", _errors, (takes.as_json, *takes.CLIENT)),
    Command(
        "alerts",
        "show every rule and who was told, and exit with 1 while one fires",
        _alerts,
        (takes.as_json, *takes.CLIENT),
    ),
    Command(
        "database",
        "show how the databases are and what to do, and exit with 1 while something is wrong",
        _database,
        (takes.database, takes.as_json, *takes.CLIENT),
    ),
    Command(
        "drain",
        "let a server finish what it has, and give it nothing new",
        _drain,
        (takes.server, takes.wait, *takes.CLIENT),
    ),
    Command("ready", "give a server traffic again", _ready, (takes.server, *takes.CLIENT)),
    Command(
        "maintenance",
        "drain a server and stop checking its health",
        _maintenance,
        (takes.server, takes.wait, *takes.CLIENT),
    ),
    Command(
        "purge",
        "take answers out of the cache; `balancer cdn purge` out of the CDN's as well",
        _purge,
        (takes.purge, takes.as_json, *takes.CLIENT),
    ),
    Command(
        "cache",
        "show what is in the cache, and how much it spares",
        _cache,
        (takes.cache, takes.as_json, *takes.CLIENT),
    ),
    Command(
        "limits", "show what limits decide; lift or block a key", _limits, (takes.limits, takes.as_json, *takes.CLIENT)
    ),
    Command(
        "hash-password", "print what `auth` keeps of a password, which is asked for or read from stdin", _hash_password
    ),
    Command(
        "api-key",
        "make a key for a client of a site, with its entry for `auth`",
        _api_key,
        (takes.api_key, takes.as_json),
    ),
    Command(
        "healthcheck",
        "exit with 0 if the balancer is well and 1 if not",
        _healthcheck,
        (takes.ready, takes.admin),
    ),
    Command("version", "print the version", _version, (takes.verbose,)),
)
GROUPS = (
    (
        "config",
        "show, change and explain the configuration",
        (
            Command(
                "show",
                "print the configuration in effect, defaults included, secrets masked",
                _show,
                (takes.show, takes.as_json, *takes.CLIENT),
            ),
            Command(
                "patch",
                "change settings of the running balancer",
                _patch,
                (takes.patch, takes.terms, takes.as_json, *takes.CLIENT),
            ),
            Command(
                "put",
                "put a whole configuration in the place of the running one",
                _put,
                (takes.put, takes.terms, takes.as_json, *takes.CLIENT),
            ),
            Command(
                "diff",
                "show what the API says over the file, and what the file has new",
                _diff,
                (takes.as_json, *takes.CLIENT),
            ),
            Command(
                "history", "show the last configurations, and who made them", _history, (takes.as_json, *takes.CLIENT)
            ),
            Command(
                "rollback",
                "make an earlier configuration the running one again",
                _rollback,
                (takes.revision, takes.terms, takes.as_json, *takes.CLIENT),
            ),
            Command("confirm", "keep the change that is on trial", _confirm, (takes.maybe_revision, *takes.CLIENT)),
            Command("why", "say where a setting comes from", _why, (takes.path, takes.as_json, *takes.CLIENT)),
            Command(
                "save",
                "write what the API has changed into the file, comments and all",
                _save,
                (takes.save, *takes.CLIENT),
            ),
            Command("schema", "print the JSON Schema of the file, for editors", _schema),
            Command("example", "print a commented file with every key", _example),
        ),
    ),
    (
        "overlay",
        "what the API says over the file",
        (
            Command(
                "clear",
                "take back what the API has changed, states of servers too: the file holds again",
                _clear,
                (takes.clear, *takes.CLIENT),
            ),
        ),
    ),
    (
        "analytics",
        "how the site and its community are doing",
        (
            Command(
                "report",
                "show one report: user-growth, post-activity, community-growth, engagement, moderation, reports, "
                "communities, users or events",
                _analytics_report,
                (takes.report, takes.as_json, *takes.CLIENT),
            ),
            Command(
                "status",
                "show how events are gathered and kept, and exit with 1 while they are not",
                _analytics_status,
                (takes.as_json, *takes.CLIENT),
            ),
            Command(
                "suggest",
                "print rules for requests that no rule is about yet",
                _analytics_suggest,
                (takes.as_json, *takes.CLIENT),
            ),
            Command("forget", "forget what a user did", _analytics_forget, (takes.user, *takes.CLIENT)),
        ),
    ),
    (
        "cdn",
        "files, purges, figures and pictures of the CDN",
        (
            Command(
                "status",
                "show how the CDN is, and exit with 1 if something is wrong with it",
                _cdn_status,
                (takes.as_json, *takes.CLIENT),
            ),
            Command("upload", "upload files", _cdn_upload, (takes.uploads, takes.as_json, *takes.CLIENT)),
            Command("ls", "list files", _cdn_ls, (takes.prefix, takes.as_json, *takes.CLIENT)),
            Command(
                "rm",
                "remove files, and purge them everywhere",
                _cdn_rm,
                (takes.cdn_paths, takes.as_json, *takes.CLIENT),
            ),
            Command(
                "purge",
                "purge the balancer's own cache, and then the CDN; `balancer purge` is the former alone",
                _cdn_purge,
                (takes.cdn_purge, takes.as_json, *takes.CLIENT),
            ),
            Command(
                "purges",
                "show the last purges, or what has become of one",
                _cdn_purges,
                (takes.cdn_purges, takes.as_json, *takes.CLIENT),
            ),
            Command(
                "stats", "show the traffic of a period", _cdn_stats, (takes.cdn_stats, takes.as_json, *takes.CLIENT)
            ),
            Command(
                "image-url",
                "print where a picture is in another size or form",
                _cdn_image,
                (takes.image, takes.as_json, *takes.CLIENT),
            ),
        ),
    ),
    (
        "key",
        "make, list and revoke keys to the admin API",
        (
            Command(
                "create",
                "make a key in the running balancer, or for its file, and print it once",
                _create_key,
                (takes.new_key, takes.as_json, *takes.CLIENT),
            ),
            Command(
                "list",
                "show every key, from where it is and when it was used last",
                _list_keys,
                (takes.as_json, *takes.CLIENT),
            ),
            Command("revoke", "take a key back at once", _revoke_key, (takes.revoke, *takes.CLIENT)),
        ),
    ),
)
