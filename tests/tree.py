"""The project's own files, for tests that read them."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def files() -> list[str]:
    """Every file git has or would take, by its path from ROOT; outside a repository, what looks like one."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        names = listing.stdout.split("\0")
    else:
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        made = {"__pycache__", "build", "dist", "var"}
        names = [
            path.as_posix()
            for path in found
            if not any(folder.startswith(".") or folder in made for folder in path.parts[:-1])
        ]
    # Git also lists what is deleted and not yet committed, and a name may be listed twice during a merge.
    return sorted({name for name in names if name and (ROOT / name).is_file()})
