"""What the documentation, the alert rules and the dashboard say about metrics and log lines is true."""

import json
import re
import shutil
import subprocess

import pytest

from balancer.decision import Decision
from balancer.tally import BOUNDS
from balancer.telemetry.access_log import FIELDS
from balancer.telemetry.cache_report import RESULTS
from balancer.telemetry.catalogue import CATALOGUE, FAILURES
from balancer.telemetry.exposition import LEFT_OUT, SUFFIX
from balancer.telemetry.report import STATES
from tests.tree import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
FAMILIES = (*CATALOGUE, LEFT_OUT)
LABELS = {family.name + SUFFIX[family.kind]: set(family.labels) for family in FAMILIES}
ELSEWHERE = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds", "up"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def queries() -> list[str]:
    """Every expression in the rules, the dashboard and the documentation."""
    rules = re.sub(r">-\s+", "", (PROMETHEUS / "alerts.yml").read_text())
    found = re.findall(r"expr: (.+?)\n +(?:for|labels):", rules, re.DOTALL)
    dashboard = json.loads((PROMETHEUS / "grafana-dashboard.json").read_text())
    found += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    found += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    found += [
        variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["name"] != "datasource"
    ]
    answers = (ROOT / "docs/metrics.md").read_text().partition("## Questions")[2]
    return found + re.findall(r"\| `(.+)` \|\n", answers)


def row(family) -> str:
    kind = "gauge" if family.kind == "info" else family.kind
    name = family.name + SUFFIX[family.kind]
    return f"| `{name}` | {kind} | {', '.join(family.labels) or '-'} | {family.help} |"


def test_the_documentation_lists_every_metric_and_no_other():
    documented = re.findall(r"^\| `balancer_.*$", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(map(row, FAMILIES))


def test_there_are_queries_to_check():
    assert len(queries()) > 55


@pytest.mark.parametrize("query", queries())
def test_a_query_asks_for_metrics_and_labels_that_exist(query):
    for name, matchers in re.findall(r"\b((?:balancer|process)_\w+|up\b)(\{[^}]*\})?", query):
        if name in ELSEWHERE:
            continue
        family = re.sub(r"_(bucket|sum|count)$", "", name) if "duration" in name else name
        assert family in LABELS
        asked = set(re.findall(r"(\w+)[=!]", matchers or ""))
        assert asked <= LABELS[family] | {"job", "instance"}


def test_labels_that_results_are_grouped_by_exist():
    known = set().union(*LABELS.values()) | {"job", "instance", "le"}
    for query in queries():
        for labels in re.findall(r"(?:by|on) \(([^)]*)\)", query):
            assert {label.strip() for label in labels.split(",")} <= known


@needs_promtool
@pytest.mark.parametrize(
    "command",
    ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"],
)
def test_promtool_accepts_what_is_shipped(command):
    done = subprocess.run(["promtool", *command.split()], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_accepts_every_query_of_the_dashboard(tmp_path):
    rules = [
        {"record": f"query:{number}", "expr": re.sub(r"\$__\w+", "1m", query).replace("$", "")}
        for number, query in enumerate(queries())
        if not query.startswith("label_values")
    ]
    path = tmp_path / "queries.yml"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested():
    alerts = re.findall(r"alert: (\w+)", (PROMETHEUS / "alerts.yml").read_text())
    tested = re.findall(r'\{alertname="(\w+)"\}', (PROMETHEUS / "alerts_test.yml").read_text())
    assert sorted(alerts) == sorted(tested)


def test_the_documentation_lists_every_field_of_a_line():
    text = (ROOT / "docs/logs.md").read_text()
    table = text.partition("| field |")[2].partition("\n\n")[0]
    names = [line.split("|")[1] for line in table.splitlines() if "`" in line]
    documented = re.findall(r"`(\w+)`", " ".join(names))
    assert documented == [*FIELDS, "tls", "guard", "auth", "user", "reasons", "sample_rate"]
    example = json.loads(re.search(r"```json\n(.*)\n```", text)[1])
    assert list(example) == [*FIELDS, "reasons"]


def test_the_documentation_lists_every_outcome():
    listed = re.findall(
        r"^\| `([a-z-]+)` \|",
        (ROOT / "docs/logs.md").read_text().partition("| outcome |")[2].partition("\n\n")[0],
        re.MULTILINE,
    )
    assert set(listed) == set(re.findall(r'"([a-z-]+)"', Decision.__doc__))


def test_the_documentation_lists_all_that_the_cache_may_have_done():
    table = (ROOT / "docs/logs.md").read_text().partition("| cache |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE) == list(RESULTS)


def test_the_documentation_lists_states_and_failures():
    text = " ".join((ROOT / "docs/metrics.md").read_text().split())
    assert f"`state` is one of {', '.join(STATES)}." in text
    assert f"`kind` is one of {', '.join(FAILURES)}." in text
    assert f"counted in {len(BOUNDS)} buckets" in text
