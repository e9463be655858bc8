"""Names that nobody has to escape, and that lead nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.local import names
from balancer.cdn.types import KINDS, Kind
from tests.cdn.local.samples import NOW

SHA = "ab12" * 16


@pytest.mark.parametrize(
    ("name", "extension", "stored"),
    [
        ("cat.png", "png", "cat.png"),
        ("Mein Foto (1).JPG", "jpg", "Mein-Foto-1.jpg"),
        ("../../etc/passwd", "", "passwd"),
        ("C:\\Users\\me\\cat.png", "png", "cat.png"),
        (".htaccess", "htaccess", "file.htaccess"),
        (".png", "png", "file.png"),
        ("Straße Übergröße.png", "png", "Strasse-Ubergrosse.png"),
        ("Łódź smørrebrød.png", "png", "Lodz-smorrebrod.png"),
        ("猫.png", "png", "file.png"),
        ("a\x00b\r\nSet-Cookie: x.txt", "txt", "a-b-Set-Cookie-x.txt"),
        ("archive.tar.gz", "gz", "archive.tar.gz"),
        ("", "bin", "file.bin"),
    ],
)
def test_a_name_is_cleaned(name: str, extension: str, stored: str) -> None:
    assert names.clean(name, extension) == stored


@given(name=st.text(max_size=400), kind=st.sampled_from(KINDS))
def test_whatever_comes_makes_a_good_path(name: str, kind: Kind) -> None:
    clean = names.clean(name, names.split(name)[1])
    path = names.by_content(kind, clean, SHA, NOW)
    assert names.good(path)
    assert names.is_by_content(path)
    assert names.name_of(path) == clean
    assert names.good(names.plain(kind, clean))
    assert not names.is_by_content(names.plain(kind, clean))
    assert "\n" not in names.shown(name)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "..",
        "a/../b",
        "./b",
        ".a",
        "a/.b",
        "a\x00",
        "a%2fb",
        "a\\b",
        "a b",
        "ü",
        "a\n",
        "a" * 251,
    ],
)
def test_other_paths_are_none(path: str) -> None:
    assert not names.good(path)


def test_a_path_tells_day_and_content() -> None:
    assert names.by_content("image", "cat.png", SHA, NOW) == "image/2026/11/ab/ab12ab12ab12ab12-cat.png"
    assert not names.is_by_content("image/2026/11/cd/ab12ab12ab12ab12-cat.png")
