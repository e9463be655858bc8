"""The page at /, and what it consists of: the same for everybody, cached by its version, and under a strict policy."""

import gzip
import os
import re
from pathlib import Path

import pytest

from api.pages import FOLDER, Pages
from tests.api.desk import Desk
from tests.api.raw import ask


async def version(desk: Desk) -> str:
    page = await desk.ask("GET", "/", role=None)
    return re.findall(rb"/dashboard/([0-9a-f]{16})/style.css", page.content)[0].decode()


async def test_the_page_needs_no_key_and_forbids_whatever_is_not_its_own(desk: Desk) -> None:
    page = await desk.ask("GET", "/", role=None)
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-cache"
    assert b"<script>" not in page.content
    assert b" style=" not in page.content


async def test_a_page_that_is_known_already_is_not_sent_again(desk: Desk) -> None:
    tag = (await desk.ask("GET", "/", role=None)).headers["ETag"]
    again = await desk.ask("GET", "/", role=None, headers={"If-None-Match": tag})
    assert (again.status, again.content) == (304, b"")


async def test_files_are_kept_for_ever_under_their_version_and_there_is_no_other(desk: Desk) -> None:
    current = await version(desk)
    style = await desk.ask("GET", f"/dashboard/{current}/style.css", role=None)
    assert (style.status, style.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in style.headers["Cache-Control"]
    assert (await desk.ask("GET", "/dashboard/0123456789abcdef/style.css", role=None)).status == 404


async def test_files_are_packed_for_those_who_unpack_them(desk: Desk) -> None:
    path = f"/dashboard/{await version(desk)}/lib/ui.js"
    packed = await desk.client.get(path, headers={"Accept-Encoding": "gzip"}, skip_auto_headers=["Accept-Encoding"])
    assert packed.headers["Content-Encoding"] == "gzip"
    plain = await ask(desk, path)
    assert plain.body == (FOLDER / "lib" / "ui.js").read_bytes() == await packed.read()


@pytest.mark.parametrize(
    "name",
    ["../pages.py", "..%2fpages.py", "lib/../../pages.py", "lib", "", "index.html", "missing.html", "package.json"],
)
async def test_nothing_else_of_the_disk_is_there(desk: Desk, name: str) -> None:
    answer = await ask(desk, f"/dashboard/{await version(desk)}/{name}")
    assert answer.status == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (("Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors"), 200),  # a style sheet
        (("Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Origin: {own}"), 200),  # a module
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"), 403),  # by a page of another site
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Origin: http://evil.example"), 403),
    ],
)
async def test_only_our_own_pages_load_the_files(desk: Desk, fields: tuple[str, ...], status: int) -> None:
    own = f"{desk.client.host}:{desk.client.port}"
    path = f"/dashboard/{await version(desk)}/app.js"
    sent = [field.format(own=f"http://{own}") for field in fields]
    assert (await ask(desk, path, *sent, host=f"Host: {own}")).status == status


async def test_anybody_may_link_to_the_page_but_not_to_the_api(desk: Desk) -> None:
    linked = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
    assert (await ask(desk, "/", *linked)).status == 200
    assert (await ask(desk, "/api/monitoring/metrics", *linked)).status == 403


async def test_without_what_it_is_drawn_with_the_page_says_what_to_do(desk: Desk, tmp_path: Path) -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file() and "vendor" not in path.parts:
            copy = tmp_path / path.relative_to(FOLDER)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    pages = Pages(desk.services, tmp_path)
    edition = pages._look()
    assert not edition.is_whole
    assert b"make dashboard" in edition.files["missing.html"].content
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "preact.js").write_text("export {}")
    later = pages._look()
    assert later.is_whole
    assert later.version != edition.version
    assert pages._look() is later
    os.utime(tmp_path / "vendor" / "preact.js", ns=(1, 1))
    assert pages._look().version == later.version


async def test_all_files_together_are_small(desk: Desk) -> None:
    edition = Pages(desk.services)._look()
    loaded = [file for name, file in edition.files.items() if name not in ("missing.html", "vendor/LICENSES.txt")]
    assert sum(len(file.packed) for file in loaded) < 150_000
    assert all(gzip.decompress(file.packed) == file.content for file in loaded)


def test_every_module_that_is_imported_is_there() -> None:
    for path in FOLDER.rglob("*.js"):
        if "vendor" in path.parts:
            continue
        for name in re.findall(r"""(?:from|import)\s*\(?\s*"(\.[^"]+)\"""", path.read_text()):
            target = (path.parent / name).resolve()
            assert target.exists() or "vendor" in target.parts, f"{path.relative_to(FOLDER)} imports {name}"
