"""From a file and the environment to a Config, or to every problem with its place."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from config.cdn_environment import misspelt
from config.cdn_routes import with_cdn
from config.checks import check
from config.compose import SIZE, compose
from config.environment import Folding
from config.expand import Expansion
from config.findings import Findings
from config.masking import came
from config.merge import merged
from config.nodes import Items, Scalar, Table, at, broken, plain, scalars, without
from config.problems import ConfigError, Path, Place, Problem, Unfit, in_order, listed
from config.schema import Config, Defaults
from config.shapes import Shape
from config.values import WRITTEN
from config.widen import Widening
from config.wording import worded

NO_FILE = "environment"
_SECRET_FILE = 64 * 1024
_ROUNDS = 10  # each leaves out what was wrong and looks again; what is left by then would only repeat itself
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Source:
    """The text that a configuration was read from, as trees of its own form."""

    content: bytes
    tree: Table
    expanded: Table
    """The same with variables and files in their places."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and what is known of its writing."""

    config: Config
    file: pathlib.Path | None
    digest: str
    """SHA-256 of the file's content; empty without a file."""
    warnings: tuple[Problem, ...]
    """What is allowed and yet probably not meant."""
    tree: Table
    """What was written, with short forms widened and defaults merged."""
    written: Table
    """The same before defaults were merged, with `defaults` in it: what a patch is applied to."""
    source: Source
    unjudged: tuple[Path, ...] = ()
    """What depends on variables and files that were not looked at; `config` is without it."""

    def where(self, path: Path) -> Place | None:
        """Where the value of a path, such as `("pools", "app")`, was written; None for a default."""
        node = at(self.tree, path)
        return node.place if node is not None else None


def load(path: pathlib.Path | None, environ: Mapping[str, str]) -> Loaded:
    """The configuration of a file under the variables of the environment; without a file, of these alone.

    Raises ConfigError with everything that is wrong.
    """
    if path is None:
        return parse("", NO_FILE, environ, None)
    try:
        with path.open("rb") as file:
            content = file.read(SIZE + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror or error}")]) from None
    return parse(content, str(path), environ, path)


def parse(
    content: bytes | str,
    name: str,
    environ: Mapping[str, str],
    file: pathlib.Path | None = None,
    *,
    look: bool = True,
) -> Loaded:
    """The same for content at hand. `name` stands for the file in problems; paths are relative to `file`.

    Without `look`, `${...}` reads no file and takes no value, not even for a judgement from which one could be
    told; what depends on it is in `unjudged`. That is for content from somebody who may not read them.
    Raises ConfigError with everything that is wrong.
    """
    content = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    tree, problems = compose(content, name)
    expansion = Expansion(environ, _reader(file.parent if file else pathlib.Path()), look=look)
    folding = Folding(environ)
    source = Source(content, tree, expansion.tree(tree))
    tree = folding.tree(source.expanded)
    problems += [*expansion.problems, *folding.problems]
    found = _concluded(tree, problems, file, source, look=look)
    return replace(found, warnings=in_order([*found.warnings, *misspelt(environ)]))


def patched(loaded: Loaded, tree: Table, permit: Callable[[Config, Findings], None] | None = None) -> Loaded:
    """The same configuration with another tree in the place of `written`, short forms allowed.

    `permit` may raise before a file that the tree names is looked at. Raises ConfigError with everything that is
    wrong.
    """
    return _concluded(tree, [], loaded.file, loaded.source, permit=permit)


def _concluded(
    tree: Table,
    problems: list[Problem],
    file: pathlib.Path | None,
    source: Source,
    *,
    look: bool = True,
    permit: Callable[[Config, Findings], None] | None = None,
) -> Loaded:
    """From a tree that is folded and expanded to the whole."""
    whole, below = _long(tree, problems)
    written = _with_defaults(whole, below)

    unseen = {**_unseen(whole), **_unseen(below, "defaults")}

    judged, tree = _judged(whole, Config, (), problems)
    standing, defaults = _judged(below, Defaults, ("defaults",), problems)
    if judged is None or standing is None:
        raise ConfigError(problems or _told(unseen, "can not be judged as a whole"))
    tree, disagreements = merged(with_cdn(tree, judged.cdn), defaults)
    if not unseen:  # else pools may differ only by what is left out of them
        problems += disagreements
    config, tree = _judged(tree, Config, (), problems)
    if config is None:
        raise ConfigError(problems or _told(unseen, "can not be judged as a whole"))
    findings = Findings(tree, with_cdn(whole, judged.cdn))
    if permit is not None:
        permit(config, findings)
    config = _with_page(config, file.parent if file else pathlib.Path(), findings, look=look)
    check(config, findings)
    problems += findings.problems
    if problems:
        raise ConfigError(problems)
    warnings = in_order([*findings.warnings, *_told(unseen, "was not judged")])
    digest = hashlib.sha256(source.content).hexdigest()
    return Loaded(config, file, digest if file else "", warnings, tree, written, source, tuple(unseen))


