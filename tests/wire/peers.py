"""Plays every script through the balancer and through nginx, HAProxy and Envoy: `python -m tests.wire.peers`.

Writes docs/conformance.md. NGINX, HAPROXY and ENVOY name the programs where they are not on the PATH; one that cannot
be had or does not start is left out, and the document says so.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tests.tree import ROOT
from tests.wire.play import Patience, Seen, complaints, finals, play, status_of
from tests.wire.proxies import Balancer, Envoy, HAProxy, Nginx, Proxy
from tests.wire.reasons import REASONS
from tests.wire.script import Case, all_cases
from tests.wire.server import ScriptedServer

OUT: Final = ROOT / "docs" / "conformance.md"
PATIENCE: Final = Patience(answer=0.7, end=0.3)
SITES: Final = ("plain", "routed")
"""What the others can be given a like configuration for."""
PEERS: Final[tuple[type[Proxy], ...]] = (Nginx, HAProxy, Envoy)
NAMES: Final = {"balancer": "Balancer", "nginx": "nginx", "haproxy": "HAProxy", "envoy": "Envoy"}

_ADDRESS: Final = re.compile(r"\b(?!127\.|6\.6\.|7\.7\.)\d{1,3}(?:\.\d{1,3}){3}\b")
"""One that no script has: the machine's."""

SAME, OTHER, DIFFERENT = "same", "other", "different"


class Grade(NamedTuple):
    """How a proxy did on one script, and in a few words what it did; `other` is a refusal in another way."""

    grade: str
    text: str


@dataclass
class Course:
    """One proxy's grades by case, or why there are none."""

    name: str
    version: str = ""
    grades: dict[tuple[str, str], Grade] = field(default_factory=dict)
    missing: str = ""


def grade(case: Case, seen: Seen) -> Grade:
    wrong = complaints(case, seen)
    if not wrong:
        return Grade(SAME, "same")
    if _refusal(case):
        return _grade_refusal(case, seen)
    return Grade(DIFFERENT, _in_short(case, seen, wrong))


def _in_short(case: Case, seen: Seen, wrong: list[str]) -> str:
    statuses = [status_of(message) for message in finals(seen.answers)]
    said = b"".join(step.data for turn in case.turns for step in turn.steps)
    own = [status for status in statuses if status >= 400 and b" %d " % status not in said]
    if own:
        return f"refuses it with {own[0]}"
    if not seen.others:
        return "the next client does not get its own answer"
    if seen.answers and status_of(seen.answers[0]) == 100 and b" 100 " not in said:
        return "answers 100 by itself"
    text = wrong[0].removeprefix("the ")
    return "does not answer the next question" if text.startswith("connection is silent") else text


def _refusal(case: Case) -> bool:
    """Whether the script ends with an error of the proxy's own."""
    if not case.sees:
        return False
    statuses = case.sees[-1].line.split(b"|")
    said = b"".join(step.data for turn in case.turns for step in turn.steps)
    return all(status >= b"400" and b" %b " % status not in said for status in statuses)


def _grade_refusal(case: Case, seen: Seen) -> Grade:
    whole = [message for message in seen.record.arrived if message.whole]
    allowed = len([expected for expected in case.gets if not expected.cut])
    last = finals(seen.answers)[-1:]
    status = status_of(last[0]) if last else 0
    if not seen.others:
        return Grade(DIFFERENT, "the next client does not get its own answer")
    if len(whole) > allowed:
        extra = len(whole) - allowed
        return Grade(DIFFERENT, "passes it on" if extra == 1 else f"passes it on as {extra} requests")
    if seen.answers and not seen.answers[-1].whole:
        return Grade(DIFFERENT, f"{status_of(seen.answers[-1])}, cut")
    if seen.rest:
        return Grade(DIFFERENT, f"answers {seen.rest[:20]!r}")
    if status >= 400:
        expected = str(status).encode() in case.sees[-1].line.split(b"|")
        if expected and seen.end == "kept" and case.end == "closed":
            return Grade(OTHER, f"{status}, and keeps the connection")
        if expected and len(seen.record.arrived) <= len(case.gets):
            return Grade(SAME, "same")
        return Grade(OTHER, f"{status}")
    if status:
        return Grade(DIFFERENT, f"answers {status}")
    if seen.end in ("silent", "waiting"):
        return Grade(DIFFERENT, "waits for more")
    return Grade(OTHER, "closes without an answer")


