"""A file by what people have of it: its path, the path of its URL, or the whole URL."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote, urlsplit

from balancer.cdn.errors import Invalid
from balancer.cdn.types import KINDS


def path_of(text: str, base: str, hosts: Collection[str]) -> str:
    """The path of the file that `text` means. `base` is what URLs of files begin with, `hosts` are those that the CDN
    serves, none: it answers on all. Invalid: a URL that is no file's."""
    root = urlsplit(base).path
    if "://" not in text:
        path, below = text.removeprefix("/"), root.removeprefix("/")
        if below and path.startswith(below) and (text.startswith("/") or is_path(path[len(below) :])):
            return path[len(below) :]
        return path
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise Invalid(f"{text[:200]!r} is no URL: {error}") from None
    if hosts and parts.netloc.lower() not in hosts:
        raise Invalid(f"{text[:200]} is no file of the CDN: its URLs begin with {base}")
    path = unquote(parts.path)
    if not path.startswith(root):
        raise Invalid(f"{text[:200]} is no file of the CDN: the paths of its URLs begin with {root}")
    return path[len(root) :]


def is_path(text: str) -> bool:
    """Whether it looks as the path of a file does, and as no other thing that can be purged."""
    return text.partition("/")[0] in KINDS and "/" in text and "*" not in text and "?" not in text
