"""Asks a running balancer's admin API, over TCP or a Unix socket, and says in sentences what went wrong."""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from balancer.commands.document import Part
from balancer.commands.outcome import ERROR, REFUSED, UNREACHABLE, USAGE, Failure
from balancer.commands.places import KEY_VARIABLES, Admin, Key

PATIENCE = 10.0
"""Seconds for an answer; a probe of slow servers is the longest that the balancer takes by itself."""
CHANGE_PATIENCE = 60.0
"""Seconds for a change of the whole configuration: ports may have to be opened, and every worker has to be done."""
FILE_PATIENCE = 300.0
"""Seconds without any progress of a file: it is passed on to a provider before it is answered."""
LARGEST = 64 * 2**20
"""Bytes of an answer that are read; ten thousand servers take about ten million."""
ASKED = 1.0
"""Seconds to wait for the word to go on with a file; whoever has never heard of asking does not say it."""
_GO_ON = b"HTTP/1.1 100"
_REFUSALS = frozenset((401, 403, 409, 412, 421, 428, 429))
_MISTAKES = frozenset((400, 404, 405, 413, 415, 422))


class Refusal(Failure):
    """The balancer has answered, and does not do it: with what is wrong, one by one."""

    def __init__(self, code: int, text: str, faults: Sequence[Part]) -> None:
        super().__init__(code, text)
        self.faults = faults


class Answer(NamedTuple):
    """What came back, of whatever status."""

    status: int
    content_type: str
    body: bytes
    tag: str = ""
    """The ETag; empty without one."""


class File(NamedTuple):
    """A body that is read from a file while it is sent, and so may be larger than memory."""

    pieces: Iterable[bytes]
    size: int
    content_type: str


