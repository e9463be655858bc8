"""The command `balancer`: its words and options. What a command does is imported only when it is given."""

from __future__ import annotations

import os
import re
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import balancer
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


# Options.


def _config(own: ArgumentParser) -> None:
    own.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration (default: BALANCER_CONFIG, else ./balancer.yaml, "
        "else /etc/balancer/balancer.yaml, else what LOAD_BALANCER_SERVERS says)",
    )


def _admin(own: ArgumentParser) -> None:
    own.add_argument(
        "--admin",
        metavar="URL",
        help="where the admin API answers, such as http://127.0.0.1:9900 or unix:/run/balancer/admin.sock "
        "(default: BALANCER_ADMIN, else admin.listen of the configuration)",
    )
    own.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="the authorities that vouch for an https:// admin API (default: BALANCER_ADMIN_CA, else admin.tls.cert "
        "itself where the configuration says where to ask, else those of the system)",
    )
    _config(own)


def _key(own: ArgumentParser) -> None:
    own.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="a file that holds the key to the admin API (default: BALANCER_ADMIN_KEY or ADMIN_API_KEY)",
    )


def _json(own: ArgumentParser) -> None:
    own.add_argument("--json", action="store_true", help="JSON for programs instead of text for people")


def _server(own: ArgumentParser) -> None:
    own.add_argument("server", metavar="POOL/SERVER", help="as `balancer status` names them: default/10.0.0.11:8000")


CLIENT = (_admin, _key)
"""What a command that speaks to the admin API takes."""


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


def _check_options(own: ArgumentParser) -> None:
    which = own.add_mutually_exclusive_group()
    which.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the configuration (default: as for `run`)")
    which.add_argument("-c", "--config", type=Path, help=SUPPRESS)  # what every other command calls it
    own.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="text",
        help="text for people, json for programs, github for GitHub's annotations (default: %(default)s)",
    )


def _reload(options: Namespace, console: Console) -> int:
    from balancer.commands.reload import reload

    return reload(console, _client(options, console))


def _status(options: Namespace, console: Console) -> int:
    from balancer.commands.status import status, watch

    return (watch if options.watch else status)(console, _client(options, console), options.json)


def _watch(own: ArgumentParser) -> None:
    own.add_argument("-w", "--watch", action="store_true", help="look again each second, until Ctrl-C")


def _drain(options: Namespace, console: Console) -> int:
    from balancer.commands.servers import change

    return change(console, _client(options, console), "drain", options.server, options.wait)


def _wait(own: ArgumentParser) -> None:
    own.add_argument(
        "--wait",
        metavar="DURATION",
        help="return once nothing is left on it, with exit code 5 after this long, such as 30s",
    )


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


def _purge_options(own: ArgumentParser) -> None:
    own.add_argument("urls", nargs="*", metavar="URL", help="https://example.com/a, example.com/a, or /a on every host")
    for name, to, what in (
        ("prefix", "prefixes", "what URLs begin with, in the same forms"),
        ("pattern", "patterns", "the same with * and ?, such as '/posts/*'"),
        ("tag", "tags", "as answers say in Surrogate-Key or Cache-Tag"),
        ("host", "hosts", "example.com, or '*.example.com'"),
    ):
        own.add_argument(f"--{name}", dest=to, metavar=name.upper(), action="append", default=[], help=what)
    own.add_argument("--all", dest="everything", action="store_true", help="everything there is")
    own.add_argument("--soft", action="store_true", help="only make it stale: to be served while it is fetched anew")


def _cache(options: Namespace, console: Console) -> int:
    from balancer.commands.cache import stats

    return stats(console, _client(options, console), options.json, options.top)


def _cache_options(own: ArgumentParser) -> None:
    own.add_argument("what", nargs="?", choices=("stats",), default="stats", help="the only thing to show so far")
    own.add_argument(
        "--top", type=int, default=10, metavar="N", help="URLs and tags to list, at most 100 (default: %(default)s)"
    )


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


def _limits_options(own: ArgumentParser) -> None:
    about = "show (default); lift: no limit for a key; block: no request of it; restore: as all others"
    own.add_argument("what", nargs="?", default="show", metavar="ORDER", help=about)
    own.add_argument("policy", nargs="?", metavar="POLICY", help="one of rate_limits")
    own.add_argument("key", nargs="*", metavar="KEY", help="the values of its key, such as 192.0.2.7")
    own.add_argument("--name", help="in place of KEY: what the list calls it")
    own.add_argument("--for", dest="time", default="1h", metavar="TIME", help="for how long (default: %(default)s)")


