"""`databases`, and the URLs of PostgreSQL."""

from __future__ import annotations

import pytest

from config.load import parse
from config.postgres_url import BadPostgresUrl, PostgresPlace, PostgresUrl
from config.problems import ConfigError
from config.schema import Database
from config.show import show

SERVERS = "servers: [http://127.0.0.1:1]\n"


def databases(text: str, **environ: str) -> dict[str, Database]:
    return parse(SERVERS + text, "f", environ).config.databases


def test_a_url_alone_is_a_database_with_defaults() -> None:
    assert databases("databases: {app: 'postgresql://u@h/x'}") == {"app": Database(url="postgresql://u@h/x")}


def test_database_url_is_the_one_called_app_and_lies_over_the_file() -> None:
    url = "postgresql://u:p@h/x"
    assert databases("", DATABASE_URL=url) == {"app": Database(url=url)}
    assert databases("databases: {app: {url: '', interval: 30s}, other: 'redis://h'}", DATABASE_URL=url) == {
        "app": Database(url=url, interval=30.0),
        "other": Database(url="redis://h"),
    }


def test_a_database_url_of_another_kind_is_the_apps_affair_and_only_told() -> None:
    loaded = parse(SERVERS, "f", {"DATABASE_URL": "mysql://u:a-planted-password@h/x"})
    (warning,) = [str(one) for one in loaded.warnings]
    assert "no kind that is looked at" in warning
    assert "planted" not in warning
    with pytest.raises(ConfigError, match="must be a URL such as postgresql://"):
        databases("databases: {app: 'mysql://u@h/x'}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{redis: 'redis://h'}", "f:2:20: databases.redis: must have another name: it is that of the one in `redis`"),
        ("{app: 'postgresql://h/x'}", "must say as whom"),
        ("{app: 'postgresql://u:planted/word@h/x'}", "must "),
        ("{app: 'postgresql://u@h/x?sslmode=always'}", "must have one of disable, allow"),
        ("{app: 'postgresql://u@h/x?sslmode=verify-full'}", "must say whom to believe"),
        ("{app: 'redis://h/planted'}", "must end with the number of a database"),
        ("{app: {url: 'redis://h', interval: 100ms}}", "must be at least 1s"),
        ("{app: {url: 'redis://h', statments: 3}}", 'did you mean "statements"?'),
    ],
)
def test_what_is_wrong_is_told_at_its_place_and_without_the_url(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        databases(f"databases: {text}")
    told = "\n".join(map(str, caught.value.problems))
    assert said in told
    assert "planted" not in told


def test_a_url_is_shown_without_who_asks_and_without_its_query() -> None:
    loaded = parse(SERVERS + "databases: {app: 'postgresql://u:planted@h/x?password=planted'}", "f", {})
    text = show(loaded.config)
    assert "postgresql://***@h/x?***" in text
    assert "planted" not in text


def test_a_url_is_read_as_libpq_and_those_who_use_it_write_it() -> None:
    url = PostgresUrl.of("postgresql+asyncpg://u:p%40%2F@a:1,[::1]/x?sslmode=require&schema=public&pool_size=3")
    assert url.places == (PostgresPlace("a", 1), PostgresPlace("::1", 5432))
    assert (url.user, url.password, url.database) == ("u", "p@/", "x")
    assert dict(url.tls) == {"sslmode": "require"}
    assert str(url) == "a:1,[::1]:5432/x"
    socket = PostgresUrl.of("postgres:///x?host=/run/postgresql&user=u")
    assert (socket.places, socket.user) == ((PostgresPlace("/run/postgresql", 5432),), "u")
    assert PostgresUrl.of("postgresql://u@h").database == "u"


def test_no_text_of_a_url_has_its_password() -> None:
    url = PostgresUrl.of("postgresql://u:planted@h/x?sslpassword=planted")
    assert url.secrets == ("planted", "planted")
    assert "planted" not in f"{url}{url!r}"


@pytest.mark.parametrize(
    "text", ["", "h/x", "postgresql://u@h:0/x", "postgresql://u@h:99999/x", "postgresql://u@h o/x"]
)
def test_what_is_no_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadPostgresUrl) as caught:
        PostgresUrl.of(text)
    assert text == "" or text not in str(caught.value)
