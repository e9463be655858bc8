"""The command as a process: what it imports, how soon it answers, and what it writes where."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import balancer
from balancer.cli import COMMANDS, GROUPS, main
from balancer.commands.outcome import OK, UNREACHABLE, USAGE
from tests.commands.answers import metrics, pool, server, status
from tests.commands.stand_in import Reply, stand_in
from tests.tree import ROOT

NOWHERE = "unix:/nonexistent/balancer.sock"
STATUS = {
    "GET /api/infrastructure/load-balancer/status": Reply(status(pool(server("a"), server("b", "down", "no")))),
    "GET /api/monitoring/metrics": Reply(metrics(a=1.0, b=0.0)),
}


def environment(further: Mapping[str, str]) -> dict[str, str]:
    """The environment of these tests without what the balancer reads from it, and with `further`."""
    ours = re.compile("(LOAD_)?BALANCER_.*|ADMIN_API_KEY|REDIS_URL|LOG_LEVEL|NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **further}


def run(*words: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "balancer", *words],
        cwd=cwd,
        env=environment(environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def imported(*words: str) -> set[str]:
    """The top-level packages that a command line imports, and the project's modules."""
    script = (
        "import sys\n"
        "from balancer.cli import main\n"
        f"try: main({list(words)!r})\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return set(done.stderr.splitlines()[-1].split())


def on_a_terminal(*words: str, **environ: str) -> str:
    """What a command writes to a terminal of 80 columns that it alone has."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "balancer", *words],
            cwd=ROOT,
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.STDOUT,
        )
        os.close(theirs)
        written = b""
        while select.select([ours], [], [], 20)[0]:
            try:
                written += os.read(ours, 65536)
            except OSError:  # how Linux says that the other side has closed
                break
        process.wait(20)
    finally:
        os.close(ours)
    return written.decode()


def test_the_version_is_the_last_word_of_its_answer() -> None:
    done = run("version")
    assert (done.returncode, done.stdout, done.stderr) == (OK, f"balancer {balancer.__version__}\n", "")


def test_the_version_with_more_words_tells_what_it_runs_on() -> None:
    lines = run("version", "-v").stdout.splitlines()
    assert lines[0] == f"balancer {balancer.__version__}"
    assert any(line.startswith("aiohttp 3.") for line in lines)


def test_the_version_imports_nothing_that_takes_long() -> None:
    heavy = {"asyncio", "yaml", "pydantic", "aiohttp", "http.client", "config.schema"}
    assert imported("version") & heavy == set()


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--admin", NOWHERE),
        ("reload", "--admin", NOWHERE),
        ("drain", "app/a", "--admin", NOWHERE),
        ("healthcheck", "--admin", NOWHERE),
    ],
)
def test_asking_a_balancer_imports_neither_a_server_nor_the_schema_nor_yaml(words: tuple[str, ...]) -> None:
    heavy = {"asyncio", "yaml", "pydantic", "aiohttp", "uvloop", "config.schema", "balancer.app"}
    found = imported(*words)
    assert "balancer.commands.client" in found
    assert found & heavy == set()


def test_the_configuration_is_read_for_its_address_without_the_schema(tmp_path: Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text(f"admin: {{listen: '{NOWHERE}'}}\n")
    found = imported("status", "-c", str(file))
    assert "yaml" in found
    assert found & {"pydantic", "aiohttp", "asyncio"} == set()


def test_what_is_data_goes_to_stdout_and_what_is_said_to_stderr() -> None:
    done = run("status", "--admin", NOWHERE)
    assert (done.returncode, done.stdout) == (UNREACHABLE, "")
    assert done.stderr.startswith(f"balancer: no balancer answers at {NOWHERE}: is it running?")
    with stand_in(STATUS) as api:
        done = run("status", "--admin", api.url)
    assert (done.returncode, done.stderr) == (OK, "")
    assert done.stdout.startswith(f"balancer {api.url}")


def test_a_terminal_gets_colours_unless_no_color_is_set() -> None:
    with stand_in(STATUS) as api:
        assert "\x1b[31mdown 3h" in on_a_terminal("status", "--admin", api.url)
        plain = on_a_terminal("status", "--admin", api.url, NO_COLOR="1")
    assert "down 3h" in plain
    assert "\x1b" not in plain


@pytest.mark.slow
def test_ctrl_c_is_the_good_end_of_watching() -> None:
    with stand_in(STATUS) as api:
        process = subprocess.Popen(
            [sys.executable, "-m", "balancer", "status", "--watch", "--admin", api.url],
            cwd=ROOT,
            env=environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert "app 1/2 up, b down (no)" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)
    assert (process.returncode, messages) == (OK, "")


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_reason_for_a_stack_trace() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "balancer", "config", "schema"],
        cwd=ROOT,
        env=environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(20) != OK


def test_running_without_a_configuration_says_how_to_get_one(tmp_path: Path) -> None:
    done = run("run", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.startswith("balancer: there is no configuration: ")


@pytest.mark.slow
def test_running_with_a_bad_configuration_ends_with_its_problems(tmp_path: Path) -> None:
    (tmp_path / "balancer.yaml").write_text("servers: [ftp://a]\n")
    done = run("run", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.startswith("balancer.yaml:1:11: ")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("statsu",),
        ("config",),
        ("key",),
        ("drain",),
        ("status", "--key", "secret"),
        ("check", "--format", "xml"),
        ("key", "create", "--role", "root"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_exit_code_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: balancer")


def every_command() -> list[tuple[str, ...]]:
    inside = [(group, command.name) for group, _, commands in GROUPS for command in commands]
    return [*((command.name,) for command in COMMANDS), *inside]


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert caught.value.code == OK
    assert capsys.readouterr().out.startswith(f"usage: balancer {' '.join(words)} ")


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_is_in_the_documentation(words: tuple[str, ...]) -> None:
    assert f"`balancer {' '.join(words)}" in (ROOT / "docs" / "cli.md").read_text()


def test_no_option_takes_a_key_where_every_user_of_the_machine_can_read_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in every_command():
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        assert "--key " not in capsys.readouterr().out


def test_a_command_that_is_none_is_told_which_was_probably_meant() -> None:
    done = run("chekc")
    assert done.returncode == USAGE
    assert "did you mean check?" in done.stderr
    assert "did you mean revoke?" in run("key", "revoek", "x").stderr
    assert "did you mean" not in run("qqqq").stderr
