"""The operator's own error page is read with the configuration, or refused with its place."""

from __future__ import annotations

import os
import pathlib

import pytest

from config.error_page import LARGEST
from config.load import load, parse
from config.overlay import Overlay, add_server, merge
from config.problems import ConfigError
from config.schema import Config, Server
from config.show import show

SETTINGS = "servers: [http://a:1]\nerrors: {page: error.html}\n"


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    made = tmp_path / "balancer.yaml"
    made.write_text(SETTINGS)
    return made


def page(config: Config) -> str | None:
    assert config.errors.page is not None
    return config.errors.page.text


def problems(file: pathlib.Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(file, {})
    return [str(problem).replace(f"{file.parent}/", "") for problem in error.value.problems]


def test_the_page_is_read_from_beside_the_configuration(file: pathlib.Path) -> None:
    (file.parent / "error.html").write_bytes("\ufeff<p>{status} é { color: red }</p>".encode())
    assert page(load(file, {}).config) == "<p>{status} é { color: red }</p>"


def test_a_page_that_has_changed_makes_another_configuration(file: pathlib.Path) -> None:
    (file.parent / "error.html").write_text("one")
    first = load(file, {}).config
    assert load(file, {}).config == first
    (file.parent / "error.html").write_text("two")
    assert load(file, {}).config != first


def test_the_page_stays_when_the_api_changes_something_else(file: pathlib.Path) -> None:
    (file.parent / "error.html").write_text("mine")
    overlay = add_server(Overlay(), "default", "b", Server(url="http://b:1"))
    assert page(merge(load(file, {}).config, overlay)) == "mine"


def test_what_is_shown_of_it_is_the_path(file: pathlib.Path) -> None:
    (file.parent / "error.html").write_text("mine")
    assert "errors:\n  page: error.html\n" in show(load(file, {}).config)


def test_an_unknown_placeholder_is_told_with_its_place(file: pathlib.Path) -> None:
    (file.parent / "error.html").write_text("<p>{status}\n  {titel} {foo}")
    expected = "errors.page: must have no placeholder but {status}, {title}, {detail} or {request_id}, not"
    assert problems(file) == [
        f"error.html:2:3: {expected} {{titel}}; did you mean {{title}}?",
        f"error.html:2:11: {expected} {{foo}}; {{ a space }} keeps braces as they are",
    ]


def test_a_page_that_is_not_there_is_told_where_it_is_named(file: pathlib.Path) -> None:
    (found,) = problems(file)
    assert found == (
        "balancer.yaml:2:16: errors.page: must be the path of a file that can be read (No such file or directory), "
        'not "error.html"'
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff", "must be the path of a file of UTF-8 text"),
        (b"x" * (LARGEST + 1), "must be the path of a file of at most 64 KiB"),
    ],
)
def test_what_can_be_no_page_is_refused(file: pathlib.Path, content: bytes, expected: str) -> None:
    (file.parent / "error.html").write_bytes(content)
    assert problems(file) == [f'balancer.yaml:2:16: errors.page: {expected}, not "error.html"']


def test_the_largest_page_is_taken(file: pathlib.Path) -> None:
    (file.parent / "error.html").write_bytes(b"x" * LARGEST)
    assert page(load(file, {}).config) == "x" * LARGEST


def test_a_pipe_in_its_place_holds_nobody_up(file: pathlib.Path) -> None:
    os.mkfifo(file.parent / "error.html")
    assert problems(file) == [
        'balancer.yaml:2:16: errors.page: must be the path of a regular file, not "error.html"',
    ]


@pytest.mark.parametrize("value", ["''", "{}", "[]"])
def test_what_is_no_path_is_refused(file: pathlib.Path, value: str) -> None:
    file.write_text(SETTINGS.replace("error.html", value))
    (found,) = problems(file)
    assert "errors.page: must be the path of an HTML file, such as error.html" in found


def test_who_may_not_read_the_machines_files_learns_nothing_of_them(file: pathlib.Path) -> None:
    (file.parent / "error.html").write_text("{secret}")
    loaded = parse(file.read_bytes(), "the body", {}, file, look=False)
    assert page(loaded.config) is None
    assert [str(warning) for warning in loaded.warnings] == [
        "the body:2:16: errors.page: was not judged: the file error.html is not looked at here"
    ]
