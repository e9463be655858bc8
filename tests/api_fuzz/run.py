"""Runs schemathesis against a house, with one role's key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from balancer.analytics.reports import REPORTS
from tests.system.house import House
from tests.tree import ROOT

REFUSED: Final = ["400", "401", "403", "404", "405", "408", "409", "412", "413", "415", "421", "422", "428", "429"]
"""How a request that does not fit the document may be refused."""
TAKEN: Final = ["2xx", "401", "403", "404", "409", "412", "428", "429", "503", "507"]
"""How one that does may be answered: names that it made up are not there, and tags that it made up do not match."""
WIDER: Final = {
    "add_server": "the host in a URL is an address or a name, which a pattern tells only roughly",
    "analytics": "what a time and a time zone are, and that one time comes before the other",
    **dict.fromkeys((f"report_{name.replace('-', '_')}" for name in REPORTS), "as above, and which tables there are"),
    "export_events": "as above",
    "explain_route": "what a field of a request looks like in each line",
    "cdn_stats": "what a time is, and that one comes before the other",
    "create_key": "which networks there are",
    "initialize": "as above; no two servers have one name; a strategy of one's own is one that the file names",
    "next_server": "a strategy of one's own is the pool's",
    "optimize_image": "what a picture's source is; which fits need both sides",
    "patch_config": "what a configuration is",
    "purge_cache": "what a pattern or a host may look like; how many of them there may be in all lists",
    "purge_cdn": "as above",
    "replace_config": "what a configuration is",
    "upload_file": "that fields stand before the file; what the bytes of a kind are",
    "why_config": "what a path into it may look like",
}
"""Operations whose rules no schema can tell, with what that is: they refuse some of what fits it (400 or 422)."""
SETTINGS: Final = """
hooks = "{hooks}"
warnings = false
seed = {seed}
base-url = "{url}"
continue-on-failure = true
request-timeout = 20.0

[headers]
Connection = "close"
{key}

[cache]
enabled = false

[generation]
max-examples = {examples}
mode = "{mode}"
with-security-parameters = false
{how}

[phases.stateful]
max-steps = 12

[checks]
negative_data_rejection.expected-statuses = {refused}
positive_data_acceptance.expected-statuses = {taken}
missing_required_header.expected-statuses = {refused}

[[operations]]
include-operation-id = {wider}
checks.positive_data_acceptance.expected-statuses = {judged}

[[operations]]
include-operation-id = "events"
enabled = false  # its answer has no end
"""
_COUNTED = re.compile(r"^\s*(\d+) generated", re.MULTILINE)


def house_with_cdn(folder: Path) -> House:
    """A house whose balancer is its own CDN, with little room."""
    local = {"directory": str(folder / "cdn"), "keep_free": 0, "quota": "256MiB"}
    events = {
        "post_created": {"match": {"method": "POST", "path": "/posts"}, "take": {"post": "location:/posts/{post}"}}
    }
    return House(folder, {"cdn": {"local": local, "max_upload": "2MiB"}, "analytics": {"events": events}})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found; `text` has every failure with the request that makes it come again."""

    ok: bool
    requests: int
    text: str


def fuzz(house: House, role: str, *, examples: int, seed: int = 1, seconds: int | None = None) -> Outcome:
    """Try every operation with the role's key, or with none (""). Without `seconds` it is the same each time."""
    key = house.keys[role] if role else ""
    folder = house.folder / "fuzz"
    folder.mkdir(exist_ok=True)
    settings = SETTINGS.format(
        hooks="tests.api_fuzz.hooks",
        seed=seed,
        url=f"http://127.0.0.1:{house.admin}",
        key=f'X-API-Key = "{key}"' if key else "",
        examples=examples,
        mode="all" if role else "positive",  # who is not let in is not told what is wrong with the rest
        how="deterministic = true\nno-shrink = true" if seconds is None else "",
        refused=REFUSED,
        taken=TAKEN,
        wider=sorted(WIDER),
        judged=[*TAKEN, "400", "422"],
    )
    file = folder / "schemathesis.toml"
    file.write_text(settings)
    program = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
    options = ["--no-color", "--config-file", str(file), "run", f"http://127.0.0.1:{house.admin}/openapi.json"]
    checks = ["--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"]
    time = ["--max-time", str(seconds)] if seconds is not None else []
    ran = subprocess.run(
        [*program, *options, *checks, *time],
        cwd=folder,
        env=_environment(role, key, house.admin),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    text = "\n".join(line[:600] for line in ran.stdout.splitlines())  # a generated body may be megabytes
    found = _COUNTED.search(text)
    return Outcome(ran.returncode == 0, int(found[1]) if found is not None else 0, text)


def _environment(role: str, key: str, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
    told = {"FUZZ_ROLE": role, "FUZZ_KEY": key, "FUZZ_BASE": f"http://127.0.0.1:{port}"}
    return {**kept, **told, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


def faults(log: Path) -> list[str]:
    """The lines of a program log that tell of a fault of the balancer's own."""
    signs = ("admin_fault", "Traceback", "Unhandled", '"level":"critical"')
    return [line[:2000] for line in log.read_text(errors="replace").splitlines() if any(sign in line for sign in signs)]
