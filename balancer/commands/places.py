"""Where a command finds the configuration, the running balancer's admin API, and the key to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from balancer.commands.outcome import USAGE, Failure

USUAL = (Path("balancer.yaml"), Path("/etc/balancer/balancer.yaml"))
DEFAULT_LISTEN = "127.0.0.1:9900"
KEY_VARIABLES = ("BALANCER_ADMIN_KEY", "ADMIN_API_KEY")
"""The first that is set is used; the second is the one that the balancer itself reads."""
_EVERYWHERE = ("", "*", "0.0.0.0")


class Admin(NamedTuple):
    """Where an admin API should answer, who says so, and by what it is known with TLS."""

    url: str
    """http://host:port, https://host:port or unix:/path, without a slash at the end."""
    source: str
    ca: Path | None = None
    """A file of the authorities that may vouch for it; None: those of the system."""
    certificate: Path | None = None
    """The very certificate that it has, by the configuration: then nobody has to vouch for it."""


class Key(NamedTuple):
    """A key to the admin API, and where it is from."""

    text: str
    source: str


def configuration(given: Path | None, environ: Mapping[str, str], usual: Sequence[Path] = USUAL) -> Path | None:
    """The configuration's file; None when there is none and the environment has to do."""
    if given is not None:
        return given
    if named := environ.get("BALANCER_CONFIG"):
        return Path(named)
    return next((path for path in usual if path.is_file()), None)


def needed_configuration(given: Path | None, environ: Mapping[str, str], usual: Sequence[Path] = USUAL) -> Path | None:
    """The same for a command that cannot do without: exit code 2 when nothing names a server."""
    path = configuration(given, environ, usual)
    if path is None and not environ.get("LOAD_BALANCER_SERVERS", "").strip():
        raise Failure(
            USAGE,
            f"there is no configuration: {' and '.join(map(str, usual))} do not exist. Write one "
            "(`balancer config example > balancer.yaml`), name one with -c, or set "
            "LOAD_BALANCER_SERVERS=http://10.0.0.11:8000,http://10.0.0.12:8000",
        )
    return path


def admin(given: str | None, config: Path | None, environ: Mapping[str, str], ca: Path | None = None) -> Admin:
    """Where to ask: the option, BALANCER_ADMIN, what the configuration says, or else the default."""
    if ca is None and (named := environ.get("BALANCER_ADMIN_CA")):
        ca = Path(named)
    if given is not None:
        return Admin(url(given, "--admin"), "--admin", ca)
    if said := environ.get("BALANCER_ADMIN", "").strip():
        return Admin(url(said, "BALANCER_ADMIN"), "BALANCER_ADMIN", ca)
    path = configuration(config, environ)
    listen, cert = _said(path, environ) if path is not None else (None, None)
    source = f"admin.listen in {path}"
    if said := environ.get("BALANCER_ADMIN_LISTEN", "").strip():
        listen, source = said, "BALANCER_ADMIN_LISTEN"
    if listen is None:
        listen, source = DEFAULT_LISTEN, "the default"
    found = url(listen, source)
    if cert is None:
        return Admin(found, source, ca)
    if found.startswith("unix:"):
        raise Failure(USAGE, "this command speaks no TLS over a Unix socket: take admin.tls out, or listen on loopback")
    # What a name would have to prove, the certificate itself does; and on loopback it has another name.
    return Admin(found.replace("http://", "https://", 1), source, ca, Path(cert) if ca is None else None)


def key(file: Path | None, environ: Mapping[str, str]) -> Key | None:
    """The key of a file or a variable; None when there is none.

    It is never taken from the command line, which every user of the machine can read.
    """
    if file is not None:
        try:
            return _usable(file.read_text().strip(), str(file))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise Failure(USAGE, f"the key file {file} cannot be read: {why}") from None
    for variable in KEY_VARIABLES:
        if found := environ.get(variable, "").strip():
            return _usable(found, variable)
    return None


def _usable(text: str, source: str) -> Key:
    if not text or not all("!" <= char <= "~" for char in text):
        raise Failure(USAGE, f"{source} must hold a key: visible ASCII without spaces, as it travels in a header field")
    return Key(text, source)


def url(text: str, source: str) -> str:
    """The URL of an admin API from one, or from an address as `admin.listen` has it."""
    if text.startswith("unix:/"):
        return text
    if text.startswith(("http://", "https://")):
        place = text.partition("://")[2]
        if not place.strip("/") or set(place) & set("@?# "):
            raise Failure(USAGE, _expected(text, source))
        return text.rstrip("/")
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or "/" in host:
        raise Failure(USAGE, _expected(text, source))
    if int(port) == 0:
        raise Failure(
            USAGE,
            f"{source} is {text}, so that only the running balancer knows its port: its log says which; "
            "pass it with --admin",
        )
    # What listens on every address answers on loopback too.
    host = "127.0.0.1" if host in _EVERYWHERE else "[::1]" if host == "[::]" else host
    return f"http://{host}:{port}"


def _expected(text: str, source: str) -> str:
    return (
        f"{source} must be where the admin API answers, such as http://127.0.0.1:9900 or "
        f"unix:/run/balancer/admin.sock, not {text!r}"
    )


def _said(path: Path, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """`admin.listen` and `admin.tls.cert` of a file; None when it is not there or cannot be read.

    Only these values are looked at, without the schema: a client command has to be quick, and a running balancer
    can be asked while its file has mistakes in it.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None, None
    if b"admin" not in content:
        return None, None
    from config.compose import compose
    from config.expand import Expansion
    from config.nodes import Node, Scalar, Table
    from config.problems import ConfigError

    def read(name: str) -> str:
        return (path.parent / name).read_text().strip()

    def text(node: Node | None) -> str | None:
        if not isinstance(node, Scalar):
            return None
        value = Expansion(environ, read).tree(Table(node.place, {"it": node})).entries["it"]
        return value.text or None if isinstance(value, Scalar) and not value.broken else None

    try:
        tree, _ = compose(content, str(path))
    except ConfigError:
        return None, None
    node = tree.entries.get("admin")
    if not isinstance(node, Table):
        return text(node), None
    return text(node.entries.get("listen")), text(node.table("tls").entries.get("cert"))
