"""The Dockerfile without Docker: its first stage is carried out in a folder, its second checked on that."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.dashboard import FILES
from tests.tree import ROOT, files


@dataclass
class Stage:
    """One FROM and what follows it, in order: (instruction, its arguments)."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def arguments(self, word: str) -> list[str]:
        return [rest for instruction, rest in self.steps if instruction == word]

    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for rest in self.arguments("ENV") for pair in shlex.split(rest))

    def copies(self) -> list[tuple[str | None, list[str], str]]:
        """Each COPY: the stage it takes from (None: the build context), its sources, its destination."""
        found: list[tuple[str | None, list[str], str]] = []
        for rest in self.arguments("COPY"):
            words = rest.split()
            flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
            *sources, destination = [word for word in words if not word.startswith("--")]
            found.append((flags.get("from"), sources, destination))
        return found


def stages() -> list[Stage]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", "", text)
    defaults: dict[str, str] = {}
    found: list[Stage] = []
    for line in filter(str.strip, text.splitlines()):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, _, name = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], rest).partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].steps.append((word, rest))
        else:
            assert word == "ARG", f"only ARG may stand before the first FROM, not {word}"
            name, _, value = rest.partition("=")
            defaults[name] = value
    return found


BUILD, RUN = stages()


def command(word: str) -> list[str]:
    """An instruction's command in exec form; a shell, which would keep signals to itself, fails to decode."""
    (rest,) = RUN.arguments(word)
    decoded: list[str] = json.loads(rest[rest.index("[") :])
    return decoded


def context() -> list[str]:
    """The files a builder is sent."""
    return [name for name in files() if is_sent(name)]


def within(name: str, source: str) -> bool:
    """Whether a file is what COPY names, or lies under it."""
    return name == source or name.startswith(source.rstrip("/") + "/")


def from_the_tree(stage: Stage) -> list[str]:
    """What the stage copies from the build context."""
    return [source for taken_from, sources, _ in stage.copies() if taken_from is None for source in sources]


def is_sent(name: str) -> bool:
    """What .dockerignore says of a file: the last rule that matches it, or a folder above it, decides."""
    sent = True
    folders = [name, *(parent.as_posix() for parent in Path(name).parents)]
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = rule.removeprefix("!").removeprefix("**/")
        if rule.startswith("#") or not rule:
            continue
        where = [Path(folder).name for folder in folders] if "**/" in rule else folders
        if any(fnmatch(folder, pattern) for folder in where):
            sent = rule.startswith("!")
    return sent


def test_both_stages_stand_on_one_python_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert BUILD.base == RUN.base
    version = re.fullmatch(r"python:(3\.\d+)-slim", RUN.base)
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]


def test_every_file_copied_from_the_tree_is_there_and_sent_to_the_builder() -> None:
    sent = context()
    for source in from_the_tree(BUILD) + from_the_tree(RUN):
        assert any(within(name, source) for name in sent), source


def test_nothing_is_sent_to_the_builder_that_no_stage_copies() -> None:
    copied = from_the_tree(BUILD) + from_the_tree(RUN)
    assert [name for name in context() if not any(within(name, source) for source in copied)] == []


def test_the_balancer_does_not_run_as_root_and_its_user_needs_no_password_file() -> None:
    (user,) = RUN.arguments("USER")
    assert all(part.isdigit() and int(part) > 0 for part in user.split(":"))


def test_signals_reach_the_balancer_and_stopping_means_draining() -> None:
    assert RUN.arguments("STOPSIGNAL") == ["SIGTERM"]
    assert command("ENTRYPOINT") == ["balancer"]
    assert command("CMD") == ["run"]
    assert command("HEALTHCHECK") == ["balancer", "healthcheck"]


def test_the_port_exposed_is_the_one_the_shipped_configuration_listens_on() -> None:
    (port,) = RUN.arguments("EXPOSE")
    assert yaml.safe_load((ROOT / "balancer.yaml").read_text())["listen"].rpartition(":")[2] == port


