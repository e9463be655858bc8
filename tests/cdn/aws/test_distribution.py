"""What a distribution says of itself, held against the configuration."""

from dataclasses import replace

import pytest

from balancer.cdn.aws.distribution import Described, described

GOOD = Described("E1", "d1.cloudfront.net", ("cdn.example.com", "*.img.example.com"), True, "Deployed", 0, "X-Tags")


@pytest.mark.parametrize("host", ["cdn.example.com", "CDN.example.com", "d1.cloudfront.net", "a.img.example.com"])
def test_it_serves_its_names(host: str) -> None:
    assert GOOD.serves(host)
    assert list(GOOD.problems(f"https://{host}", "x-tags")) == []


@pytest.mark.parametrize("host", ["example.com", "img.example.com", "a.b.img.example.com", "d2.cloudfront.net"])
def test_it_serves_no_others(host: str) -> None:
    assert [problem.code for problem in GOOD.problems(f"https://{host}", "X-Tags")] == ["url"]


@pytest.mark.parametrize(
    ("found", "field", "codes"),
    [
        (GOOD, "", []),
        (GOOD, "Cache-Tag", ["tags"]),
        (replace(GOOD, tag_field=None), "X-Tags", ["tags"]),
        (replace(GOOD, tag_field=None), "", []),
        (replace(GOOD, enabled=False), "X-Tags", ["disabled"]),
        (replace(GOOD, status="InProgress"), "X-Tags", ["deploying"]),
        (replace(GOOD, status="DEPLOYED"), "X-Tags", []),
    ],
)
def test_what_needs_somebody_is_named(found: Described, field: str, codes: list[str]) -> None:
    assert [problem.code for problem in found.problems("", field)] == codes


def test_what_cloudfront_leaves_out_is_none() -> None:
    bare = described({"Distribution": {"Id": "E1", "DomainName": "d1.cloudfront.net", "Status": "Deployed"}})
    assert (bare.aliases, bare.enabled, bare.tag_field, bare.in_progress) == ((), False, None, None)
