"""The benchmarks run on tiny sizes and print what docs/performance.md promises. No number they find is judged here."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench import everything, plan, start, watch
from bench.result import SCHEMA_VERSION, Measure, Result, document, table
from bench.world import World
from tests.repository import ROOT

RESULT = Result(
    "speed",
    10,
    3,
    0.5,
    "ours / theirs",
    (Measure("CPU", 2.0, "s", 1.0), Measure("RAM", 150, "MB", 150), Measure("x", 1, "")),
)


def test_each_measure_with_a_goal_is_a_row_and_says_whether_it_is_met():
    assert table([RESULT]).splitlines()[2:] == [
        "| speed: CPU | 2.00 s | ≤ 1.00 s | 2.00 | no | x 1.00 |",
        "| speed: RAM | 150 MB | ≤ 150 MB | 1.00 | yes |  |",
    ]


def test_without_any_goal_the_first_measure_is_the_row():
    result = Result("speed", 10, 3, 0.5, "ours / theirs", (Measure("ratio", 2.0, ""), Measure("ours", 4.0, "s")))

    assert table([result]).splitlines()[2:] == ["| speed: ratio | 2.00 | none | | | ours 4.00 s |"]


def test_the_json_has_the_documented_fields():
    written = json.loads(document([RESULT]))

    assert written.keys() == {"schema_version", "machine", "results"}
    assert written["schema_version"] == SCHEMA_VERSION == 1
    assert written["machine"].keys() == {"system", "processor", "cores", "python", "load_1m"}
    (result,) = written["results"]
    assert result.keys() == {"benchmark", "size", "repeat", "ratio", "ratio_of", "measures"}
    assert result["measures"][0] == {"name": "CPU", "value": 2.0, "unit": "s", "goal": 1.0}
    assert result["measures"][2]["goal"] is None


def test_the_table_of_a_document_is_replaced_and_nothing_else():
    document = f"before\n{everything.BEGIN}\nan old table\n{everything.END}\nafter\n"

    once = everything.with_table(document, [RESULT], 61.0)
    twice = everything.with_table(once, [RESULT], 61.0)

    assert once.startswith(f"before\n{everything.BEGIN}\n")
    assert once.endswith(f"\n{everything.END}\nafter\n")
    assert "old" not in once
    assert table([RESULT]) in once
    assert twice.count(everything.BEGIN) == twice.count("| speed: CPU |") == 1


def test_a_document_without_marks_is_refused_before_anything_is_measured(tmp_path):
    file = tmp_path / "page.md"
    file.write_text("no marks")

    ran = subprocess.run(
        [ROOT / "bench/all", "--markdown", file], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert ran.returncode == 2
    assert "put them where the table is to stand" in ran.stderr
    assert file.read_text() == "no marks"


def test_every_pod_of_a_world_is_another():
    world = World(250, served=True)
    ports_ = [json.loads(port) for port in world.ports()]
    for field in ("id", "mac_address", "device_id", "name"):
        assert len({port[field] for port in ports_}) == 250
    assert len({ip["ip_address"] for port in ports_ for ip in port["fixed_ips"]}) == 500
    assert {port["binding:host_id"] for port in ports_} == {"node1", "node2"}
    assert {json.loads(pod)["metadata"]["uid"] for pod in world.cluster("pods")} == {p["device_id"] for p in ports_}
    assert "uid-of-the-pod" not in json.dumps(ports_)


def test_a_world_shows_the_fields_that_were_asked_for():
    (port,) = World(1, served=True).ports(("id", "binding:host_id"))
    assert json.loads(port).keys() == {"id", "binding:host_id"}


def test_planning_measures_something():
    result = plan.run(12, 1)

    assert result.size == 12
    assert result.ratio > 0
    assert all(measure.value > 0 for measure in result.measures)
    assert len(result.rows()) == 3


@pytest.mark.long
@pytest.mark.parametrize(("run", "size"), [(watch.run, 12), (start.run, 0)])
def test_a_slow_benchmark_measures_something(run, size):
    result = run(size, 1)

    assert result.ratio > 0
    assert len(result.rows()) == 2


def test_a_benchmark_is_a_command(tmp_path):
    file = tmp_path / "ports.json"
    command = [sys.executable, "-m", "bench.ports", "--size", "3", "--repeat", "1", "--json", str(file)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert "| read ports: CPU, ours / openstacksdk |" in ran.stdout
    assert json.loads(file.read_bytes())["results"][0]["size"] == 3
