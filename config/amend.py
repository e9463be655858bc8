"""From what somebody sends to the admin API to another overlay, and to the configuration that it makes.

A body is laid over the long form of what holds. In it, *** where a secret was masked means "as it is", and `${...}` is
refused unless the file has the very same at the same place: whoever may change the configuration need not be one
who may read the machine's files and variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from pydantic import JsonValue

from config import overlay as overlays
from config.compose import compose
from config.document import document, leaves
from config.environment import TOP, VARIABLES, Folding
from config.expand import USE
from config.file_only import permit
from config.findings import Findings
from config.json_tree import json_tree
from config.load import Loaded, patched, widened
from config.masking import MASK, is_secret, masked
from config.nodes import Items, Node, Scalar, Table, at, plain, scalars, tree_of, variables
from config.overlay import Overlay
from config.patch import applied, difference, same
from config.problems import ConfigError, Path, Problem, listed, path_text
from config.schema import Config

BODY = "the body"
API = "the admin API"
"""Stand for a file's name in places."""
_PARTS = ("servers", "strategy", "health")
"""Of a pool, what single operations change too."""
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Basis:
    """What a change begins with."""

    file: Loaded
    base: Loaded
    """The file with the overlay's patch applied; the same object without one."""
    overlay: Overlay
    running: Config
    """The base with the rest of the overlay merged in."""


@dataclass(frozen=True, slots=True)
class Amended:
    """What a change leads to; nothing is in force yet."""

    overlay: Overlay
    base: Loaded

    @property
    def running(self) -> Config:
        return overlays.merge(self.base.config, self.overlay)


def based(file: Loaded, overlay: Overlay) -> Loaded:
    """The file with the overlay's patch applied. ConfigError when they do not go together."""
    if not overlay.patch:
        return file
    return patched(file, applied(file.written, _tree(overlay.patch, API)), _permit(file))


def read_body(content: bytes, *, json: bool) -> Table:
    """The tree of a body, as it was written. ConfigError with places in the body."""
    if json:
        return json_tree(content, BODY)
    tree, problems = compose(content, BODY)
    if problems:
        raise ConfigError(problems)
    return tree


def amended(basis: Basis, body: Table, *, json: bool) -> Amended:
    """A merge patch over what is running. ConfigError, FileOnly: it can not be."""
    body = _folded(_taken(body, basis.file, json=json), {})
    touched = [name for name in basis.overlay.pools if _touches(body, name)]
    tree = _absorbed(basis, touched)
    pools = {
        name: overlays.only_states(changes) if name in touched else changes
        for name, changes in basis.overlay.pools.items()
    }
    base = _resolved(basis, applied(tree, body), tree)
    return _kept(basis, base, pools)


def replaced(basis: Basis, body: Table, environ: Mapping[str, str], *, json: bool) -> Amended:
    """A whole configuration in the place of what is running: what a file would say."""
    body = _folded(_taken(_keyless(body), basis.file, json=json), _heard(body, environ))
    wanted = _resolved(basis, body, None)
    return reaching(basis, wanted, wanted.config)


def reaching(basis: Basis, said: Loaded, wanted: Config, origin: Loaded | None = None) -> Amended:
    """The overlay with which the file becomes the configuration wanted.

    `said` is how it was written; `origin` is the file that it was read from, unless that is the one of `basis`.
    """
    pools = {name: overlays.only_states(changes) for name, changes in basis.overlay.pools.items()}
    target = document(wanted, mask=False)
    base, tree = basis.base, basis.base.written
    for _ in range(_ROUNDS):
        now = document(base.config, mask=False)
        patch = difference(now, target)
        if not patch:
            return _kept(basis, base, pools)
        patch = _as_said(patch, now, said.written)
        _check_written_out(basis, patch, origin)
        # What is inherited changes along with what it is from, and is set right in the next round.
        tree = applied(tree, _tree(patch, BODY))
        base = patched(basis.file, tree, _permit(basis.file))
    message = "cannot be reached by changes to the file, as what it inherits can only be taken back there"
    raise ConfigError([Problem(BODY, 0, 0, found, message) for found in _tops(patch)])


