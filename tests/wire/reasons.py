"""Why the balancer does as it does, once for each kind of script: `reasons.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

REASONS: Final[dict[str, tuple[str, str]]] = {
    kind: (entry["title"], entry["reason"].replace("\n", " "))
    for kind, entry in tomllib.loads(Path(__file__).with_name("reasons.toml").read_text(encoding="utf-8")).items()
}
"""By kind: a title, and the reason."""
