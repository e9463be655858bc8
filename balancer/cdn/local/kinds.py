"""What a file is, by what its bytes say: its type, whether it may be a file of its kind, and how it is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from balancer.cdn.errors import Invalid
from balancer.cdn.types import Kind

HEAD: Final = 4096
"""Bytes that are looked at; where a tar says so is 257 bytes in, and a picture as text may begin with a comment."""
UNKNOWN: Final = "application/octet-stream"
PLAIN: Final = "text/plain; charset=utf-8"
SVG: Final = "image/svg+xml"
PDF: Final = "application/pdf"

_ZIP: Final = "application/zip"
_OLE: Final = "application/x-ole-storage"
_MP4: Final = "video/mp4"
_OGG: Final = "application/ogg"
_ACTIVE: Final = "text/html"
_XML: Final = "application/xml"


@dataclass(frozen=True, slots=True)
class FileType:
    """A type that is known, with the extensions that its files have, the usual one first."""

    mime: str
    kind: Kind
    extensions: tuple[str, ...]
    inside: str | None = None
    """What the bytes alone look like, of a type that is told apart by the name."""


_TYPES: Final = (
    FileType("image/jpeg", "image", ("jpg", "jpeg", "jpe", "jfif")),
    FileType("image/png", "image", ("png", "apng")),
    FileType("image/gif", "image", ("gif",)),
    FileType("image/webp", "image", ("webp",)),
    FileType("image/avif", "image", ("avif", "avifs")),
    FileType("image/heic", "image", ("heic", "heif")),
    FileType("image/jxl", "image", ("jxl",)),
    FileType("image/bmp", "image", ("bmp",)),
    FileType("image/tiff", "image", ("tiff", "tif")),
    FileType("image/x-icon", "image", ("ico",)),
    FileType(SVG, "image", ("svg",)),
    FileType(_MP4, "video", ("mp4", "m4v")),
    FileType("video/quicktime", "video", ("mov", "qt")),
    FileType("video/webm", "video", ("webm",)),
    FileType("video/x-matroska", "video", ("mkv",)),
    FileType("video/ogg", "video", ("ogv",), _OGG),
    FileType("video/x-msvideo", "video", ("avi",)),
    FileType("audio/mpeg", "audio", ("mp3",)),
    FileType("audio/mp4", "audio", ("m4a", "m4b"), _MP4),
    FileType("audio/aac", "audio", ("aac",)),
    FileType("audio/ogg", "audio", ("ogg", "oga", "opus"), _OGG),
    FileType("audio/wav", "audio", ("wav",)),
    FileType("audio/flac", "audio", ("flac",)),
    FileType("audio/webm", "audio", ("weba",), "video/webm"),
    FileType("font/woff", "font", ("woff",)),
    FileType("font/woff2", "font", ("woff2",)),
    FileType("font/ttf", "font", ("ttf",)),
    FileType("font/otf", "font", ("otf",)),
    FileType("font/collection", "font", ("ttc",)),
    FileType(PDF, "document", ("pdf",)),
    FileType("application/rtf", "document", ("rtf",)),
    FileType("application/epub+zip", "document", ("epub",), _ZIP),
    FileType("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "document", ("docx",), _ZIP),
    FileType("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "document", ("xlsx",), _ZIP),
    FileType("application/vnd.openxmlformats-officedocument.presentationml.presentation", "document", ("pptx",), _ZIP),
    FileType("application/vnd.oasis.opendocument.text", "document", ("odt",), _ZIP),
    FileType("application/vnd.oasis.opendocument.spreadsheet", "document", ("ods",), _ZIP),
    FileType("application/vnd.oasis.opendocument.presentation", "document", ("odp",), _ZIP),
    FileType("application/msword", "document", ("doc",), _OLE),
    FileType("application/vnd.ms-excel", "document", ("xls",), _OLE),
    FileType("application/vnd.ms-powerpoint", "document", ("ppt",), _OLE),
    FileType(PLAIN, "document", ("txt", "text", "md", "log"), PLAIN),
    FileType("text/csv; charset=utf-8", "document", ("csv",), PLAIN),
    FileType("application/json", "document", ("json", "geojson"), PLAIN),
    FileType(_ZIP, "archive", ("zip",)),
    FileType("application/gzip", "archive", ("gz", "tgz")),
    FileType("application/x-bzip2", "archive", ("bz2",)),
    FileType("application/x-xz", "archive", ("xz",)),
    FileType("application/zstd", "archive", ("zst",)),
    FileType("application/x-7z-compressed", "archive", ("7z",)),
    FileType("application/vnd.rar", "archive", ("rar",)),
    FileType("application/x-tar", "archive", ("tar",)),
)
_BY_MIME: Final = {known.mime: known for known in _TYPES}
_BY_EXTENSION: Final = {extension: known for known in _TYPES for extension in known.extensions}
_INLINE: Final = frozenset((PDF, PLAIN))
"""Documents that browsers show without running what is in them as a part of the site."""

_MAGIC: Final = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"\x1aE\xdf\xa3", "video/x-matroska"),
    (0, b"OggS", _OGG),
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\x00\x01\x00\x00\x00", "font/ttf"),
    (0, b"true\x00", "font/ttf"),
    (0, b"OTTO", "font/otf"),
    (0, b"ttcf", "font/collection"),
    (0, b"%PDF-", PDF),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
    (0, b"PK\x03\x04", _ZIP),
    (0, b"PK\x05\x06", _ZIP),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS: Final = {
    b"avif": "image/avif", b"avis": "image/avif",
    b"heic": "image/heic", b"heix": "image/heic", b"hevc": "image/heic", b"mif1": "image/heic", b"msf1": "image/heic",
    b"M4A ": "audio/mp4", b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}  # fmt: skip
_BEFORE_MARKUP: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s+|<\?xml[^>]*\?>|<!--.*?-->|<!doctype\s+svg[^>[]*(?:\[[^]]*\]\s*)?>)*", re.I | re.S
)
_SVG_TAG: Final = re.compile(rb"<svg[\s/>]", re.I)
_MARKUP: Final = re.compile(
    rb"<(?:!doctype\s+html|\?php|html|head|body|script|iframe|style|title|table|h1|div|font|img|br|a|b|p|!--)[\s/>-]",
    re.I,
)
_MP3_FRAME: Final = re.compile(rb"\xff[\xe2\xe3\xf2-\xf7\xfa\xfb][\x10-\xef]", re.S)
_AAC_FRAME: Final = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]", re.S)
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file is."""

    content_type: str
    """As it is sent; what a browser would run is UNKNOWN."""
    extension: str
    """That its name should have; empty: none."""


