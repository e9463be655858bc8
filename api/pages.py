"""The dashboard: one page at /, and the modules, styles and licences that it consists of."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from yarl import URL

from api.operation import Call, Operation, Text
from api.problems import NOWHERE, Problem
from api.services import Services

FOLDER: Final = Path(__file__).parent / "dashboard"
PAGE: Final = "index.html"
MISSING: Final = "missing.html"
"""What is shown where nobody has fetched what the page is drawn with."""
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"
"""The path of a file has the version in it."""
STRICT: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:{pictures}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
CAREFUL: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file, as it is sent."""

    content: bytes
    packed: bytes
    """With gzip."""
    content_type: str


@dataclass(frozen=True, slots=True)
class Edition:
    """All files of one moment."""

    stamp: tuple[tuple[str, int, int], ...]
    """Names, sizes and times of the files, by which a new edition is noticed."""
    version: str
    files: Mapping[str, File]
    is_whole: bool
    """Whether what the page is drawn with is there."""


class Pages:
    """Nothing here is secret, and nothing of it depends on who asks: data comes from the API, with a session."""

    def __init__(self, services: Services, folder: Path = FOLDER) -> None:
        self._services = services
        self._folder = folder
        self._edition: Edition | None = None

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation("GET", "/", None, self.page, page=True, unlimited=True),
            Operation("GET", "/dashboard/{version}/{file}", None, self.file, page=True, unlimited=True, tail=True),
            Operation("GET", "/favicon.ico", None, self.icon, page=True, unlimited=True),
        )

    async def page(self, call: Call) -> Text:
        """The dashboard."""
        edition = await asyncio.to_thread(self._look)
        name = PAGE if edition.is_whole else MISSING
        tag = f'"{edition.version}"'
        policy = STRICT.format(pictures=self._pictures())
        headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": policy,
            "ETag": tag,
            "Vary": "Accept-Encoding",
            **CAREFUL,
        }
        if call.request.headers.get("If-None-Match") == tag:
            return Text(b"", TYPES[".html"], 304, headers)
        return _sent(edition.files[name], call, headers)

    async def file(self, call: Call) -> Text:
        """One of the files. There is one version of them: a page of another one has to be loaded anew."""
        edition = await self._known()
        found = edition.files.get(call.path["file"])
        if found is None or call.path["version"] != edition.version or call.path["file"] in (PAGE, MISSING):
            raise Problem(404, NOWHERE)
        return _sent(found, call, {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"})

    async def icon(self, call: Call) -> Text:
        """The picture that browsers ask for of their own accord."""
        edition = await self._known()
        return _sent(edition.files["icon.svg"], call, {"Cache-Control": "max-age=86400", "Vary": "Accept-Encoding"})

    def _pictures(self) -> str:
        """Whose pictures the page may show besides its own: those that were put on the CDN."""
        cdn = self._services.control.snapshot.config.cdn
        if cdn is None or not cdn.url:
            return ""
        url = URL(cdn.url)
        return f" {url.origin()}" if url.absolute and url.scheme in ("http", "https") else ""

    async def _known(self) -> Edition:
        edition = self._edition
        return edition if edition is not None else await asyncio.to_thread(self._look)

    def _look(self) -> Edition:
        """What is in the folder now. Blocks; a few milliseconds after a change, well below one without."""
        paths = sorted(path for path in self._folder.rglob("*") if path.suffix in TYPES and path.is_file())
        names = [path.relative_to(self._folder).as_posix() for path in paths]
        found = [path.stat() for path in paths]
        stamp = tuple((n, one.st_size, one.st_mtime_ns) for n, one in zip(names, found, strict=True))
        edition: Edition | None = self._edition
        if edition is None or edition.stamp != stamp:
            edition = _edition(stamp, {name: path.read_bytes() for name, path in zip(names, paths, strict=True)})
            self._edition = edition
        return edition


def _edition(stamp: tuple[tuple[str, int, int], ...], contents: dict[str, bytes]) -> Edition:
    digest = sha256()
    for name, content in contents.items():
        digest.update(b"%d %s %d " % (len(name), name.encode(), len(content)) + content)
    version = digest.hexdigest()[:16]
    contents[PAGE] = contents[PAGE].replace(b"{version}", version.encode())
    files = {
        name: File(content, gzip.compress(content, 9, mtime=0), TYPES["." + name.rpartition(".")[2]])
        for name, content in contents.items()
    }
    return Edition(stamp, version, files, "vendor/preact.js" in files)


def _sent(file: File, call: Call, headers: Mapping[str, str]) -> Text:
    if "gzip" in call.request.headers.get("Accept-Encoding", "").lower():
        return Text(file.packed, file.content_type, headers={"Content-Encoding": "gzip", **headers})
    return Text(file.content, file.content_type, headers=headers)
