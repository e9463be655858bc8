"""Small files that really are what they are called, and requests to store them."""

from __future__ import annotations

import gzip
import io
import tarfile
import wave
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from balancer.cdn.local.room import Limits
from balancer.cdn.local.store import Store
from balancer.cdn.types import UploadRequest

NOW = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
SVG = b'<?xml version="1.0"?>\n<!-- a dot -->\n<svg xmlns="http://www.w3.org/2000/svg"><circle r="1"/></svg>'


def picture(form: str, size: tuple[int, int] = (4, 4)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, form)
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "a")
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return out.getvalue()


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes(80))
    return out.getvalue()


def gzipped() -> bytes:
    return gzip.compress(b"a", mtime=0)


def request(source: Any = b"hello", name: str = "hello.txt", kind: Any = "document", **more: Any) -> UploadRequest:
    return UploadRequest(source, name, kind, **more)


async def in_pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def store_in(folder: Path, *, file: int = 1 << 30, most: int | None = None, free: int = 0) -> Store:
    return Store(folder / "cdn", Limits(file, most, free), lambda: NOW)


def paths_in(store: Store) -> list[str]:
    """Every file of the folder that is served, by its path."""
    return sorted(path for path, *_ in store.folder.walk())