def _as_said(patch: Mapping[str, object], now: object, said: Node | None) -> dict[str, object]:
    """The patch with what is new in it as it was written, so that what it inherits stays inherited."""
    result: dict[str, object] = {}
    for key, value in patch.items():
        here, own = _at(now, (key,)), at(said, (key,)) if said is not None else None
        if isinstance(value, Mapping):
            value = plain(own) if here is None and isinstance(own, Table) else _as_said(value, here, own)
        result[key] = value
    return result


def _kept(basis: Basis, base: Loaded, pools: Mapping[str, overlays.PoolOverlay]) -> Amended:
    """With the smallest patch that makes the base of the file."""
    patch = _smallest(basis.file, base)
    gone = basis.running.pools.keys() - base.config.pools.keys()
    left = {name: changes for name, changes in pools.items() if name not in gone}
    overlay = overlays.patched(basis.overlay, patch, left)
    again = based(basis.file, overlay)
    if again.config != base.config:
        told = _tops(difference(document(base.config, False), document(again.config, False)))
        raise ConfigError([Problem(BODY, 0, 0, found, "cannot be kept as a change to the file") for found in told])
    return Amended(overlay, again)


def _smallest(file: Loaded, base: Loaded) -> dict[str, JsonValue]:
    """The patch that makes the base of the file, without what the file would have anyway."""
    patch = difference(_document(file), _document(base))
    before, after = document(file.config, mask=False), document(base.config, mask=False)
    pruned = cast("dict[str, JsonValue]", _pruned(patch, before, after))
    if pruned != patch:
        try:
            if based(file, Overlay(patch=pruned)).config == base.config:
                return pruned
        except ConfigError:
            pass  # one needs the other
    return cast("dict[str, JsonValue]", patch)


def _pruned(patch: Mapping[str, object], before: object, after: object) -> dict[str, object]:
    """Without what is the same in both documents."""
    left: dict[str, object] = {}
    for key, value in patch.items():
        old, new = _at(before, (key,)), _at(after, (key,))
        if same(old, new):
            continue
        if not isinstance(value, Mapping):
            left[key] = value
        elif inner := _pruned(value, old, new):
            left[key] = inner
    return left


def _check_written_out(basis: Basis, patch: Mapping[str, object], origin: Loaded | None) -> None:
    """Refuse to keep as text what a file takes from a variable or another file."""
    running = document(basis.running, mask=False)
    told = []
    for path, value in leaves(patch):
        node = at((origin or basis.base).tree, path)
        names = variables(node) if node is not None and value is not None else ()
        if names and (origin is not None or same(value, _at(running, path))):
            message = (
                f"would have to be written out, and holds what {listed(names, 'and')} holds: change it in the file"
            )
            told.append(Problem(BODY, 0, 0, path_text(path), message))
    if told:
        raise ConfigError(told)


def _document(loaded: Loaded) -> dict[str, object]:
    return cast("dict[str, object]", plain(loaded.written))  # a table is plain as a mapping


def _tree(patch: Mapping[str, object], source: str) -> Table:
    tree = tree_of(patch, source)
    assert isinstance(tree, Table)  # a patch is a mapping
    return tree


def _permit(file: Loaded) -> Callable[[Config, Findings], None]:
    return lambda config, found: permit(file.config, config, found)


def _tops(patch: Mapping[str, object]) -> list[str]:
    return [f"{key}.{next(iter(inner))}" if isinstance(inner, dict) and inner else key for key, inner in patch.items()]


# Variables and short forms of a body.


