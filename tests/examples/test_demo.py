"""What the demonstration gives the balancer, and where it says to look."""

from __future__ import annotations

import pytest

from config.load import load
from examples.demo import address
from tests.tree import ROOT

FILE = ROOT / "examples" / "demo.yaml"


def test_the_file_says_what_the_demonstration_relies_on():
    config = load(FILE, {}).config
    assert list(config.pools["default"].servers) == ["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003"]
    active = config.pools["default"].health.active
    assert active is not None
    assert (active.path, active.interval) == ("/health", 2.0)


def test_variables_move_everything_elsewhere():
    environment = {
        "LOAD_BALANCER_SERVERS": "http://127.0.0.1:4001,http://127.0.0.1:4002",
        "LOAD_BALANCER_LISTEN": "127.0.0.1:8081",
        "BALANCER_ADMIN_LISTEN": "127.0.0.1:9901",
        "DEMO_OVERLAY": "elsewhere.yaml",
        "DEMO_CDN": "files",
    }
    config = load(FILE, environment).config
    assert list(config.pools["default"].servers) == ["127.0.0.1:4001", "127.0.0.1:4002"]
    assert str(config.listeners["main"].address) == "127.0.0.1:8081"
    assert str(config.admin.listen) == "127.0.0.1:9901"
    assert config.admin.state == "elsewhere.yaml"
    assert config.cdn is not None
    assert config.cdn.local.directory == "files"


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("127.0.0.1:9900", "http://127.0.0.1:9900"),
        ("[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_where_it_listens_tells_where_to_reach_it(listen, url):
    assert address(listen) == url