def sniff(head: bytes) -> str | None:
    """The type by the first bytes alone; None where they are those of no known one."""
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    for at, magic, mime in _MAGIC:
        if head.startswith(magic, at):
            return "video/webm" if mime == "video/x-matroska" and b"webm" in head[:64] else mime
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "image/bmp"
    if _MP3_FRAME.match(head):
        return "audio/mpeg"
    if _AAC_FRAME.match(head):
        return "audio/aac"
    return _of_text(head)


def _of_brands(head: bytes) -> str:
    """Of a box that lists its brands, the major one first (ISO/IEC 14496-12 section 4.3)."""
    size = min(max(int.from_bytes(head[:4], "big"), 16), 256)
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size, 4))]
    if head[8:12] in (b"mif1", b"msf1") and (b"avif" in brands or b"avis" in brands):
        return "image/avif"
    return _BRANDS.get(head[8:12], _MP4)


def _of_text(head: bytes) -> str | None:
    before = _BEFORE_MARKUP.match(head)
    start = before.end() if before is not None else 0
    if _SVG_TAG.match(head, start):
        return SVG
    if _MARKUP.match(head, start):
        return _ACTIVE
    if head[:start].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?xml"):
        return _XML
    if not head or _NO_TEXT.search(head):
        return None
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.end < len(head) - 3:  # else the piece ends within a character
            return None
    return PLAIN


def judge(kind: Kind, name_extension: str, head: bytes, said: str | None = None) -> Verdict:
    """What a file of this kind and name is, that begins with these bytes (its first HEAD, or all of it).

    The bytes decide. The name does where they can not: between what is in a zip, and between texts; `said`, which
    clients guess, where neither does. Invalid: it is no file of the kind.
    """
    found = sniff(head)
    known = _known(found, kind, name_extension, said)
    if kind != "other" and (known is None or known.kind != kind):
        raise Invalid(
            f"expected {_article(kind)}, and the file's bytes are {_described(found, known)}: {_way_out(known)}"
        )
    if known is None or (found == PLAIN and name_extension not in _BY_EXTENSION and name_extension):
        # A script, a style sheet or a page by its name is a text that browsers would run.
        return Verdict(UNKNOWN, name_extension)
    return Verdict(known.mime, name_extension if name_extension in known.extensions else known.extensions[0])


def kind_of(name_extension: str, head: bytes, said: str | None = None) -> Kind:
    """What a file is to its readers, for whoever has not said it: `judge` takes it as that."""
    known = _known(sniff(head), "other", name_extension, said)
    return known.kind if known is not None else "other"


def _known(found: str | None, kind: Kind, extension: str, said: str | None) -> FileType | None:
    if found is None:
        return None
    by_name = _BY_EXTENSION.get(extension)
    if by_name is not None and by_name.inside == found:
        return by_name
    by_word = _BY_MIME.get(_bare(said)) if said is not None else None
    if by_word is not None and by_word.inside == found and by_name is None:
        return by_word
    same = [known for known in _TYPES if known.inside == found]
    if found in _BY_MIME and (_BY_MIME[found].kind == kind or kind == "other" or not same):
        return _BY_MIME[found]
    return next((known for known in same if known.kind == kind), _BY_MIME.get(found) or (same[0] if same else None))


def _bare(said: str) -> str:
    mime = said.partition(";")[0].strip().lower()
    return f"{mime}; charset=utf-8" if mime in ("text/plain", "text/csv") else mime


def _article(kind: Kind) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _described(found: str | None, known: FileType | None) -> str:
    if known is not None:
        return f"those of {_article(known.kind)} ({known.mime})"
    return f"those of {found}" if found is not None else "those of nothing that is known"


def _way_out(known: FileType | None) -> str:
    return f"upload it as {known.kind}" if known is not None else "upload it as other"


def extension_type(extension: str) -> str | None:
    """The type that a name claims."""
    known = _BY_EXTENSION.get(extension)
    return known.mime if known is not None else None


def sent(content_type: str) -> bool:
    """Whether it is a type that files are ever sent with."""
    return content_type == UNKNOWN or content_type in _BY_MIME


def inline(content_type: str) -> bool:
    """Whether browsers may show it in place. All else is saved: a page among the files would be one of the site's."""
    return content_type in _INLINE or content_type.startswith(("image/", "video/", "audio/", "font/"))