def _taken(body: Table, file: Loaded, *, json: bool) -> Table:
    """The body with `${...}` that the file has at the same place, in the same form, replaced by what it holds there."""

    def taken(node: Node, path: Path) -> Node:
        if isinstance(node, Table):
            entries = {key: taken(inner, (*path, key)) for key, inner in node.entries.items()}
            return Table(node.place, entries, node.keys)
        if isinstance(node, Items):
            return Items(node.place, tuple(taken(item, (*path, index)) for index, item in enumerate(node.items)))
        if "$" not in node.text or not isinstance(node.value, str):
            return node
        if not _variables(node.text):
            text = node.text if json else node.text.replace("$$", "$")
            return replace(node, value=text, text=text)
        own, expanded = at(file.source.tree, path), at(file.source.expanded, path)
        if isinstance(own, Scalar) and own.text == node.text and expanded is not None:
            return expanded
        return replace(node, form=node.text)

    result = taken(body, ())
    assert isinstance(result, Table)  # its form is kept
    return result


def _variables(text: str) -> bool:
    return any(found[0] != "$$" for found in USE.finditer(text))


def _folded(body: Table, environ: Mapping[str, str]) -> Table:
    """Short keys at the top where the long form has them."""
    if environ:
        folding = Folding(environ)
        tree = folding.tree(body)
        if folding.problems:
            raise ConfigError(folding.problems)
        return tree
    for short, (group, name, key) in TOP.items():
        node = body.entries.get(short)
        if node is None:
            continue
        if at(body, (group, name, key)) is not None:
            message = f"stands for {group}.{name}.{key}, which is there too: keep one of them"
            raise ConfigError([Problem.at(body.keys.get(short, node.place), message)])
        inner = body.table(group).table(name).having(key, node)
        body = body.lacking(short).having(group, body.table(group).having(name, inner))
    return body


