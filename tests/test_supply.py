"""What the balancer is made of is known, may be used, and asks nobody for anything that was not configured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.sbom import LOCK, bill, packages, text
from tests.system.house import House, opened
from tests.tree import ROOT
from tests.watched import NETWORK, PROGRAMS

THEN = datetime(2026, 11, 30, tzinfo=UTC)
FREE = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0"}
"""Licences under which a package may be installed beside the balancer, and shipped in an image with it."""


# The bill of materials ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text(bill(packages(), THEN)))
    return found


def test_the_bill_is_valid_cyclonedx(document: dict[str, Any]) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None


def test_the_bill_has_every_package_of_the_lock_with_its_hashes_and_no_other(document: dict[str, Any]) -> None:
    locked: dict[str, set[str]] = {}
    for line in LOCK.read_text().splitlines():
        if pin := re.match(r"([a-z0-9-]+)(?:\[.*\])?==(\S+)", line):
            hashes = locked.setdefault(f"pkg:pypi/{pin[1]}@{pin[2]}", set())
        elif hashed := re.match(r" +--hash=sha256:([0-9a-f]+)", line):
            hashes.add(hashed[1])
    listed = {
        component["purl"]: {hashed["content"] for hashed in component["externalReferences"][0]["hashes"]}
        for component in document["components"]
    }
    assert listed == locked


def test_every_package_in_the_bill_is_needed_by_the_balancer_or_by_another(document: dict[str, Any]) -> None:
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    reached, ahead = set[str](), ["balancer"]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += needs[name]
    assert reached == {"balancer", *(component["bom-ref"] for component in document["components"])}


def test_every_licence_is_one_that_is_free_to_use_and_to_ship(document: dict[str, Any]) -> None:
    for component in document["components"]:
        (said,) = component["licenses"]
        expression = said["expression"] if "expression" in said else said["license"]["id"]
        words = set(re.findall(r"[\w.-]+", expression)) - {"AND", "OR"}
        assert words <= FREE, (component["name"], expression)


def test_the_bill_is_the_same_for_the_same_lock(document: dict[str, Any]) -> None:
    again = json.loads(text(bill(packages(), THEN)))
    assert again == document
    assert document["metadata"]["component"]["name"] == "balancer"


def test_a_lock_that_is_not_what_is_installed_makes_no_bill(tmp_path: Path) -> None:
    other = tmp_path / "run.lock"
    other.write_text(re.sub(r"^yarl==\S+", "yarl==0.0.1", LOCK.read_text(), flags=re.MULTILINE))
    with pytest.raises(ValueError, match=r"yarl must be installed as 0\.0\.1"):
        packages(other)


def test_what_is_installed_is_installed_by_its_hashes() -> None:
    for name in ("Makefile", "Dockerfile"):
        lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
        installing = [line for line in lines if "pip install" in line and ".lock" in line]
        assert installing, name
        assert [line for line in installing if "--require-hashes" not in line] == []


# What it asks for --------------------------------------------------------------------------------------------------


def asked(file: Path) -> list[list[str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_importing_every_module_connects_to_nothing_starts_nothing_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "asked"
    command = [sys.executable, "-m", "tests.watched", str(out), "import"]
    subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL, timeout=60)
    assert asked(out) == []


@pytest.mark.slow
def test_a_start_opens_what_is_configured_asks_the_servers_that_are_and_nobody_else(tmp_path: Path) -> None:
    out = tmp_path / "asked"
    with opened(House(tmp_path), ("-m", "tests.watched", str(out))) as house:
        settings = yaml.safe_load(house.file.read_text())
        found = asked(out)
    servers = {url.removeprefix("http://127.0.0.1:") for url in settings["pools"]["web"]["servers"].values()}
    heard: dict[str, set[str]] = {}
    for event, *details in found:
        if event in NETWORK or event in PROGRAMS:
            heard.setdefault(event, set()).add(" ".join(details))
    for looked_up in heard.pop("socket.getaddrinfo", set()):
        ip_address(looked_up.partition(" ")[0])  # an address, of which nobody is asked
    assert heard == {
        "socket.bind": {f"('127.0.0.1', {port})" for port in (house.port, house.admin)},
        "socket.connect": {f"('127.0.0.1', {port})" for port in servers},
    }
    written = {details[0] for event, *details in found if event == "open"}
    assert all(Path(name).is_relative_to(tmp_path) or name.isdigit() for name in written), written


@pytest.mark.slow
def test_the_bill_is_made_without_asking_anybody(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "def hook(event, details):\n"
        "    if event.startswith('socket.') and event != 'socket.__new__': raise SystemExit(f'{event} {details}')\n"
        "sys.addaudithook(hook)\n"
        "from deploy.sbom import main\n"
        f"sys.argv[1:] = ['--output', {str(tmp_path / 'sbom.json')!r}]\n"
        "sys.exit(main())\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, timeout=60)
    assert json.loads((tmp_path / "sbom.json").read_text())["bomFormat"] == "CycloneDX"