def course(kind: type[Proxy], cases: list[Case], folder: Path) -> Course:
    """All that one proxy does."""
    result = Course(kind.name)
    server = ScriptedServer()
    proxies: dict[str, Proxy] = {}
    try:
        for site in sorted({case.site for case in cases}):
            proxies[site] = kind(folder, site, server.port)
            proxies[site].start()
        result.version = version(proxies[cases[0].site])
        for case in cases:
            proxy = proxies[case.site]
            seen = play(case, proxy.port, server, PATIENCE)
            verdict = grade(case, seen)
            if not proxy.running:
                verdict = Grade(DIFFERENT, "the process dies")
                proxy.start()
            result.grades[case.theme, case.name] = verdict
    except (FileNotFoundError, RuntimeError) as error:
        result.missing = str(error).split("\n", 1)[0]
    finally:
        for proxy in proxies.values():
            proxy.end()
        server.close()
    return result


def version(proxy: Proxy) -> str:
    if isinstance(proxy, Balancer):
        return "of this tree"
    flag = "--version" if isinstance(proxy, Envoy) else "-v"
    done = subprocess.run([proxy.command()[0], flag], capture_output=True, text=True, timeout=20, check=False)
    words = (done.stdout + done.stderr).replace("/", " ").split()
    return next((word.split("-")[0] for word in words if word[:1].isdigit() and "." in word), "of unknown version")


def document(cases: list[Case], courses: list[Course]) -> str:
    ours, *others = courses
    here = [peer for peer in others if not peer.missing]
    programs = ", ".join(f"{NAMES[peer.name]} {peer.version}" for peer in here)
    lines = [
        "# Beside other proxies",
        "",
        *_paragraph(
            f"""{len(cases)} scripts of [tests/wire](../tests/wire/README.md), played through the balancer and through
            others. Each is some bytes of a client or a server, and what the other side must see of them. This page is
            the output of"""
        ),
        "    python -m tests.wire.peers",
        "",
        *_paragraph(
            f"""with {programs}, each with the least configuration that makes it a reverse proxy
            (`tests/wire/proxies.py`): nginx with kept connections to the server and without buffering, Envoy with
            WebSocket and HTTP/1.0 allowed. What could be tuned to come closer is not. A difference is not a fault of
            theirs: RFC 9112 leaves many choices, the scripts were written for the ones taken here, and newer releases
            may differ."""
        ),
    ]
    for peer in others:
        if peer.missing:
            lines += _paragraph(f"{NAMES[peer.name]} was not there to be asked: {peer.missing}.")
    lines += [
        "## In figures",
        "",
        "Scripts that came out the same / were refused as well, but in another way / came out differently.",
        "",
        "| theme | scripts | " + " | ".join(NAMES[run.name] for run in [ours, *here]) + " |",
        "| --- | --- | " + " | ".join("---" for _ in [ours, *here]) + " |",
    ]
    for theme in sorted({case.theme for case in cases}):
        members = [case for case in cases if case.theme == theme]
        lines.append(
            f"| {theme} | {len(members)} | " + " | ".join(_figures(run, members) for run in [ours, *here]) + " |"
        )
    lines.append(f"| **all** | {len(cases)} | " + " | ".join(_figures(run, cases) for run in [ours, *here]) + " |")
    lines.append("")
    broken = [case for case in cases if ours.grades[case.theme, case.name].grade != SAME]
    if broken:
        lines += ["## Where the balancer is not as its own scripts have it", ""]
        lines += [f"- {case.theme}: {case.name}: {ours.grades[case.theme, case.name].text}" for case in broken]
        lines.append("")
    lines += ["## The differences, and why we do it so", ""]
    lines.append(
        "Those refused in another way are left out. The first column has what is done here, which the scripts assert."
    )
    lines.append("")
    for kind, (title, reason) in REASONS.items():
        members = [case for case in cases if case.kind == kind]
        rows = _rows(members, here)
        if not rows:
            continue
        lines += [f"### {title}", "", *_paragraph(reason)]
        lines.append("| here | script | " + " | ".join(NAMES[peer.name] for peer in here) + " |")
        lines.append("| --- | --- | " + " | ".join("---" for _ in here) + " |")
        lines += rows
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _paragraph(text: str) -> list[str]:
    return [*textwrap.wrap(" ".join(text.split()), 120), ""]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _figures(run: Course, cases: list[Case]) -> str:
    counts = Counter(run.grades[case.theme, case.name].grade for case in cases)
    return f"{counts[SAME]} / {counts[OTHER]} / {counts[DIFFERENT]}"


