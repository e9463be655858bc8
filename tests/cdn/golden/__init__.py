"""What providers are sent, held against files: a change of them is a change that somebody has looked at."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent


def same_as(name: str, text: str) -> None:
    """Fails when the file says something else. With GOLDEN=write in the environment it is written anew."""
    file = HERE / name
    if os.environ.get("GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text, f"{file.name} says something else; if that is meant: GOLDEN=write"
