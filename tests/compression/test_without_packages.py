"""A Python without the extra `compression`: gzip is left, and `check` says so."""

from __future__ import annotations

import subprocess
import sys

from tests.tree import ROOT

PROGRAM = """
import sys
for name in ("brotli", "backports", "backports.zstd", "compression", "compression.zstd"):
    sys.modules[name] = None  # as if it were not installed
from balancer.compression import Compression
from config.load import parse
loaded = parse("{servers: [http://a:1], compress: {codings: [br, zstd, gzip]}}", "f", {})
print(*loaded.warnings, sep="\\n")
print(Compression(loaded.config.compress).choose(b"br, zstd, gzip;q=0.1"))
quiet = parse("{servers: [http://a:1], compress: {codings: [gzip]}}", "f", {})
print(len(quiet.warnings))
"""


def test_without_the_packages_gzip_is_offered_and_the_rest_is_warned_of() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    warning, chosen, quiet = done.stdout.splitlines()
    assert "compress.codings: cannot offer br and zstd here: install balancer[compression]" in warning
    assert chosen == "b'gzip'"
    assert quiet == "0"