def _show(options: Namespace, console: Console) -> int:
    from balancer.commands.config import show

    if options.running:
        from balancer.commands.revisions import running

        return running(console, _client(options, console), options.json)
    return show(console, options.config, options.json)


def _show_options(own: ArgumentParser) -> None:
    own.add_argument("--running", action="store_true", help="what is in force in the running balancer")


def _terms(options: Namespace) -> Terms:
    from balancer.commands.revisions import Terms

    return Terms(options.dry_run, options.confirm, options.json)


def _terms_options(own: ArgumentParser) -> None:
    own.add_argument("--dry-run", action="store_true", help="only say what would change, and what that would do")
    own.add_argument(
        "--confirm",
        metavar="DURATION",
        help="undo it again unless `balancer config confirm` comes within this time, such as 30s "
        "(default: as admin.confirm says; 0: keep it at once)",
    )


def _patch(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import patch

    return patch(console, _client(options, console), options.file, options.settings, _terms(options))


def _patch_options(own: ArgumentParser) -> None:
    own.add_argument("file", nargs="?", type=Path, metavar="FILE", help="what to change, as YAML or JSON; - for stdin")
    own.add_argument(
        "--set",
        dest="settings",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="a setting, such as pools.app.servers.10.0.0.1:80.weight=3; the value as in a file, so a list is [a, b], "
        "and text that looks like something else goes in quotes; nothing after the = takes it back. A new name with "
        "dots needs brackets: 'pools.app.servers[\"10.0.0.9:80\"].url=http://10.0.0.9:80'",
    )


def _put(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import put

    return put(console, _client(options, console), options.file, _terms(options))


def _put_options(own: ArgumentParser) -> None:
    own.add_argument("file", type=Path, metavar="FILE", help="a whole configuration; - for stdin")


def _diff(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import diff

    return diff(console, _client(options, console), options.json)


def _history(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import history

    return history(console, _client(options, console), options.json)


def _rollback(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import rollback

    return rollback(console, _client(options, console), options.revision, _terms(options))


def _revision(own: ArgumentParser) -> None:
    own.add_argument("revision", type=int, metavar="REVISION", help="as `balancer config history` numbers them")


def _confirm(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import confirm

    return confirm(console, _client(options, console), options.revision)


def _maybe_revision(own: ArgumentParser) -> None:
    own.add_argument("revision", nargs="?", type=int, metavar="REVISION", help="(default: the one that is on trial)")


def _why(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import why

    return why(console, _client(options, console), options.path, options.json)


def _path(own: ArgumentParser) -> None:
    own.add_argument(
        "path", metavar="PATH", help="a setting, such as pools.app.servers.10.0.0.1:80.weight, or a part: pools.app"
    )


def _save(options: Namespace, console: Console) -> int:
    from balancer.commands.revisions import save

    return save(console, _client(options, console), options.dry_run)


def _save_options(own: ArgumentParser) -> None:
    own.add_argument("--dry-run", action="store_true", help="only say whether it is possible, and what would be saved")


def _clear(options: Namespace, console: Console) -> int:
    from balancer.commands.overlay import clear

    return clear(console, _client(options, console), options.pool, options.dry_run)


def _clear_options(own: ArgumentParser) -> None:
    own.add_argument("pool", nargs="?", metavar="POOL", help="only what is about this pool (default: everything)")
    own.add_argument("--dry-run", action="store_true", help="only say what would be taken back")


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


def _key_options(own: ArgumentParser) -> None:
    own.add_argument(
        "--role",
        choices=("viewer", "operator", "admin"),
        default="viewer",
        help="what it allows: reading; draining and probing too; everything (default: %(default)s)",
    )
    own.add_argument("--id", help="its name in lists, logs and the audit trail (default: a random one)")
    own.add_argument("--expires", metavar="DATE", help="the last day on which it works, by UTC, such as 2027-01-31")
    own.add_argument(
        "--network",
        dest="networks",
        metavar="NETWORK",
        action="append",
        default=[],
        help="where it may be used from, such as 10.0.0.0/8; may be given several times (default: from everywhere)",
    )
    own.add_argument(
        "--offline", action="store_true", help="ask no balancer: print an entry for balancer.yaml, not in force yet"
    )


def _list_keys(options: Namespace, console: Console) -> int:
    from balancer.commands.keys import show

    return show(console, _client(options, console), options.json)


def _revoke_key(options: Namespace, console: Console) -> int:
    from balancer.commands.keys import revoke

    return revoke(console, _client(options, console), options.id, options.last)


def _revoke_options(own: ArgumentParser) -> None:
    own.add_argument("id", metavar="ID", help="as `balancer key list` names it")
    own.add_argument("--last", action="store_true", help="also when it is the last key of role admin")


def _healthcheck(options: Namespace, console: Console) -> int:
    from balancer.commands.healthcheck import healthcheck

    return healthcheck(console, options.admin, options.config, options.ready, options.ca)


def _ready_option(own: ArgumentParser) -> None:
    own.add_argument("--ready", action="store_true", help="ask whether it takes traffic, not only whether it lives")


def _version(options: Namespace, console: Console) -> int:
    from balancer.commands.version import version

    return version(console, options.verbose)


def _verbose(own: ArgumentParser) -> None:
    own.add_argument("-v", "--verbose", action="store_true", help="with Python, the system and the packages used")


def _hash_password(options: Namespace, console: Console) -> int:
    from balancer.commands.credentials import hash_password

    return hash_password(console)


def _api_key(options: Namespace, console: Console) -> int:
    from balancer.commands.credentials import api_key

    return api_key(console, options.name, options.expires, options.networks, options.json)


def _api_key_options(own: ArgumentParser) -> None:
    own.add_argument("name", metavar="NAME", help="by which logs and servers know it, such as acme")
    own.add_argument("--expires", metavar="DATE", help="its last day, such as 2027-01-31 (default: never)")
    own.add_argument(
        "--network",
        dest="networks",
        metavar="NETWORK",
        action="append",
        default=[],
        help="whose clients may use it, such as 192.0.2.0/24; may be given more than once (default: all)",
    )


COMMANDS = (
    Command("run", "run the balancer in the foreground", _run, (_config,)),
    Command("check", "find everything that is wrong with a configuration", _check, (_check_options,)),
    Command("reload", "make the running balancer read its configuration anew", _reload, CLIENT),
    Command("status", "show how every server is doing", _status, (_watch, _json, *CLIENT)),
    Command("drain", "let a server finish what it has, and give it nothing new", _drain, (_server, _wait, *CLIENT)),
    Command("ready", "give a server traffic again", _ready, (_server, *CLIENT)),
    Command("maintenance", "drain a server and stop checking its health", _maintenance, (_server, _wait, *CLIENT)),
    Command("purge", "take answers out of the cache", _purge, (_purge_options, _json, *CLIENT)),
    Command("cache", "show what is in the cache, and how much it spares", _cache, (_cache_options, _json, *CLIENT)),
    Command("limits", "show what limits decide; lift or block a key", _limits, (_limits_options, _json, *CLIENT)),
    Command(
        "hash-password", "print what `auth` keeps of a password, which is asked for or read from stdin", _hash_password
    ),
    Command(
        "api-key", "make a key for a client of a site, with its entry for `auth`", _api_key, (_api_key_options, _json)
    ),
    Command(
        "healthcheck",
        "exit with 0 if the balancer is well and 1 if not",
        _healthcheck,
        (_ready_option, _admin),
    ),
    Command("version", "print the version", _version, (_verbose,)),
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
                (_show_options, _json, *CLIENT),
            ),
            Command(
                "patch",
                "change settings of the running balancer",
                _patch,
                (_patch_options, _terms_options, _json, *CLIENT),
            ),
            Command(
                "put",
                "put a whole configuration in the place of the running one",
                _put,
                (_put_options, _terms_options, _json, *CLIENT),
            ),
            Command("diff", "show what the API says over the file, and what the file has new", _diff, (_json, *CLIENT)),
            Command("history", "show the last configurations, and who made them", _history, (_json, *CLIENT)),
            Command(
                "rollback",
                "make an earlier configuration the running one again",
                _rollback,
                (_revision, _terms_options, _json, *CLIENT),
            ),
            Command("confirm", "keep the change that is on trial", _confirm, (_maybe_revision, *CLIENT)),
            Command("why", "say where a setting comes from", _why, (_path, _json, *CLIENT)),
            Command(
                "save",
                "write what the API has changed into the file, comments and all",
                _save,
                (_save_options, *CLIENT),
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
                (_clear_options, *CLIENT),
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
                (_key_options, _json, *CLIENT),
            ),
            Command("list", "show every key, from where it is and when it was used last", _list_keys, (_json, *CLIENT)),
            Command("revoke", "take a key back at once", _revoke_key, (_revoke_options, *CLIENT)),
        ),
    ),
)