def _heard(body: Table, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The variables about what a whole configuration does not say itself: what it does say is said later."""
    heard = {"": ""}  # never empty, so that a body is folded as a file is
    for name in VARIABLES:
        group, _, key = (path := tuple(VARIABLES[name].split(".")))[0], path[1:-1], path[-1]
        short = next((one for one, long in TOP.items() if long == path), "")
        members = body.table(group).entries.values() if len(path) == 3 else (body.entries.get(group),)
        said = short in body.entries or any(not isinstance(one, Table) or key in one.entries for one in members if one)
        if group == "cdn":
            said = at(body, path) is not None
        if name in environ and (group == "admin" or not said):
            heard[name] = environ[name]
    return heard


def _keyless(body: Table) -> Table:
    """Without the key that the environment adds to those of the admin API, which is shown among them."""
    keys = at(body, ("admin", "keys"))
    if not isinstance(keys, Items):
        return body
    named = (item for item in keys.items)
    own = Items(keys.place, tuple(item for item in named if plain(at(item, ("id",)) or item) != "ADMIN_API_KEY"))
    return body.having("admin", body.table("admin").having("keys", own))


# What is masked.


def _resolved(basis: Basis, tree: Table, under: Table | None) -> Loaded:
    """The configuration of a tree that has pieces of the body in it, with what those only stand for.

    `under` is what the body was laid over: what is "as it is" is as it is there, be it inherited.
    """
    current = document(basis.running, mask=False)
    long = widened(tree)
    problems: list[Problem] = []
    for path, node in _of_body(long):
        value = _at(current, path)
        verdict = _meant(node, path, value, at(basis.file.written, path))
        if verdict == "kept":
            kept = tree_of(value, BODY, path) if under is None else at(under, path)
            long = _with(long, path, kept)
        elif verdict == "own":
            long = _with(long, path, at(basis.file.written, path))
        elif verdict is not None:
            problems.append(Problem.at(node.place, verdict))
    if problems:
        raise ConfigError(problems)
    return patched(basis.file, long, _permit(basis.file))


def _of_body(tree: Table) -> Iterator[tuple[Path, Scalar | Items]]:
    """The values that came from the body; a list of single values is one."""

    def walk(node: Node, path: Path) -> Iterator[tuple[Path, Scalar | Items]]:
        if isinstance(node, Table):
            for key, inner in node.entries.items():
                yield from walk(inner, (*path, key))
        elif node.place.file == BODY:
            yield path, node

    yield from walk(tree, ())


def _meant(node: Scalar | Items, path: Path, value: object, own: Node | None) -> str | None:
    """Whether a value of the body stands for the one that is "kept", or for the file's "own"; or what is wrong.

    None: it says what it says.
    """
    inner = [found for _, found in scalars(node)]
    if not any(MASK in found.text or found.form for found in inner):
        return None
    if isinstance(node, Scalar) and isinstance(own, Scalar) and own.form == node.form != "":
        return "own"
    if value is not None and _stands_for(plain(node), value, path):
        return "kept"
    if any(found.form for found in inner):
        return _VARIABLE
    if any(MASK in found.text and _may_be_masked(found, (*path, *more)) for more, found in scalars(node)):
        return _MASKED
    return None


_VARIABLE = (
    "must hold no ${...} that the file does not have at the same place: what variables and files hold is not for the "
    "API to read; a dollar sign before a brace is written $${ in YAML, and can not be said in JSON"
)
_MASKED = f"must be written in full: {MASK} stands only for the value that is at this place already"


def _may_be_masked(node: Scalar, path: Path) -> bool:
    return is_secret(path) or path[0] in ("redis", "databases") or "active" in path or f"//{MASK}@" in node.text


def _stands_for(given: object, value: object, path: Path) -> bool:
    """Whether what came is a value as it is or as it is shown."""
    if isinstance(value, dict) and isinstance(given, dict):
        return given.keys() == value.keys() and all(_stands_for(given[key], value[key], (*path, key)) for key in value)
    if isinstance(value, list) and isinstance(given, list):
        pairs = enumerate(zip(given, value, strict=False))
        return len(given) == len(value) and all(_stands_for(one, own, (*path, at_)) for at_, (one, own) in pairs)
    return same(given, value) or (isinstance(value, str) and given == masked(path, value))


def _with(tree: Table, path: Path, node: Node | None) -> Table:
    """The tree with another node at a path, or without the one that is there."""
    key, *rest = path
    assert isinstance(key, str)  # lists are filled in as a whole
    if rest:
        return tree.having(key, _with(tree.table(key), tuple(rest), node))
    return tree.lacking(key) if node is None else tree.having(key, node)


def _at(value: object, path: Path) -> object:
    for piece in path:
        if not isinstance(value, dict) or piece not in value:
            return None
        value = value[piece]
    return value


# Changes to single servers, under changes to the whole.


def _touches(body: Table, pool: str) -> bool:
    """Whether a patch says something of a pool that operations on its servers have changed too."""
    node = body.table("pools").entries.get(pool)
    if node is None:
        return False
    return not isinstance(node, Table) or any(part in node.entries for part in _PARTS)


def _absorbed(basis: Basis, pools: list[str]) -> Table:
    """The base's tree, with what single operations have changed in these pools."""
    tree = basis.base.written
    config = basis.base.config
    known = [name for name in pools if name in config.pools]
    if not known:
        return tree
    before, after = (_at(document(one, False), ("pools",)) for one in (config, basis.running))
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    patch = {name: difference(before[name], after[name]) for name in known}
    return applied(tree, _tree({"pools": {name: inner for name, inner in patch.items() if inner}}, API))


def folded(basis: Basis) -> Overlay:
    """The same configuration with all of it in the patch, and nothing but states of servers beside that."""
    names = [name for name in basis.overlay.pools if name in basis.base.config.pools]
    base = patched(basis.file, _absorbed(basis, names), _permit(basis.file))
    pools = {name: overlays.only_states(changes) for name, changes in basis.overlay.pools.items()}
    return _kept(basis, base, pools).overlay