def _rows(cases: list[Case], peers: list[Course]) -> list[str]:
    """Scripts with the same outcome everywhere share a row."""
    alike: dict[tuple[str, ...], list[Case]] = defaultdict(list)
    for case in cases:
        grades = [peer.grades[case.theme, case.name] for peer in peers]
        if any(verdict.grade == DIFFERENT for verdict in grades):
            alike[(_here(case), *(verdict.text for verdict in grades))].append(case)
    return [
        f"| {_cell(here)} | {'<br>'.join(_cell(c.name) for c in members)} | {' | '.join(map(_cell, cells))} |"
        for (here, *cells), members in alike.items()
    ]


def _here(case: Case) -> str:
    if _refusal(case):
        last = case.sees[-1].line.decode().split("|")[0]
        if case.gets and case.gets[-1].cut:
            return f"{last}, and the request is cut"
        return f"{last}" if case.gets else f"{last}, nothing is passed on"
    if not case.gets:
        return "answered here" if case.sees else "nothing is passed on"
    notes = [f"{name.decode()}: {value.decode('latin-1')[:40]}" for name, value in case.gets[0].fields[:2]]
    notes += [f"no {name.decode()}" for name in case.gets[0].absent[:2]]
    seen = case.sees[-1] if case.sees else None
    if seen is not None and not notes:
        notes += [f"{name.decode()}: {value.decode('latin-1')[:40]}" for name, value in seen.fields[:1]]
        notes += [f"no {name.decode()}" for name in seen.absent[:2]]
    if seen is not None and seen.cut:
        return "cut for the client"
    return "passes" + (f", with {', '.join(notes)}" if notes else " as it is")


def _cell(text: str) -> str:
    text = _ADDRESS.sub("an address of its own", text)
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return shown.replace("|", "\\|").replace("<br>", "\0").replace("<", "&lt;").replace("\0", "<br>").replace("`", "'")


def main() -> int:
    cases = [case for case in all_cases() if case.site in SITES]
    with tempfile.TemporaryDirectory() as folder:
        kinds = (Balancer, *PEERS)
        with ThreadPoolExecutor(len(kinds)) as at_once:  # they mostly wait
            courses = list(at_once.map(lambda kind: course(kind, cases, Path(folder)), kinds))
    for run in courses:
        counts = Counter(verdict.grade for verdict in run.grades.values())
        print(f"{run.name}: {run.missing or dict(counts)}")
    OUT.write_text(document(cases, courses), encoding="utf-8")
    print(f"written: {OUT.relative_to(ROOT)}")
    return 1 if courses[0].missing or any(g.grade != SAME for g in courses[0].grades.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
