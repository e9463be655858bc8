"""`trusted_proxies`: networks, and CDNs by name."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from config.load import load
from config.problems import ConfigError


def loaded(tmp_path: Path, text: str) -> object:
    file = tmp_path / "balancer.yaml"
    file.write_text(f"servers: [http://a:1]\ntrusted_proxies: {text}\n")
    return load(file, {}).config.trusted_proxies


def test_networks_and_names_stand_side_by_side(tmp_path: Path) -> None:
    found = loaded(tmp_path, "[10.0.0.0/8, cloudflare, 192.0.2.7, bunny, cloudfront]")
    assert found == (ip_network("10.0.0.0/8"), "cloudflare", ip_network("192.0.2.7"), "bunny", "cloudfront")


def test_one_name_needs_no_list(tmp_path: Path) -> None:
    assert loaded(tmp_path, "cloudflare") == ("cloudflare",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[cloudfare]", "must be a network such as 10.0.0.0/8, or one of cloudflare, cloudfront, bunny"),
        ("[Cloudflare]", "must be a network such as 10.0.0.0/8, or one of cloudflare, cloudfront, bunny"),
        ("[cloudfare]", 'did you mean "cloudflare"?'),
        ("[Bunny]", 'did you mean "bunny"?'),
        ("[aws]", 'did you mean "cloudfront"?'),
        ("[10.0.0.1/8]", "must have no bits set after the prefix"),
        ("[300.0.0.1]", "must be a network such as 10.0.0.0/8"),
        ("[true]", "must be a network such as 10.0.0.0/8"),
        ("[[cloudflare]]", "must be a network such as 10.0.0.0/8"),
    ],
)
def test_anything_else_is_refused_by_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text)
    assert problem in str(error.value)
    assert ":2:" in str(error.value)
