import json
from pathlib import Path

import pytest

from balancer.commands.outcome import OK, USAGE
from tests.commands.stand_in import balancer
from tests.tls.authority import issued

GOOD = """\
listen: 127.0.0.1:8080
pools:
  app: {servers: [http://127.0.0.1:3001, http://127.0.0.1:3002]}
  next: {servers: [http://127.0.0.1:3003]}
routes:
  beta: {match: {path: /beta/**}, pool: next}
  rest: {pool: app}
"""
BAD = """\
listen: 127.0.0.1:8080
servers: [http://127.0.0.1:3001]
stratgey: random
admin: {listen: 70000}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "balancer.yaml"


def test_a_good_file_is_summed_up_in_a_line(file: Path) -> None:
    file.write_text(GOOD)
    ended = balancer("check", str(file))
    assert ended == (OK, f"{file} is good: 1 listener, 2 pools, 3 servers, 2 routes\n", "")


def test_every_problem_has_a_line_with_its_place(file: Path) -> None:
    file.write_text(BAD)
    code, out, messages = balancer("check", str(file))
    assert code == USAGE
    assert messages == f"{file} has 2 problems\n"
    first, second = out.splitlines()
    assert first.startswith(f"{file}:3:1: ")
    assert "strategy" in first
    assert second.startswith(f"{file}:4:17: admin.listen: ")


def test_the_file_may_come_from_the_option_and_the_variable_as_for_run(file: Path) -> None:
    file.write_text(GOOD)
    assert balancer("check", "-c", str(file)).code == OK
    assert balancer("check", environ={"BALANCER_CONFIG": str(file)}).code == OK


def test_servers_in_the_environment_are_a_whole_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no balancer.yaml
    environ = {"BALANCER_CONFIG": "", "LOAD_BALANCER_SERVERS": "http://a:1,http://b:2"}
    ended = balancer("check", environ=environ)
    assert ended == (OK, "the environment is good: 1 listener, 1 pool, 2 servers, 1 route\n", "")


def test_a_file_that_is_not_there_is_a_problem_of_its_own(file: Path) -> None:
    code, out, _ = balancer("check", str(file))
    assert code == USAGE
    assert out == f"{file}: cannot be read: No such file or directory\n"


def test_a_strategy_of_the_user_s_own_is_imported_to_see_whether_it_can_be(file: Path) -> None:
    file.write_text("servers: [http://a:1]\nstrategy: nowhere.to_be_found:Mine\n")
    code, out, _ = balancer("check", str(file))
    assert code == USAGE
    assert out.startswith(f"{file}:2:11: ")
    assert "no module named 'nowhere'" in out


def test_a_warning_is_told_and_changes_nothing(file: Path) -> None:
    file.write_text(GOOD.replace("pool: next", "pool: app"))
    code, out, messages = balancer("check", str(file))
    assert (code, messages) == (OK, "")
    warning, summary = out.splitlines()
    assert warning.startswith(f"{file}:4:")
    assert warning.endswith(": pools.next: warning: is used by no route")
    assert summary.startswith(f"{file} is good: ")
    assert balancer("check", str(file), "--format", "github").out.startswith("::warning file=")
    found = json.loads(balancer("check", str(file), "--format", "json").out)
    assert [problem["severity"] for problem in found["problems"]] == ["warning"]
    assert found["ok"]


def test_json_has_the_place_of_each_problem_in_fields(file: Path) -> None:
    file.write_text(BAD)
    code, out, messages = balancer("check", str(file), "--format", "json")
    assert (code, messages) == (USAGE, "")
    found = json.loads(out)
    assert (found["ok"], found["file"], found["summary"]) == (False, str(file), None)
    assert [(problem["line"], problem["column"]) for problem in found["problems"]] == [(3, 1), (4, 17)]
    assert {problem["severity"] for problem in found["problems"]} == {"error"}


def test_json_of_a_good_file_has_its_counts(file: Path) -> None:
    file.write_text(GOOD)
    found = json.loads(balancer("check", str(file), "--format", "json").out)
    assert found == {
        "file": str(file),
        "ok": True,
        "problems": [],
        "summary": {"listeners": 1, "pools": 2, "servers": 3, "routes": 2},
    }


def test_github_is_told_in_its_own_commands_with_what_would_end_them_escaped(tmp_path: Path) -> None:
    file = tmp_path / "50%, a:b.yaml"
    file.write_text(BAD)
    code, out, _ = balancer("check", str(file), "--format", "github")
    assert code == USAGE
    first, second = out.splitlines()
    escaped = str(file).replace("%", "%25").replace(",", "%2C").replace(":", "%3A")
    assert first.startswith(f"::error file={escaped},line=3,col=1")
    assert second.startswith(f"::error file={escaped},line=4,col=17,title=admin.listen::must be an address")


def test_github_is_told_of_a_variable_without_a_place(file: Path) -> None:
    file.write_text(GOOD.replace("next:", "default:").replace("pool: next", "pool: default"))
    environ = {"LOAD_BALANCER_SERVERS": "ftp://a"}
    code, out, _ = balancer("check", str(file), "--format", "github", environ=environ)
    assert code == USAGE
    assert out.startswith("::error title=pools.default.servers::LOAD_BALANCER_SERVERS: ")


def test_two_files_are_one_too_many(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        balancer("check", str(file), "-c", str(file))
    assert caught.value.code == USAGE
    assert "not allowed with argument" in capsys.readouterr().err


def test_the_files_of_a_listener_with_tls_are_looked_into(file: Path, tmp_path: Path) -> None:
    good, bad = issued(tmp_path, "a.test"), issued(tmp_path, "b.test")
    listeners = """\
