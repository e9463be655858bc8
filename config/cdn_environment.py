"""What variables say of the CDN. CDN_PROVIDER switches it on; the others fill in what there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

from config.compose import typed
from config.nodes import Items, Node, Scalar, Table
from config.problems import Place, Problem

ALIKE: Final = 0.85
"""Of a name that was probably meant: more than others that only begin alike."""
SWITCH: Final = "CDN_PROVIDER"
SECRETS: Final[Mapping[str, str]] = {
    "CDN_API_KEY": "cdn.api_key",
    "CDN_R2_ACCESS_KEY_ID": "cdn.cloudflare.access_key_id",
    "CDN_R2_SECRET": "cdn.cloudflare.secret_access_key",
    "CDN_BUNNY_STORAGE_PASSWORD": "cdn.bunny.storage_password",
    "CDN_BUNNY_TOKEN_KEY": "cdn.bunny.token_key",
    "CDN_IMAGE_KEYS": "cdn.images.secrets",
}
"""Each may also be said by a file: CDN_API_KEY_FILE is its path."""
PLAIN: Final[Mapping[str, str]] = {
    SWITCH: "cdn.provider",
    "CDN_URL": "cdn.url",
    "CDN_HOSTS": "cdn.hosts",
    "CDN_MAX_UPLOAD_BYTES": "cdn.max_upload",
    "CDN_UPLOAD_SOURCE_DIRS": "cdn.upload_from",
    "CDN_LOCAL_ROOT": "cdn.local.directory",
    "CDN_IMAGE_SOURCES": "cdn.images.sources",
    "CDN_CF_ZONE_ID": "cdn.cloudflare.zone_id",
    "CDN_CF_ACCOUNT_ID": "cdn.cloudflare.account_id",
    "CDN_CF_EMAIL": "cdn.cloudflare.email",
    "CDN_CF_STORAGE": "cdn.cloudflare.storage",
    "CDN_CF_PLAN": "cdn.cloudflare.plan",
    "CDN_R2_BUCKET": "cdn.cloudflare.bucket",
    "CDN_AWS_DISTRIBUTION_ID": "cdn.aws.distribution_id",
    "CDN_AWS_BUCKET": "cdn.aws.bucket",
    "CDN_AWS_REGION": "cdn.aws.region",
    "CDN_AWS_PREFIX": "cdn.aws.prefix",
    "CDN_AWS_IMAGE_STYLE": "cdn.aws.image_url_style",
    "CDN_AWS_CACHE_TAG_HEADER": "cdn.aws.cache_tag_header",
    "CDN_AWS_FREE_PATHS": "cdn.aws.free_paths",
    "CDN_BUNNY_PULL_ZONE_ID": "cdn.bunny.pull_zone_id",
    "CDN_BUNNY_STORAGE_ZONE": "cdn.bunny.storage_zone",
    "CDN_BUNNY_STORAGE_HOST": "cdn.bunny.storage_host",
    "CDN_ENDPOINT_API": "cdn.endpoints.api",
    "CDN_ENDPOINT_STORAGE": "cdn.endpoints.storage",
    "CDN_ENDPOINT_STATISTICS": "cdn.endpoints.statistics",
}
FILES: Final[Mapping[str, str]] = {f"{name}_FILE": path for name, path in SECRETS.items()}
CDN_VARIABLES: Final[Mapping[str, str]] = {**PLAIN, **SECRETS, **FILES}
_LISTS: Final = frozenset(("CDN_HOSTS", "CDN_UPLOAD_SOURCE_DIRS", "CDN_IMAGE_SOURCES", "CDN_IMAGE_KEYS"))
"""With commas between the items."""
_NUMBERS: Final = frozenset(("CDN_MAX_UPLOAD_BYTES", "CDN_AWS_FREE_PATHS", "CDN_BUNNY_PULL_ZONE_ID"))


def with_variables(
    tree: Table, environ: Mapping[str, str], read: Callable[[str], str], problems: list[Problem]
) -> Table:
    """The tree with what the variables say of its CDN. `read` is the text of a file: OSError or ValueError."""
    said = {name: value for name in CDN_VARIABLES if (value := environ.get(name, "").strip())}
    if not said:
        return tree
    cdn = _table(tree.entries.get("cdn"), Place(SWITCH, path="cdn"), on=SWITCH in said)
    if cdn is None:
        return tree
    for name, path in {**PLAIN, **SECRETS}.items():
        node = _node(name, path, said, read, problems)
        if node is not None:
            _, *above, key = path.split(".")
            cdn = _having(cdn, above, key, node)
    return tree.having("cdn", cdn)


def misspelt(environ: Mapping[str, str]) -> list[Problem]:
    """Variables that say nothing, and were probably meant to."""
    found = []
    for name in environ:
        if name.startswith("CDN_") and name not in CDN_VARIABLES:
            close = get_close_matches(name, CDN_VARIABLES, n=1, cutoff=ALIKE)
            if close:
                found.append(Problem.at(Place(name), f'is no variable that is read: did you mean "{close[0]}"?'))
    return found


def _node(
    name: str, path: str, said: Mapping[str, str], read: Callable[[str], str], problems: list[Problem]
) -> Node | None:
    """What one variable says, or its file."""
    source, value, secret = name, said.get(name), name in SECRETS
    file = said.get(f"{name}_FILE") if secret else None
    if file is not None:
        source = f"{name}_FILE"
        place = Place(source, path=path)
        if value is not None:
            problems.append(Problem.at(place, f"says what {name} says too: keep one of them"))
            return None
        try:
            value = read(file).strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            problems.append(Problem.at(place, f"needs the file {file}: {reason or error}"))
            return None
    if not value:
        return None
    place, hidden = Place(source, path=path), (source,) if secret else ()
    if name in _LISTS:
        items = [item for piece in value.split(",") if (item := piece.strip())]
        return Items(place, tuple(Scalar(place, item, item, variables=hidden) for item in items))
    return Scalar(place, typed(value) if name in _NUMBERS else value, value, variables=hidden)


def _table(node: Node | None, place: Place, *, on: bool) -> Table | None:
    """What the file has as a table, also when it is in its short form; None where there is none to be filled in."""
    if isinstance(node, Table):
        return node
    if isinstance(node, Scalar):
        if node.value is True:
            return Table(node.place)
        if isinstance(node.value, str):
            return Table(node.place, {"provider": node})
        place = node.place if node.value is False else place
    return Table(place) if on and not isinstance(node, Items) else None


def _having(table: Table, above: list[str], key: str, node: Node) -> Table:
    if not above:
        return table.having(key, node)
    first, *rest = above
    within = _table(table.entries.get(first), node.place.child(f"cdn.{first}"), on=first not in table.entries)
    return table if within is None else table.having(first, _having(within, rest, key, node))