class Image:
    """A folder that stands for the image's root; absolute paths of the Dockerfile are looked up inside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workdir = folder
        # Without what would let the tree, or the tests' own environment, stand in for the image.
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def inside(self, text: str) -> str:
        """The text with every absolute path in it moved into the folder."""
        return re.sub(r"(?<![\w.$}])/(?=\w)", f"{self.folder}/", text)

    def path(self, text: str) -> Path:
        return Path(self.inside(text)) if text.startswith("/") else self.workdir / text

    def carry_out(self, stage: Stage) -> None:
        """Do what the builder does for ENV, WORKDIR, COPY from the tree, and RUN."""
        self.environment |= stage.environment()
        copies = iter(stage.copies())
        for word, rest in stage.steps:
            if word == "WORKDIR":
                self.workdir = self.path(rest)
                self.workdir.mkdir(parents=True, exist_ok=True)
            elif word == "COPY":
                _, sources, destination = next(copies)
                self.copy(sources, destination)
            elif word == "RUN":
                self.run(["sh", "-ec", self.inside(rest)])

    def copy(self, sources: list[str], destination: str) -> None:
        """Copy from the tree; a destination that ends in a slash is a folder."""
        for source in sources:
            for name in [name for name in context() if within(name, source)]:
                target = self.path(destination)
                if name != source:
                    target /= Path(name).relative_to(source)
                elif destination.endswith("/"):
                    target /= Path(name).name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((ROOT / name).read_bytes())

    def run(self, arguments: list[str]) -> str:
        done = subprocess.run(
            arguments,
            cwd=self.workdir,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The first stage, carried out by a bare Python of its own, and then the second stage's settings."""
    image = Image(tmp_path_factory.mktemp("image"))
    base = image.folder / "usr" / "local"
    subprocess.run([sys.executable, "-m", "venv", str(base)], check=True)
    image.environment["PATH"] = f"{base}/bin:{os.environ['PATH']}"
    image.carry_out(BUILD)

    # Of the second stage the settings and the files; the rest of PATH is the system's, where no balancer is.
    settings = {name: image.inside(value) for name, value in RUN.environment().items()}
    settings["PATH"] = settings["PATH"].replace("$PATH", os.defpath)
    image.environment |= settings
    image.workdir = image.folder
    for taken_from, sources, destination in RUN.copies():
        if taken_from is None:
            image.copy(sources, destination)
    return image


@pytest.mark.slow
def test_what_the_second_stage_takes_from_the_first_was_made_there(image: Image) -> None:
    copies = [sources for taken_from, sources, _ in RUN.copies() if taken_from == BUILD.name]
    taken = [source for sources in copies for source in sources]
    assert taken
    assert [source for source in taken if not image.path(source).exists()] == []


@pytest.mark.slow
def test_the_image_has_the_locked_packages_and_the_balancer_and_no_installer(image: Image) -> None:
    asked = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    python = image.path("/opt/balancer/bin/python")
    installed = {canonicalize_name(name) for name in image.run([str(python), "-c", asked]).split()}
    lock = (ROOT / "requirements" / "run.lock").read_text()
    locked = [Requirement(line) for line in re.findall(r"^([a-z0-9-]+==[^\\\n]+)", lock, re.MULTILINE)]
    here = {pin.name for pin in locked if pin.marker is None or pin.marker.evaluate()}
    assert installed == here | {"balancer"}


@pytest.mark.slow
@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD", "HEALTHCHECK"])
def test_a_command_of_the_image_resolves_in_what_was_built(image: Image, word: str) -> None:
    arguments = command("ENTRYPOINT") + command(word) if word == "CMD" else command(word)
    assert "usage: balancer" in image.run([*arguments, "--help"])


@pytest.mark.slow
def test_the_command_installed_in_the_image_answers_with_the_version(image: Image) -> None:
    version = image.run(["balancer", "version"])
    assert version.split()[-1] in image.run(["ls", str(image.path("/src/dist"))])


@pytest.mark.slow
def test_the_configuration_in_the_image_is_found_and_passes_its_check(image: Image) -> None:
    assert Path(image.environment["BALANCER_CONFIG"]).is_file()
    image.run(["balancer", "check"])


@pytest.mark.slow
def test_the_image_can_make_every_coding(image: Image) -> None:
    asked = "from balancer.compression.packages import AVAILABLE; print(b' '.join(sorted(AVAILABLE)).decode())"
    said = image.run([str(image.path("/opt/balancer/bin/python")), "-c", asked])
    assert said.split() == ["br", "gzip", "zstd"]


@pytest.mark.slow
def test_the_image_has_what_the_dashboard_is_drawn_with_and_its_licences(image: Image) -> None:
    asked = "from api import pages; print(*sorted(path.name for path in (pages.FOLDER / 'vendor').iterdir()))"
    said = image.run([str(image.path("/opt/balancer/bin/python")), "-c", asked])
    assert said.split() == sorted((*FILES, "LICENSES.txt"))