class Content(NamedTuple):
    """A body that is not made of JSON here."""

    body: bytes
    content_type: str
    typed: bool = True
    """Whether whoever is told of mistakes in it has seen it, and so has a use for lines and columns."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket. `localhost` is what it says in Host, as the socket has no name."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.timeout)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        self.sock = connection


class _TlsConnection(http.client.HTTPSConnection):
    """HTTPS with whoever a known authority vouches for, or with the one certificate that is expected."""

    def __init__(self, host: str, port: int | None, timeout: float, ca: Path | None, certificate: Path | None) -> None:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        self._expected: bytes | None = None
        if certificate is not None:
            first = certificate.read_text().partition("-----END CERTIFICATE-----")
            self._expected = ssl.PEM_cert_to_DER_cert("".join(first[:2]).strip())
            context.check_hostname = False  # it is the very certificate: what is in it does not matter
            context.verify_mode = ssl.CERT_NONE
        super().__init__(host, port, timeout=timeout, context=context)

    def connect(self) -> None:
        super().connect()
        if self._expected is not None and self.sock.getpeercert(True) != self._expected:
            self.close()
            raise ssl.SSLCertVerificationError(1, "another certificate than that of admin.tls.cert")


class Client:
    """The admin API as one user sees it. Each question has a connection of its own: few are asked."""

    def __init__(self, admin: Admin, key: Key | None) -> None:
        self.admin = admin
        self._key = key

    def get(self, *path: str, query: str = "") -> Part:
        return self._document(self.ask("GET", *path, query=query))

    def post(
        self,
        *path: str,
        query: str = "",
        patience: float = PATIENCE,
        body: object = None,
        also: Collection[int] = (),
        key: str | None = None,
    ) -> Part:
        """`also` are statuses that are no success, and whose answer is told all the same.

        What is asked again with the same `key` is done once.
        """
        answer = self.ask("POST", *path, query=query, patience=patience, body=body, key=key)
        return self._document(answer, also)

    def send(self, *path: str, query: str, file: File) -> Part:
        """Send a file. The balancer is asked first whether it wants it."""
        return self._document(self.ask("POST", *path, query=query, patience=FILE_PATIENCE, body=file))

    def remove(self, *path: str, patience: float = PATIENCE) -> Part:
        """Remove what is there, and what is told of it."""
        return self._document(self.ask("DELETE", *path, patience=patience))

    def change(self, method: str, *path: str, tag: str, content: Content | None, query: str = "") -> Part:
        """Change what has this ETag, and nothing else."""
        answer = self.ask(method, *path, query=query, patience=CHANGE_PATIENCE, body=content, match=tag)
        return self._document(answer, typed=content is None or content.typed)

    def tagged(self, *path: str, query: str = "") -> tuple[Part, str]:
        """What is there, and its ETag."""
        answer = self.ask("GET", *path, query=query)
        return self._document(answer), answer.tag

    def delete(self, *path: str, query: str = "", patience: float = PATIENCE, tag: str = "") -> None:
        answer = self.ask("DELETE", *path, query=query, patience=patience, match=tag)
        if answer.status != 204:
            self._document(answer)

    def ask(
        self,
        method: str,
        *path: str,
        query: str = "",
        patience: float = PATIENCE,
        body: object = None,
        match: str = "",
        key: str | None = None,
    ) -> Answer:
        """Whatever is answered. The parts of the path are joined by slashes, so each may hold any character.

        Raises Failure when nothing is.
        """
        try:
            connection, base = self._connection(patience)
        except (OSError, ValueError) as error:
            file = self.admin.ca or self.admin.certificate
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise Failure(USAGE, f"{file} must be a file of certificates in PEM ({reason})") from None
        target = base + "".join("/" + quote(part, safe="") for part in path) + (f"?{query}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": "balancer-cli"}
        if self._key is not None:
            headers["X-API-Key"] = self._key.text
        content: bytes | None = None
        if match:
            headers["If-Match"] = match
        if key is not None:
            headers["Idempotency-Key"] = key
        if isinstance(body, File):
            headers["Content-Type"], headers["Content-Length"] = body.content_type, str(body.size)
            headers["Expect"] = "100-continue"
        elif isinstance(body, Content):
            content, headers["Content-Type"] = body.body, body.content_type
        elif body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        try:
            if isinstance(body, File):
                response = _sent(connection, method, target, body, headers)
            else:
                connection.request(method, target, content, headers)
                response = connection.getresponse()
            kind, tag = (response.headers.get(name, "") for name in ("Content-Type", "ETag"))
            return Answer(response.status, kind, response.read(LARGEST + 1), tag)
        except TimeoutError:
            raise Failure(UNREACHABLE, f"{self.where} has not answered within {patience:g} s") from None
        except PermissionError:
            raise Failure(REFUSED, f"{self.where} may not be opened by this user: its owner or root can") from None
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message if hasattr(error, "verify_message") else error.strerror
            raise Failure(
                ERROR,
                f"whoever answers at {self.where} does not prove to be the balancer, and was sent no key: {why}; "
                "say with --ca or BALANCER_ADMIN_CA whose word counts, and take a name that is in the certificate",
            ) from None
        except ssl.SSLError as error:
            raise self._no_balancer(f"without TLS as it should be ({error.reason or error})") from None
        except http.client.HTTPException:
            raise self._no_balancer("in something else than HTTP") from None
        except OSError as error:
            stays = ""
            if self.admin.source.startswith("admin.listen"):
                stays = ". After a change of admin.listen it stays where it was until it is started again"
            raise Failure(
                UNREACHABLE,
                f"no balancer answers at {self.where}: is it running? Start it with `balancer run`, "
                f"or say where it is with --admin or BALANCER_ADMIN ({error.strerror or error}){stays}",
            ) from None
        finally:
            connection.close()

    @property
    def where(self) -> str:
        """The place, with its source unless that is plain to see."""
        url, source = self.admin.url, self.admin.source
        return url if source == "--admin" else f"{url} ({source})"

    def _connection(self, patience: float) -> tuple[http.client.HTTPConnection, str]:
        """A connection that is not open yet, and what its paths begin with."""
        url = self.admin.url
        if url.startswith("unix:"):
            return _UnixConnection(url[5:], patience), ""
        parts = urlsplit(url)
        try:
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise Failure(USAGE, f"{self.where} must have a port between 1 and 65535") from None
        if parts.scheme == "https":
            admin = self.admin
            return _TlsConnection(host, port, patience, admin.ca, admin.certificate), parts.path
        return http.client.HTTPConnection(host, port, timeout=patience), parts.path

    def _document(self, answer: Answer, also: Collection[int] = (), *, typed: bool = True) -> Part:
        """The JSON of an answer; Failure when it is a problem, or none of ours."""
        kind = answer.content_type.partition(";")[0].strip().lower()
        if kind not in ("application/json", "application/problem+json"):
            if answer.status == 400 and b"this port speaks TLS" in answer.body:
                raise Failure(UNREACHABLE, f"{self.where} speaks TLS: use https:// in --admin or BALANCER_ADMIN")
            raise self._no_balancer(f"with status {answer.status} and {kind or 'no content type'}")
        try:
            document = Part(json.loads(answer.body))
        except (ValueError, RecursionError):
            raise self._no_balancer("in broken JSON") from None
        if 200 <= answer.status < 300 or (answer.status in also and kind == "application/json"):
            return document
        raise self._problem(answer.status, document, typed)

    def _no_balancer(self, how: str) -> Failure:
        return Failure(
            UNREACHABLE,
            f"what answers at {self.where} is no balancer's admin API, as it does so {how}: "
            "say where that is with --admin or BALANCER_ADMIN",
        )

    def _problem(self, status: int, problem: Part, typed: bool) -> Failure:
        detail = problem.text("detail") or problem.text("title") or f"status {status}"
        if status == 401 and self._key is None:
            way = (
                f"set {KEY_VARIABLES[1]}, or name a file that holds one with --key-file. A balancer for which none is "
                "configured prints one when it starts"
            )
            return Failure(REFUSED, f"{self.where} needs a key: {way}")
        if status == 401 and self._key is not None:
            return Failure(REFUSED, f"{self.where} does not take the key from {self._key.source}: {detail}")
        lines = [detail, *(f"  {(fault if typed else meant)(found)}" for found in problem.items("errors"))]
        code = REFUSED if status in _REFUSALS else USAGE if status in _MISTAKES else ERROR
        return Refusal(code, "\n".join(lines), problem.items("errors"))


def _sent(
    connection: http.client.HTTPConnection, method: str, target: str, file: File, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    """Send a head, the file once the balancer asks for it, and take the answer.

    http.client does not wait for that: it would send all of a file to whoever has refused its head.
    """
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    if _wanted(connection.sock):
        try:
            for piece in file.pieces:
                connection.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has had enough, and says why
    return connection.getresponse()


def _wanted(connection: socket.socket) -> bool:
    """Whether a file is to be sent, once its head is: unless there is another answer than the word to go on."""
    readable, _, _ = select.select([connection], [], [], ASKED)
    if not readable or isinstance(connection, ssl.SSLSocket):
        return True  # nobody says anything, or what is said can not be read before its time
    return connection.recv(len(_GO_ON), socket.MSG_PEEK) in (_GO_ON, b"")


def fault(found: Part) -> str:
    """One thing that is wrong: its place in a file if it has one, what it is about, and what is wrong with it."""
    place = ":".join(str(found.count(name)) for name in ("line", "column") if found.number(name) is not None)
    return ": ".join(part for part in (place, _about(found), found.text("message")) if part)


def meant(found: Part) -> str:
    """The same of a body that was made of options: a setting by its path, and no place in what nobody has seen."""
    from config.problems import path_text

    about = _about(found)
    if about.startswith("/"):
        about = path_text(tuple(piece.replace("~1", "/").replace("~0", "~") for piece in about[1:].split("/")))
    return ": ".join(part for part in (about, found.text("message")) if part)


_ABOUT = {"?path": "PATH", "?tags": "--tag"}
"""Parameters whose option has another name."""


def _about(found: Part) -> str:
    """What it is about; a parameter of the query by the option that it comes from."""
    about = found.text("pointer") or found.text("path") or ""
    if about.startswith("?"):
        return _ABOUT.get(about) or f"--{about[1:].replace('_', '-')}"
    return about
