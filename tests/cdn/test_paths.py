"""A file by what people have of it."""

from __future__ import annotations

import pytest

from balancer.cdn.errors import Invalid
from balancer.cdn.paths import is_path, path_of

PATH = "image/2026/11/ab/abcd-cat.jpg"


@pytest.mark.parametrize(
    ("text", "base"),
    [
        (PATH, "/cdn/"),
        (f"/{PATH}", "/cdn/"),
        (f"/cdn/{PATH}", "/cdn/"),
        (f"cdn/{PATH}", "/cdn/"),
        (f"http://127.0.0.1:8080/cdn/{PATH}", "/cdn/"),
        (f"https://cdn.example.com/cdn/{PATH}?v=1", "https://cdn.example.com/cdn/"),
        (f"https://CDN.example.com/{PATH}", "https://cdn.example.com/"),
        (f"/cdn/{PATH}", "https://cdn.example.com/cdn/"),
        (f"https://cdn.example.com/shop/{PATH}", "https://cdn.example.com/shop/"),
    ],
)
def test_a_path_and_each_form_of_its_url_mean_the_same_file(text: str, base: str) -> None:
    hosts = {"cdn.example.com"} if "://" in base else set[str]()
    assert path_of(text, base, hosts) == PATH


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f"https://other.example/cdn/{PATH}",
            "is no file of the CDN: its URLs begin with https://cdn.example.com/cdn/",
        ),
        (f"https://cdn.example.com/{PATH}", "the paths of its URLs begin with /cdn/"),
        ("https://[/", "is no URL"),
    ],
)
def test_a_url_that_is_no_files_is_told_with_what_theirs_begin_with(text: str, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        path_of(text, "https://cdn.example.com/cdn/", {"cdn.example.com"})


def test_a_folder_of_files_may_be_called_as_the_path_is() -> None:
    assert path_of("cdn/readme.txt", "/cdn/", ()) == "cdn/readme.txt"


def test_only_what_begins_with_a_kind_is_taken_for_a_path_among_targets_of_a_purge() -> None:
    assert is_path(PATH)
    assert not any(map(is_path, ("posts/7", "image", "tag:image/a", "/image/a", "image/*", "image/a?x=1", "")))
