"""Reads multipart/form-data piece by piece (RFC 7578): a file in it may be larger than memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

HEAD: Final = 8192
"""Bytes of the fields before one part."""
VALUE: Final = 16 * 1024
"""Bytes of a part that is no file."""
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_PARAMETER: Final = re.compile(r';[ \t]*([a-z*]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;" \t]*))[ \t]*', re.IGNORECASE)
_ESCAPED: Final = re.compile(r'\\(["\\])')
_PLAIN: Final = ("", "7bit", "8bit", "binary")


class Malformed(ValueError):
    """The body is no form; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is said of one part before its content."""

    name: str
    filename: str | None
    """None: a field, and no file."""
    content_type: str | None


def boundary_of(parameters: dict[str, str]) -> bytes:
    """What stands between the parts, by the parameters of the body's Content-Type. Raises Malformed."""
    found = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(found):
        raise Malformed("its Content-Type must say a boundary of 1 to 70 characters")
    return found.encode()


class Form:
    """One body, read from its beginning to its end: `next` for each part, and `content` of that part before the next.

    There is nothing before the first part and after the last one; other readers might take it for a part.
    """

    def __init__(self, pieces: AsyncIterator[bytes], boundary: bytes) -> None:
        self._pieces = pieces
        self._delimiter = b"\r\n--" + boundary
        self._held = b"\r\n"  # read, and not given away
        self._within = False  # a part whose content has not been read to its end
        self._begun = False

    async def next(self) -> Part | None:
        """The next part; None at the end. Raises Malformed, also for a body that ends too soon."""
        if self._within:
            async for _ in self.content():
                pass
        if not self._begun:
            self._begun = True
            await self._have(len(self._delimiter))
            if not self._held.startswith(self._delimiter):
                raise Malformed("it must begin with its boundary")
            self._held = self._held[len(self._delimiter) :]
        await self._have(2)
        after, self._held = self._held[:2], self._held[2:]
        if after == b"--":
            await self._end()
            return None
        if after != b"\r\n":
            raise Malformed("its boundary must be followed by a line break")
        while (end := self._held.find(b"\r\n\r\n", 0, HEAD)) < 0:
            if len(self._held) >= HEAD:
                raise Malformed(f"the fields before a part must be at most {HEAD} bytes")
            await self._more()
        head, self._held = self._held[:end], self._held[end + 4 :]
        self._within = True
        return _part(head)

    async def content(self) -> AsyncIterator[bytes]:
        """What is in the present part, in pieces."""
        keep = len(self._delimiter) - 1
        while self._within:
            end = self._held.find(self._delimiter)
            if end >= 0:
                content, self._held = self._held[:end], self._held[end + len(self._delimiter) :]
                self._within = False
                if content:
                    yield content
                return
            if len(self._held) > keep:
                content, self._held = self._held[:-keep], self._held[-keep:]
                yield content
            await self._more()

    async def value(self) -> str:
        """The text of the present part. Raises Malformed."""
        found = b""
        async for piece in self.content():
            found += piece
            if len(found) > VALUE:
                raise Malformed(f"a field that is no file must be at most {VALUE} bytes")
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise Malformed("a field that is no file must be UTF-8 text") from None

    async def _end(self) -> None:
        rest = self._held
        async for piece in self._pieces:
            rest += piece
            if len(rest) > 2:
                break
        if rest not in (b"", b"\r\n"):
            raise Malformed("there must be nothing after its last boundary")

    async def _have(self, size: int) -> None:
        while len(self._held) < size:
            await self._more()

    async def _more(self) -> None:
        piece = await anext(self._pieces, b"")
        if not piece:
            raise Malformed("it must end with its boundary and two hyphens")
        self._held += piece


def _part(head: bytes) -> Part:
    fields: dict[str, str] = {}
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        try:
            key = name.decode("ascii").lower()
            text = value.decode().strip(" \t")
        except UnicodeDecodeError:
            raise Malformed("the fields before a part must be UTF-8 text") from None
        if not colon or not key or key != key.strip() or key in fields or not text.isprintable():
            raise Malformed("the fields before a part must be such as Name: value, each of them once")
        fields[key] = text
    if fields.get("content-transfer-encoding", "").lower() not in _PLAIN or "content-encoding" in fields:
        raise Malformed("a part must be sent as it is, in no encoding")
    kind, parameters = _disposition(fields.get("content-disposition", ""))
    if kind != "form-data" or "name" not in parameters:
        raise Malformed('each part must say Content-Disposition: form-data; name="..."')
    content_type = fields.get("content-type", "").partition(";")[0].strip().lower()
    if content_type.startswith("multipart/"):
        raise Malformed("a part must be no form of its own: send one file")
    return Part(parameters["name"], parameters.get("filename"), content_type or None)


def _disposition(text: str) -> tuple[str, dict[str, str]]:
    kind, found, at = text.partition(";")[0].strip().lower(), {}, text.find(";")
    while 0 <= at < len(text):
        one = _PARAMETER.match(text, at)
        if one is None or one[1].lower() in found:
            raise Malformed("a Content-Disposition is not as it should be")
        name, quoted = one[1].lower(), one[2]
        # Browsers write a quotation mark as %22, others put a backslash before it.
        found[name] = _ESCAPED.sub(r"\1", quoted).replace("%22", '"') if quoted is not None else one[3]
        at = one.end()
    if "filename*" in found and found["filename*"].lower().startswith("utf-8''"):
        found["filename"] = unquote(found["filename*"][7:])
    return kind, found
