"""Folds what the API has changed back into the file, as an editor would have done it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping

from config import overlay as overlays
from config.amend import Basis, based, folded
from config.diff import Change, diff
from config.document import leaves
from config.environment import TOP, VARIABLES
from config.load import Loaded, parse
from config.masking import masked
from config.nodes import Table, plain
from config.overlay import Overlay
from config.patch import ROOT
from config.problems import ConfigError, Path, Problem, path_of, path_text
from config.schema import Config
from config.splice import Splicing, Unsaved
from config.state import StateError

_TOLD = 3
"""Settings of one pool, route or the like that are told one by one."""


class HalfSaved(Exception):
    """The file has been written, but what it says now could not be taken out of what is kept beside it.

    What is in force is the same all the same. Its text says what to do, and may be answered by the API.
    """


def saved(basis: Basis, environ: Mapping[str, str]) -> tuple[str, Loaded, Overlay]:
    """The text with which the file alone says what is in force; what it is read as; and the overlay that is left.

    Unsaved: there is no such text that this could find. Nothing is written yet.
    """
    file = basis.file
    name = str(file.file)
    overlay = folded(basis)
    _check_secrets(file, overlay)
    text = file.source.content.decode("utf-8-sig")
    patch = _short(_whole_groups(overlay.patch, file, based(file, overlay)), file.source.tree)
    spliced = Splicing(text, name, _long(file)).apply(patch, ROOT)
    try:
        loaded = parse(spliced.encode(), name, environ, file.file)
    except ConfigError as error:
        problems = [Problem(name, 0, 0, one.path, f"would be written wrongly: {one.message}") for one in error.problems]
        raise Unsaved(problems) from None
    if loaded.config != basis.running:
        raise Unsaved(_differences(name, basis.running, loaded))
    return spliced, loaded, overlays.patched(overlay, {}, overlay.pools)


def _check_secrets(file: Loaded, overlay: Overlay) -> None:
    """What came over the API is kept where only the balancer reads it, and must not end where everybody does."""
    assert file.file is not None  # there is a file to save to
    told = [path for path, value in leaves(overlay.patch) if isinstance(value, str) and masked(path, value) != value]
    if told and file.file.exists() and file.file.stat().st_mode & 0o004:
        message = f"is a secret, and {file.file} can be read by everybody: chmod o-r it first"
        raise Unsaved([Problem(str(file.file), 0, 0, path_text(path), message) for path in told])


def write(path: pathlib.Path, text: str) -> None:
    """Put a text in the place of a file, whose old one is kept as `.bak`. StateError: it is as it was."""
    temporary = None
    try:
        if path.is_symlink():
            raise StateError(f"{path} is a link: save by hand where it leads to")
        shutil.copy2(path, path.with_name(f"{path.name}.bak"))
        status = path.stat()
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            with contextlib.suppress(PermissionError):  # only root may give a file to somebody else
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            pathlib.Path(temporary).unlink(missing_ok=True)
        raise StateError(f"{path} can not be written by the balancer: {error.strerror or error}") from error


def _differences(name: str, running: Config, loaded: Loaded) -> list[Problem]:
    """What a text would not say as it is in force; a variable that is over the file is named."""
    told = []
    parts: dict[Path, list[Change]] = {}
    for change in diff(running, loaded.config):
        parts.setdefault(path_of(change.path)[:2], []).append(change)
    for part, found in parts.items():
        for change in found[:_TOLD]:
            over = _over(loaded, change.path)
            why = f", as {over} is over the file" if over else ""
            before, after = ("nothing" if value is None else value for value in (change.before, change.after))
            message = f"would be {after} and not {before}{why}: write it into the file by hand"
            told.append(Problem(name, 0, 0, change.path, message))
        if len(found) > _TOLD:
            message = f"would differ in {len(found) - _TOLD} more settings"
            told.append(Problem(name, 0, 0, path_text(part), message))
    return told


def _whole_groups(patch: Mapping[str, object], file: Loaded, base: Loaded) -> Mapping[str, object]:
    """The patch with the whole of a group that the file leaves out, where that does not go without saying any more."""
    tree, result = file.source.tree, dict(patch)
    if "listeners" in patch and _unsaid(tree, "listeners") and _unsaid(tree, "listen"):
        result["listeners"] = plain(base.written.table("listeners"))
    if _unsaid(tree, "routes"):
        # The route to the only pool is meant by whoever writes none: a second pool ends that, too.
        pools, routes = base.written.table("pools").entries, plain(base.written.table("routes"))
        result.pop("routes", None)
        if len(pools) != 1 or routes != {"default": {"pool": next(iter(pools))}}:
            result["routes"] = routes
    return result


def _unsaid(tree: Table, group: str) -> bool:
    """Whether the file leaves out a group, or has it with nothing in it."""
    node = tree.entries.get(group)
    return node is None or plain(node) in (None, {})


def _over(loaded: Loaded, path: str) -> str:
    """The variable that says a setting, whatever the file says; or nothing."""
    place = loaded.where(path_of(path))
    return place.file if place is not None and place.file in VARIABLES else ""


def _long(file: Loaded) -> Table:
    """What the splices go by: the long form, with what short keys at the top stand for under these."""
    written = file.written
    for short, (group, name, key) in TOP.items():
        if short in file.source.tree.entries:
            member = written.table(group).table(name)
            if key in member.entries:
                written = written.having(short, member.entries[key])
    return written


def _short(patch: Mapping[str, object], tree: Table) -> dict[str, object]:
    """The patch with short keys at the top where the file has them."""
    result = dict(patch)
    for short, (group, name, key) in TOP.items():
        members = result.get(group)
        if short not in tree.entries or not isinstance(members, Mapping) or name not in members:
            continue
        member = members[name]
        if member is None:  # it goes, and what stands for a part of it has to go with it
            result[short] = None
        elif isinstance(member, Mapping) and key in member:
            result[short] = member[key]
            rest = {one: value for one, value in member.items() if one != key}
            left = {**members, name: rest} if rest else {one: value for one, value in members.items() if one != name}
            result[group] = left
            if not left:
                del result[group]
    for group, members in tuple(result.items()):
        # What no line of the file says is not to be taken out of it.
        if (
            isinstance(members, Mapping)
            and group not in tree.entries
            and not any(value is not None for value in members.values())
        ):
            del result[group]
    return result
