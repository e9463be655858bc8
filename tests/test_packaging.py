"""What is installed, pinned and shipped is what the project says, and nothing of one machine gets into it."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import balancer
from deploy.dashboard import FILES, VENDOR
from tests.tree import ROOT, files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("api", "balancer", "config")

LATER = {"compression"}
"""Modules of Pythons newer than the oldest supported: imported where they are there."""
NOT_SHIPPED = {"pyarrow", "pyvips", "pyvips-binary"}
"""What the extras `vips` and `parquet` ask for: imported where they are, and not in the image. The library of the one
is LGPL, that of the other 150 MB."""
LOCKS = ("run", "build", "dev", "node")
LOCK_LINE = re.compile(
    r"""
      (\ {4})?\#\ .*                                 # who asked for the package above
    | [a-z0-9-]+(\[[a-z0-9,-]+\])?==[A-Za-z0-9.+!]+ # one version, perhaps with an extra,
      (\ ;\ [a-z_]+\ [<>=!]+\ '[^']+'             # perhaps for some platforms
        (\ and\ [a-z_]+\ [<>=!]+\ '[^']+')*)? \ \\
    | \ {4}--hash=sha256:[0-9a-f]{64} (\ \\)?
    """,
    re.VERBOSE,
)
A_REGISTRY = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.org|artifactory\.\w+)", re.IGNORECASE)
A_MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.])/(?:home|root|work|Users)/\w")


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.lock").read_text()


def pins(name: str) -> dict[str, Version]:
    found = re.findall(r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==(\S+)", lock(name), re.MULTILINE)
    return {package: Version(version) for package, version in found}


def asked_for(name: str) -> list[Requirement]:
    """What stands behind a lock: the requirements a person wrote."""
    extras: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
    # The image has every extra that somebody who runs the balancer may want, and whose licence asks for nothing.
    run: list[str] = PROJECT["project"]["dependencies"] + extras["aws"] + extras["compression"]
    build: list[str] = PROJECT["build-system"]["requires"]
    lines = (ROOT / "requirements" / "node.in").read_text().splitlines()
    node = [line for line in lines if not line.startswith("#")]
    texts = {
        "node": node,
        "run": run,
        "build": build,
        "dev": run + build + extras["parquet"] + extras["vips"] + extras["dev"],
    }[name]
    wanted = [Requirement(text) for text in texts]
    own = {extra for one in wanted if one.name == "balancer" for extra in one.extras}
    assert own == ({"aws", "compression", "parquet", "vips"} if name == "dev" else set())
    return [one for one in wanted if one.name != "balancer"]  # what its own extras ask for is named above


def imported_packages(package: str) -> Iterator[str]:
    """The top-level name of every import in the package's modules, inside functions as well."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as a user gets it, built by the pinned backend."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_satisfies_what_the_project_asks_for(name: str) -> None:
    pinned = pins(name)
    for requirement in asked_for(name):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_versions_and_hashes_and_names_no_place_to_get_them_from(name: str) -> None:
    assert [line for line in lock(name).splitlines() if not LOCK_LINE.fullmatch(line)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_in_a_lock_has_a_hash(name: str) -> None:
    entries = re.split(r"^(?=[a-z0-9-]+(?:\[[a-z0-9,-]+\])?==)", lock(name), flags=re.MULTILINE)[1:]
    # A package is there twice where an older Python needs an older version of it.
    assert {re.split(r"[\[=]", entry)[0] for entry in entries if entry[0] != "#"} == pins(name).keys()
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_what_runs_and_what_builds_is_what_was_tested() -> None:
    tested = pins("dev")
    assert {**pins("run"), **pins("build")}.items() <= tested.items()


def test_the_build_lock_is_made_from_what_the_build_system_requires() -> None:
    lines = (ROOT / "requirements" / "build.in").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["build-system"]["requires"]


def test_every_dependency_is_imported_and_every_import_is_a_dependency() -> None:
    distributions = packages_distributions()
    imported = {name for package in PACKAGES for name in imported_packages(package)}
    foreign = imported - set(sys.stdlib_module_names) - LATER - set(PACKAGES)
    owners = {owner for name in foreign for owner in distributions.get(name, [f"nobody's {name}"])}
    declared = {canonicalize_name(requirement.name) for requirement in asked_for("run")}
    found = {canonicalize_name(owner) for owner in owners} - NOT_SHIPPED
    assert (found - declared, declared - found - {"tzdata"}) == (set(), set())  # zoneinfo reads tzdata


def test_what_is_not_shipped_is_what_the_extra_of_its_own_asks_for() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    texts = [*extras["parquet"], *extras["vips"]]
    assert {canonicalize_name(Requirement(text).name) for text in texts} == NOT_SHIPPED
    assert NOT_SHIPPED.isdisjoint(pins("run"))


def test_every_module_at_the_top_of_the_balancer_has_its_layer() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    placed = {module for layer in layers for module in layer.split(" | ")}
    modules = (path for path in (ROOT / "balancer").iterdir() if path.suffix == ".py" or path.is_dir())
    there = {f"balancer.{path.stem}" for path in modules if path.stem not in ("__init__", "__pycache__")}
    assert there | {"api", "config"} == placed


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = []
    for name in files():
        try:
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # an image
        found += [
            f"{name}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(lines, start=1)
            if A_REGISTRY.search(line) or A_MACHINE_PATH.search(line)
        ]
    assert found == []


@pytest.mark.slow
def test_the_wheel_holds_the_three_packages_typed_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {*PACKAGES, f"balancer-{balancer.__version__}.dist-info"}
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)


@pytest.mark.slow
def test_the_wheel_holds_every_module_of_the_tree(wheel: zipfile.ZipFile) -> None:
    modules = {name for name in files() if name.endswith(".py") and name.split("/")[0] in PACKAGES}
    assert modules <= set(wheel.namelist())


@pytest.mark.slow
def test_the_wheel_carries_the_page_and_what_it_is_drawn_with(wheel: zipfile.ZipFile) -> None:
    if not VENDOR.is_dir():
        pytest.skip("what the dashboard is drawn with is not there: make dashboard")
    page = {name for name in files() if name.startswith("api/dashboard/")}
    drawn = {f"api/dashboard/vendor/{name}" for name in (*FILES, "LICENSES.txt")}
    assert page | drawn <= set(wheel.namelist())


@pytest.mark.slow
def test_the_wheel_carries_the_version_of_the_package_and_its_command(wheel: zipfile.ZipFile) -> None:
    info = f"balancer-{balancer.__version__}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["Version"] == balancer.__version__
    assert metadata["Requires-Python"] == PROJECT["project"]["requires-python"]
    assert "balancer = balancer.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()


@pytest.mark.slow
def test_the_version_is_answered_without_importing_what_the_proxy_needs() -> None:
    asked = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "balancer", "version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in asked.stderr.splitlines()}
    heavy = {requirement.name.replace("-", "_") for requirement in asked_for("run")} | {"asyncio", "yaml"}
    assert balancer.__version__ in asked.stdout
    assert "argparse" in imported
    assert imported & heavy == set()


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
