from pathlib import Path

import pytest

from balancer.commands.outcome import USAGE, Failure
from balancer.commands.places import Admin, admin, configuration, key, needed_configuration, url


def test_the_option_goes_before_the_variable_and_the_variable_before_the_usual_files(tmp_path: Path) -> None:
    usual = (tmp_path / "balancer.yaml",)
    usual[0].touch()
    environ = {"BALANCER_CONFIG": "/by/variable.yaml"}
    assert configuration(Path("given.yaml"), environ, usual) == Path("given.yaml")
    assert configuration(None, environ, usual) == Path("/by/variable.yaml")
    assert configuration(None, {}, usual) == usual[0]


def test_of_the_usual_files_the_first_that_exists_is_taken(tmp_path: Path) -> None:
    usual = (tmp_path / "here.yaml", tmp_path / "etc.yaml")
    usual[1].touch()
    assert configuration(None, {}, usual) == usual[1]
    usual[0].touch()
    assert configuration(None, {}, usual) == usual[0]


def test_servers_in_the_environment_need_no_file(tmp_path: Path) -> None:
    environ = {"LOAD_BALANCER_SERVERS": "http://a:1"}
    assert needed_configuration(None, environ, (tmp_path / "balancer.yaml",)) is None


def test_without_a_file_and_without_servers_one_is_told_how_to_get_either(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        needed_configuration(None, {"LOAD_BALANCER_SERVERS": " "}, (tmp_path / "balancer.yaml",))
    assert caught.value.code == USAGE
    for way in ("balancer.yaml do not exist", "-c", "config example", "LOAD_BALANCER_SERVERS=http://"):
        assert way in str(caught.value)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("http://127.0.0.1:9900", "http://127.0.0.1:9900"),
        ("http://127.0.0.1:9900/", "http://127.0.0.1:9900"),
        ("https://ops.example.com/balancer/", "https://ops.example.com/balancer"),
        ("unix:/run/b.sock", "unix:/run/b.sock"),
        ("127.0.0.1:9901", "http://127.0.0.1:9901"),
        (":9900", "http://127.0.0.1:9900"),
        ("*:9900", "http://127.0.0.1:9900"),
        ("0.0.0.0:9900", "http://127.0.0.1:9900"),
        ("[::]:9900", "http://[::1]:9900"),
        ("[fd00::1]:9900", "http://[fd00::1]:9900"),
        ("localhost:9900", "http://localhost:9900"),
    ],
)
def test_an_address_to_listen_on_becomes_one_to_ask(said: str, meant: str) -> None:
    assert url(said, "--admin") == meant


@pytest.mark.parametrize(
    "said",
    ["", "9900", "localhost", "ftp://a:1", "unix:run.sock", "http://", "http:///", "http://u:p@a:1", "a:b", "/x:1"],
)
def test_what_is_no_address_is_refused_with_an_example(said: str) -> None:
    with pytest.raises(Failure, match=r"--admin must be where .* such as http://127\.0\.0\.1:9900") as caught:
        url(said, "--admin")
    assert caught.value.code == USAGE


def test_port_0_cannot_be_asked_and_the_message_says_where_the_real_one_is() -> None:
    with pytest.raises(Failure, match="its log says which"):
        url("127.0.0.1:0", "BALANCER_ADMIN_LISTEN")


def test_where_to_ask_comes_from_the_option_then_variables_then_the_file_then_the_default(tmp_path: Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text("admin: {listen: 'unix:/run/b.sock'}\n")
    environ = {"BALANCER_ADMIN": "http://a:1", "BALANCER_ADMIN_LISTEN": "b:2"}
    assert admin("http://c:3", file, environ) == Admin("http://c:3", "--admin")
    assert admin(None, file, environ) == Admin("http://a:1", "BALANCER_ADMIN")
    del environ["BALANCER_ADMIN"]
    assert admin(None, file, environ) == Admin("http://b:2", "BALANCER_ADMIN_LISTEN")
    assert admin(None, file, {}) == Admin("unix:/run/b.sock", f"admin.listen in {file}")
    assert admin(None, tmp_path / "none.yaml", {}) == Admin("http://127.0.0.1:9900", "the default")


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        ("admin: 127.0.0.1:9905", "http://127.0.0.1:9905"),
        ('admin: {listen: "${ADMIN_AT}"}', "http://127.0.0.1:9906"),
        ('admin: {listen: "${OTHER:-127.0.0.1:9907}"}', "http://127.0.0.1:9907"),
        ('admin: {listen: "${file:port}"}', "http://127.0.0.1:9908"),
        ('admin: {listen: "${file:none}"}', "http://127.0.0.1:9900"),
        ("admin: {listen: 127.0.0.1:9909}\nwrong: [key, 1]", "http://127.0.0.1:9909"),
        ("admin: {keys: []}", "http://127.0.0.1:9900"),
        ("admin: {listen: [a, b]}", "http://127.0.0.1:9900"),
        ("admin:", "http://127.0.0.1:9900"),
        ("admin: {listen: ", "http://127.0.0.1:9900"),
        ("servers: [http://a:1]", "http://127.0.0.1:9900"),
    ],
)
def test_a_file_tells_where_to_ask_even_when_the_rest_of_it_is_wrong(tmp_path: Path, content: str, meant: str) -> None:
    (tmp_path / "port").write_text("127.0.0.1:9908\n")
    file = tmp_path / "balancer.yaml"
    file.write_text(content)
    assert admin(None, file, {"ADMIN_AT": "127.0.0.1:9906"}).url == meant


def test_the_key_comes_from_the_file_then_the_client_s_variable_then_the_balancer_s(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    environ = {"BALANCER_ADMIN_KEY": "own", "ADMIN_API_KEY": "shared"}
    assert key(file, environ) == ("from-file", str(file))
    assert key(None, environ) == ("own", "BALANCER_ADMIN_KEY")
    assert key(None, {"ADMIN_API_KEY": "shared"}) == ("shared", "ADMIN_API_KEY")
    assert key(None, {"ADMIN_API_KEY": ""}) is None


@pytest.mark.parametrize("content", [b"", b"two words", b"two\nlines", "schl\u00fcssel".encode(), b"\xff\xfe"])
def test_a_key_that_cannot_travel_in_a_header_is_refused_before_it_does(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(Failure) as caught:
        key(file, {})
    assert caught.value.code == USAGE
    assert str(file) in str(caught.value)


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="none cannot be read: No such file"):
        key(tmp_path / "none", {})