def widened(tree: Table) -> Table:
    """The long form of a tree that is folded and expanded. ConfigError where there can be none."""
    problems: list[Problem] = []
    result = _with_defaults(*_long(tree, problems))
    if problems:
        raise ConfigError(problems)
    return result


def _long(tree: Table, problems: list[Problem]) -> tuple[Table, Table]:
    """The long form of everything but `defaults`, and that of `defaults`."""
    widening = Widening()
    defaults, tree = _defaults(tree, problems)
    whole, below = _widened(widening, tree, Config), _widened(widening, defaults, Defaults)
    problems += widening.problems
    return whole, below


def _with_defaults(whole: Table, below: Table) -> Table:
    return whole.having("defaults", below) if below.entries else whole


def _unseen(tree: Table, *above: str) -> dict[Path, Scalar]:
    """The values that were not looked at."""
    return {(*above, *path): scalar for path, scalar in scalars(tree) if scalar.broken and scalar.variables}


def _told(unseen: Mapping[Path, Scalar], verdict: str) -> list[Problem]:
    return [
        Problem.at(scalar.place, f"{verdict}: what {listed(scalar.variables, 'and')} holds is not looked at here")
        for scalar in unseen.values()
    ]


def _widened(widening: Widening, tree: Table, model: type[BaseModel]) -> Table:
    node = widening.node(tree, Shape("model", model=model))
    assert isinstance(node, Table)  # a table never becomes anything else
    return node


def _judged(tree: Table, model: type[M], above: Path, problems: list[Problem]) -> tuple[M | None, Table]:
    """The model of a tree, with whatever is wrong left out and added to `problems`; and the tree of the rest.

    So one wrong value does not keep the others from being looked at. None when too little is left.
    """
    gone: set[tuple[Place, str]] = set()
    cuts = list(broken(tree))
    for _ in range(_ROUNDS):
        for path in cuts:
            above_cut = at(tree, path[:-1])
            if above_cut is not None:
                gone.add((above_cut.place, str(path[-1])))
        rest = without(tree, cuts)
        assert isinstance(rest, Table)  # only its inside is cut
        tree = rest
        try:
            return model.model_validate(plain(tree), context=WRITTEN), tree
        except ValidationError as error:
            told = list(worded(error, tree, model, above, gone))
        problems += [problem for problem, _ in told if problem is not None]
        cuts = [path for _, path in told]
        if () in cuts:
            break
    return None, tree


def _with_page(config: Config, folder: pathlib.Path, found: Findings, *, look: bool) -> Config:
    """With the text of the error page, if there is one and it may be looked at."""
    page, path = config.errors.page, ("errors", "page")
    if page is None:
        return config
    if not look:
        found.warn(path, f"was not judged: the file {page} is not looked at here")
        return config
    try:
        page = page.read(folder)
    except OSError as error:
        found.add(path, f"must be the path of a file that can be read ({error.strerror or error})", came=True)
    except Unfit as error:
        found.add(path, error.expected, came=True)
    found.problems += page.problems(folder)
    return config.model_copy(update={"errors": config.errors.model_copy(update={"page": page})})


def _defaults(tree: Table, problems: list[Problem]) -> tuple[Table, Table]:
    """What is under `defaults`, and the tree without it."""
    written = tree.entries.get("defaults")
    if isinstance(written, Items) or (isinstance(written, Scalar) and written.value is not None):
        message = "must be a mapping of keys and values"
        problems.append(Problem.at(written.place, message + came(written, ("defaults",))))
    for key in ("limits", "timeouts"):
        # The schema has these at the top for what a file says under `defaults`.
        if key in tree.entries:
            message = f"must be written as `defaults: {{{key}: ...}}`"
            problems.append(Problem.at(tree.keys.get(key, tree.place), message))
            tree = tree.lacking(key)
    return tree.table("defaults"), tree.lacking("defaults")


def _reader(folder: pathlib.Path) -> Callable[[str], str]:
    """Reads the files that values name, relative to the folder of the configuration."""

    def read(name: str) -> str:
        with (folder / name).open("rb") as file:
            content = file.read(_SECRET_FILE + 1)
        if len(content) > _SECRET_FILE:
            raise ValueError(f"needs the file {name} to have at most 64 KiB")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"needs the file {name} to be UTF-8 text") from None
        # Editors and `echo` end a secret's file with a line break that is not part of the secret.
        return text.removesuffix("\n").removesuffix("\r")

    return read