listeners:
  main:
    address: 127.0.0.1:8443
    tls:
      minimum: 1.3
      certificates:
        - {{cert: {cert}, key: {key}}}
"""
    file.write_text(GOOD.replace("listen: 127.0.0.1:8080\n", listeners.format(**good)))
    assert balancer("check", str(file)).code == OK
    file.write_text(GOOD.replace("listen: 127.0.0.1:8080\n", listeners.format(cert=good["cert"], key=bad["key"])))
    code, out, _ = balancer("check", str(file))
    column = 11 + len(f"{{cert: {good['cert']}, key: ")
    place = f"{file}:7:{column}: listeners.main.tls.certificates[0].key"
    assert code == USAGE
    assert out == f"{place}: {bad['key']} is not the key of the certificate in {good['cert']}\n"


def test_a_ca_that_holds_no_certificates_is_found_with_its_place(file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    file.write_text(
        f"""\
pools:
  app:
    servers: [https://127.0.0.1:3001]
    tls:
      ca: {tmp_path}/empty.pem
  next:
    servers: [https://127.0.0.1:3002]
    tls: {{certificate: {{cert: {tmp_path}/none.pem, key: {tmp_path}/empty.pem}}}}
routes: {{a: {{pool: app}}, b: {{match: /b, pool: next}}}}
"""
    )
    code, out, _ = balancer("check", str(file))
    assert code == USAGE
    first, second = out.splitlines()
    assert first.startswith(f"{file}:5:11: pools.app.tls.ca: {tmp_path}/empty.pem must hold certificates in PEM")
    assert second.startswith(f"{file}:8:31: pools.next.tls.certificate.cert: cannot read {tmp_path}/none.pem")


def test_the_files_of_redis_with_tls_are_looked_into(file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    file.write_text(f"servers: [http://h:1]\nredis:\n  url: rediss://h\n  tls: {{ca: {tmp_path}/empty.pem}}\n")
    code, out, _ = balancer("check", str(file))
    assert code == USAGE
    assert out.startswith(f"{file}:4:13: redis.tls.ca: {tmp_path}/empty.pem must hold certificates in PEM")


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file or directory"), ("nonsense", "no PEM")])
def test_the_authorities_of_an_issuer_are_looked_into(
    file: Path, tmp_path: Path, content: str | None, reason: str
) -> None:
    authorities = tmp_path / "issuer.pem"
    if content is not None:
        authorities.write_text(content)
    jwt = f"{{jwks: https://id.example/x, issuer: x, ca: {authorities}}}"
    file.write_text(f"servers: [http://a:1]\nauth: {{u: {{jwt: {jwt}}}}}\nroutes: {{r: {{pool: default, auth: u}}}}\n")
    code, out, _ = balancer("check", str(file))
    assert code == USAGE
    assert out.startswith(f"{file}:2:")
    assert f"auth.u.jwt.ca: must be a PEM file of authorities that can be read ({reason})" in out


def test_certificates_are_not_asked_of_a_pool_without_tls(file: Path) -> None:
    file.write_text("pools: {app: {servers: [http://127.0.0.1:3001], tls: {ca: none.pem}}}")
    code, out, _ = balancer("check", str(file))
    assert code == OK
    assert "warning: has no effect" in out


def test_a_key_in_the_place_of_its_path_is_not_repeated(file: Path, tmp_path: Path) -> None:
    files = issued(tmp_path, "a.test")
    file.write_text(f"""\
pools:
  app:
    servers: [https://app.internal]
    tls: {{certificate: {{cert: {files["cert"]}, key: "${{file:{files["key"]}}}"}}}}
""")
    code, out, messages = balancer("check", str(file))
    assert code == USAGE
    assert "pools.app.tls.certificate.key: must be the path of a file, and not what is in it" in out
    assert "PRIVATE" not in out + messages


def test_keys_whose_time_is_over_are_warned_of(file: Path) -> None:
    key = '{id: alice, hash: "sha256:%s", role: admin, expires: 2020-01-01}' % ("0" * 64)
    file.write_text(GOOD + f"admin: {{keys: [{key}]}}\n")
    code, out, _ = balancer("check", str(file))
    assert code == OK
    assert "admin.keys: warning: has no key of role admin that works" in out
    assert "admin.keys[0].expires: warning: has passed: the key alice opens nothing any more" in out
