"""What an installation of the balancer consists of: `make sbom` writes it, `make licenses` shows the licences.

The packages, their versions and hashes are those of requirements/run.lock, so of what was tested and of what the image
has. What else is said of them comes from the packages as they are installed here; nothing is asked of any network.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final
from uuid import UUID

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import balancer

ROOT: Final = Path(__file__).parent.parent
LOCK: Final = ROOT / "requirements" / "run.lock"
OUTPUT: Final = ROOT / "build" / "sbom.cdx.json"
_PIN = re.compile(r"([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==(\S+)(?: ; (.*?))? \\")
_HASH = re.compile(r" {4}--hash=sha256:([0-9a-f]{64})")
_SPELT: Final = {"Apache 2.0": "Apache-2.0", "MIT License": "MIT OR Apache-2.0"}
"""What packages without a licence expression (PEP 639) say in its place, as SPDX has it. The second is uvloop's."""
_READ: Final = {"python-dateutil": "BSD-3-Clause"}
"""Licences of packages whose word for it says nothing, as their licence files have it. This one is "Dual License":
all of it is under this one, and what came after 2017 may be had under Apache-2.0 in its place."""
_ELSEWHERE: Final = {"async-timeout": "Apache-2.0", "backports-zstd": "PSF-2.0"}
"""Licences of packages that only other platforms or Pythons install."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the lock."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """SHA-256 of each file that pip takes for it, in hexadecimal."""
    where: str | None
    """The marker (PEP 508) of the platforms that have it; None: all."""
    license: str
    """An SPDX expression."""
    needs: tuple[str, ...]
    """Other packages of the lock."""
    summary: str | None


def packages(lock: Path = LOCK) -> list[Package]:
    """Those of the lock, by name. ValueError: one is installed in another version, or does not say its licence."""
    found: list[tuple[str, str, str | None, list[str]]] = []
    for line in lock.read_text().splitlines():
        if (pin := _PIN.fullmatch(line)) is not None:
            found.append((pin[1], pin[2], pin[3], []))
        elif (hashed := _HASH.match(line)) is not None:
            found[-1][3].append(hashed[1])
    names = {name for name, *_ in found}
    return [_package(name, version, where, hashes, names) for name, version, where, hashes in found]


def _package(name: str, version: str, where: str | None, hashes: list[str], names: set[str]) -> Package:
    installed: Distribution | None
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        installed = None
    if installed is None:
        if where is None:
            raise ValueError(f"{name} is in the lock and not installed: make the virtual environment anew")
        if name not in _ELSEWHERE:
            raise ValueError(f"{name} is not installed here ({where}): its licence must be among _ELSEWHERE")
        return Package(name, version, tuple(hashes), where, _ELSEWHERE[name], (), None)
    if installed.version != version:
        raise ValueError(f"{name} must be installed as {version}, as the lock has it, not {installed.version}")
    wanted = {canonicalize_name(one.name) for one in map(Requirement, installed.requires or ()) if not _extra(one)}
    licensed = _READ.get(name) or _said(installed, "License-Expression") or _said(installed, "License")
    licensed = _SPELT.get(licensed, licensed)
    if not licensed or "\n" in licensed:
        raise ValueError(f"{name} does not say its licence in a word: add it to _SPELT")
    summary = _said(installed, "Summary") or None
    return Package(name, version, tuple(hashes), where, licensed, tuple(sorted(wanted & names)), summary)


def _said(installed: Distribution, name: str) -> str:
    found: list[str] = installed.metadata.get_all(name) or [""]
    return found[0]


def _extra(requirement: Requirement) -> bool:
    return requirement.marker is not None and "extra" in str(requirement.marker)


def bill(found: list[Package], made: datetime) -> Bom:
    """The bill of materials, the same for the same lock and time."""
    licenses = LicenseFactory()
    whole = Component(
        name="balancer",
        version=balancer.__version__,
        type=ComponentType.APPLICATION,
        bom_ref="balancer",
        description="A reverse-proxy load balancer for HTTP/1.1",
        licenses=[licenses.make_from_string("MIT")],
    )
    components = {}
    for one in found:
        url = PackageURL("pypi", name=one.name, version=one.version)
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=content) for content in one.hashes]
        components[one.name] = Component(
            name=one.name,
            version=one.version,
            type=ComponentType.LIBRARY,
            bom_ref=one.name,
            purl=url,
            description=one.summary,
            licenses=[licenses.make_from_string(one.license)],
            # Any of several files may be installed: these are hashes of them, and not of the package itself.
            external_references=[
                ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(url)), hashes=hashes)
            ],
            properties=[Property(name="balancer:where", value=one.where)] if one.where is not None else (),
        )
    serial = UUID(bytes=sha256(repr((balancer.__version__, found)).encode()).digest()[:16], version=4)
    tools = ToolRepository(components=[Component(name="deploy/sbom.py", type=ComponentType.APPLICATION)])
    bom = Bom(
        serial_number=serial,
        components=components.values(),
        metadata=BomMetaData(component=whole, timestamp=made, tools=tools),
    )
    needed = {name for one in found for name in one.needs}
    bom.register_dependency(whole, [components[one.name] for one in found if one.name not in needed])
    for one in found:
        bom.register_dependency(components[one.name], [components[name] for name in one.needs])
    return bom


def text(bom: Bom) -> str:
    """CycloneDX 1.6 in JSON."""
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m deploy.sbom", description="What an installation consists of.")
    arguments.add_argument("--licenses", action="store_true", help="show the licences, and write nothing")
    arguments.add_argument("--output", type=Path, default=OUTPUT, help="the file to write (build/sbom.cdx.json)")
    options = arguments.parse_args()
    try:
        found = packages()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if options.licenses:
        for one in found:
            print(f"{one.name:<20} {one.version:<10} {one.license}")
        return 0
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    made = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text(bill(found, made)))
    print(f"{len(found)} packages: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
