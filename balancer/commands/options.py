"""What each command takes: its options and arguments. See `balancer.cli`, which says what has which."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from pathlib import Path


def config(own: ArgumentParser) -> None:
    own.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration (default: BALANCER_CONFIG, else ./balancer.yaml, "
        "else /etc/balancer/balancer.yaml, else what LOAD_BALANCER_SERVERS says)",
    )


def admin(own: ArgumentParser) -> None:
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
    config(own)


def key_file(own: ArgumentParser) -> None:
    own.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="a file that holds the key to the admin API (default: BALANCER_ADMIN_KEY or ADMIN_API_KEY)",
    )


def as_json(own: ArgumentParser) -> None:
    own.add_argument("--json", action="store_true", help="JSON for programs instead of text for people")


def server(own: ArgumentParser) -> None:
    own.add_argument("server", metavar="POOL/SERVER", help="as `balancer status` names them: default/10.0.0.11:8000")


CLIENT = (admin, key_file)
"""What a command that speaks to the admin API takes."""


def check(own: ArgumentParser) -> None:
    which = own.add_mutually_exclusive_group()
    which.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the configuration (default: as for `run`)")
    which.add_argument("-c", "--config", type=Path, help=SUPPRESS)  # what every other command calls it
    own.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="text",
        help="text for people, json for programs, github for GitHub's annotations (default: %(default)s)",
    )


def watch(own: ArgumentParser) -> None:
    own.add_argument("-w", "--watch", action="store_true", help="look again each second, until Ctrl-C")


def wait(own: ArgumentParser) -> None:
    own.add_argument(
        "--wait",
        metavar="DURATION",
        help="return once nothing is left on it, with exit code 5 after this long, such as 30s",
    )


def purge(own: ArgumentParser) -> None:
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


def cache(own: ArgumentParser) -> None:
    own.add_argument("what", nargs="?", choices=("stats",), default="stats", help="the only thing to show so far")
    own.add_argument(
        "--top", type=int, default=10, metavar="N", help="URLs and tags to list, at most 100 (default: %(default)s)"
    )


def limits(own: ArgumentParser) -> None:
    about = "show (default); lift: no limit for a key; block: no request of it; restore: as all others"
    own.add_argument("what", nargs="?", default="show", metavar="ORDER", help=about)
    own.add_argument("policy", nargs="?", metavar="POLICY", help="one of rate_limits")
    own.add_argument("key", nargs="*", metavar="KEY", help="the values of its key, such as 192.0.2.7")
    own.add_argument("--name", help="in place of KEY: what the list calls it")
    own.add_argument("--for", dest="time", default="1h", metavar="TIME", help="for how long (default: %(default)s)")


def database(own: ArgumentParser) -> None:
    own.add_argument("name", nargs="?", metavar="NAME", help="one of them, with its tables and statements")
    own.add_argument("--fresh", action="store_true", help="look now, instead of telling the last look")
    own.add_argument(
        "--top", type=int, default=10, metavar="N", help="tables and statements, at most 100 (default: %(default)s)"
    )


def show(own: ArgumentParser) -> None:
    own.add_argument("--running", action="store_true", help="what is in force in the running balancer")


def terms(own: ArgumentParser) -> None:
    own.add_argument("--dry-run", action="store_true", help="only say what would change, and what that would do")
    own.add_argument(
        "--confirm",
        metavar="DURATION",
        help="undo it again unless `balancer config confirm` comes within this time, such as 30s "
        "(default: as admin.confirm says; 0: keep it at once)",
    )


def patch(own: ArgumentParser) -> None:
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


def put(own: ArgumentParser) -> None:
    own.add_argument("file", type=Path, metavar="FILE", help="a whole configuration; - for stdin")


def revision(own: ArgumentParser) -> None:
    own.add_argument("revision", type=int, metavar="REVISION", help="as `balancer config history` numbers them")


def maybe_revision(own: ArgumentParser) -> None:
    own.add_argument("revision", nargs="?", type=int, metavar="REVISION", help="(default: the one that is on trial)")


def path(own: ArgumentParser) -> None:
    own.add_argument(
        "path", metavar="PATH", help="a setting, such as pools.app.servers.10.0.0.1:80.weight, or a part: pools.app"
    )


def save(own: ArgumentParser) -> None:
    own.add_argument("--dry-run", action="store_true", help="only say whether it is possible, and what would be saved")


def clear(own: ArgumentParser) -> None:
    own.add_argument("pool", nargs="?", metavar="POOL", help="only what is about this pool (default: everything)")
    own.add_argument("--dry-run", action="store_true", help="only say what would be taken back")


def new_key(own: ArgumentParser) -> None:
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


def revoke(own: ArgumentParser) -> None:
    own.add_argument("id", metavar="ID", help="as `balancer key list` names it")
    own.add_argument("--last", action="store_true", help="also when it is the last key of role admin")


def ready(own: ArgumentParser) -> None:
    own.add_argument("--ready", action="store_true", help="ask whether it takes traffic, not only whether it lives")


def verbose(own: ArgumentParser) -> None:
    own.add_argument("-v", "--verbose", action="store_true", help="with Python, the system and the packages used")


def api_key(own: ArgumentParser) -> None:
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


def uploads(own: ArgumentParser) -> None:
    own.add_argument("files", nargs="+", metavar="FILE", help="of this machine; - is stdin, and needs --name")
    own.add_argument("--name", help="what it is called (default: as the file)")
    own.add_argument(
        "--kind",
        choices=("image", "video", "audio", "document", "font", "archive", "other"),
        help="the first part of its path (default: what its bytes are)",
    )
    own.add_argument("--tag", dest="tags", metavar="TAG", action="append", default=[], help="by which it can be purged")
    own.add_argument("--overwrite", action="store_true", help="under its plain name, over what is there")


def prefix(own: ArgumentParser) -> None:
    own.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="what their paths begin with")


def cdn_paths(own: ArgumentParser) -> None:
    own.add_argument("paths", nargs="+", metavar="PATH", help="as `balancer cdn ls` shows it, or its URL")


def cdn_purge(own: ArgumentParser) -> None:
    about = "/posts/7, '/posts/*', https://example.com/a.png, tag:post-42, host:img.example.com"
    own.add_argument("patterns", nargs="*", metavar="TARGET", help=f"{about}, or a file as `balancer cdn ls` shows it")
    for name, to in (("tag", "tags"), ("host", "hosts")):
        own.add_argument(f"--{name}", dest=to, metavar=name.upper(), action="append", default=[], help=f"a {name}")
    own.add_argument("--all", dest="everything", action="store_true", help="everything there is")
    own.add_argument("--soft", action="store_true", help="only make it stale, where there is such a thing")
    own.add_argument("--widen", action="store_true", help="the nearest folder, for what the CDN has no form for")
    own.add_argument("--own", action="store_true", help="only the balancer's own cache, and nothing at the CDN")
    own.add_argument("--wait", action="store_true", help="return when the CDN is done")
    own.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long, at most 60 (default: %(default)g)",
    )
    own.add_argument("--once", metavar="TEXT", help="asked again with the same text within a day, it is done once")


def cdn_purges(own: ArgumentParser) -> None:
    own.add_argument("ticket", nargs="?", metavar="TICKET", help="one of them (default: the last ones)")
    own.add_argument("--limit", type=int, default=20, metavar="N", help="how many to list (default: %(default)s)")
    own.add_argument("--retry", action="store_true", help="try anew what of TICKET has failed for good")


def cdn_stats(own: ArgumentParser) -> None:
    about = "a time such as 2026-11-30T12:00:00Z, or how long ago"
    own.add_argument("--from", dest="from_", default="24h", metavar="TIME", help=f"{about} (default: %(default)s)")
    own.add_argument("--to", metavar="TIME", help="the same (default: now)")
    own.add_argument("--interval", default="1h", metavar="DURATION", help="of the series (default: %(default)s)")


def image(own: ArgumentParser) -> None:
    own.add_argument("url", metavar="SOURCE", help="a URL, or a file as `balancer cdn ls` shows it")
    own.add_argument("--width", type=int, metavar="PIXELS")
    own.add_argument("--height", type=int, metavar="PIXELS")
    own.add_argument("--quality", type=int, metavar="1-100")
    own.add_argument("--format", choices=("auto", "avif", "webp", "jpeg", "png"), help="(default: what clients take)")
    own.add_argument("--fit", choices=("contain", "cover", "fill", "pad"), help="(default: contain)")
    own.add_argument("--render", action="store_true", help="make it now, and say what it became")


def report(own: ArgumentParser) -> None:
    own.add_argument("name", metavar="REPORT", help="such as user-growth; all are in the help of `balancer analytics`")
    own.add_argument("--from", dest="from_", metavar="DAY", help="the first day, or a moment (default: 30 days ago)")
    own.add_argument("--to", metavar="DAY", help="the last day, or a moment (default: today)")
    own.add_argument("--interval", choices=("hour", "day", "week", "month"), help="of the series (default: by length)")
    own.add_argument("--zone", metavar="ZONE", help="whose days, such as Europe/Berlin (default: analytics.time_zone)")
    own.add_argument("--source", choices=("auto", "traffic", "database"), help="where figures are to come from")
    own.add_argument("--alone", action="store_true", help="without the period before")


def user(own: ArgumentParser) -> None:
    own.add_argument("user", metavar="USER", help="their id, as the app's answers or tokens have it")
