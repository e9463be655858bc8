from balancer.health.target import Target, targets
from config.schema import ActiveChecks, Config, Health, Pool, Server

CHECKS = ActiveChecks(path="/up")


def test_every_server_of_every_pool_is_a_target_with_its_pools_checks() -> None:
    config = Config(
        listeners={},
        routes={},
        pools={
            "web": Pool(
                servers={"a": Server(url="http://a:80"), "b": Server(url="unix:/run/b")},
                health=Health(active=CHECKS, start="up"),
            ),
            "api": Pool(servers={"a": Server(url="http://c:80")}, health=Health(active=None)),
        },
    )
    assert targets(config, {("web", "b")}) == {
        ("web", "a"): Target("http://a:80", CHECKS, "up"),
        ("web", "b"): Target("unix:/run/b", CHECKS, "up", maintenance=True),
        ("api", "a"): Target("http://c:80", None),
    }


def test_only_a_server_with_checks_and_out_of_maintenance_is_probed() -> None:
    assert Target("http://a:80", CHECKS).probed
    assert not Target("http://a:80", None).probed
    assert not Target("http://a:80", CHECKS, maintenance=True).probed


def test_a_unix_url_names_its_socket() -> None:
    assert Target("unix:/run/a", None).socket == "/run/a"
    assert Target("http://unix:80", None).socket is None
