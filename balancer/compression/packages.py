"""The codings that this Python can make: gzip always, br and zstd where their packages are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import brotli  # type: ignore[import-untyped]  # it has no stubs
    from backports import zstd
else:
    try:
        import brotli
    except ImportError:
        brotli = None
    try:
        from compression import zstd  # of Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            zstd = None

__all__ = ["AVAILABLE", "brotli", "zstd"]

AVAILABLE: Final[frozenset[bytes]] = frozenset(
    name for name, package in ((b"gzip", True), (b"br", brotli), (b"zstd", zstd)) if package
)
