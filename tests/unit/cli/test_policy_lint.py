"""`policy lint`: formats and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kuryrctl.cli.policy_lint import PolicyLint
from kuryrctl.cli.settings import Settings
from kuryrctl.core.config import Config
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import Site

OPEN = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: shop}
spec: {podSelector: {}, ingress: [{}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {containers: []}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "open.yaml"
    path.write_text(OPEN)
    return path


def linted(file: Path, *words: str) -> int:
    return run(PolicyLint, Settings(Config(), {}), "-f", str(file), *words)


def test_a_table_names_the_place_and_the_code(file, capsys) -> None:
    assert linted(file) == 10
    assert "shop/open spec.ingress[0]" in capsys.readouterr().out


def test_json_is_one_versioned_document(file, capsys) -> None:
    linted(file, "--format", "json")
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "kuryrctl.policy-lint/1"
    (finding,) = document["findings"]
    assert (finding["code"], finding["file"]) == ("POL-OPENS-ALL", str(file))


def test_sarif_names_rule_level_and_file(file, capsys) -> None:
    linted(file, "--format", "sarif")
    log = json.loads(capsys.readouterr().out)
    (result,) = log["runs"][0]["results"]
    assert log["version"] == "2.1.0"
    assert (result["ruleId"], result["level"]) == ("POL-OPENS-ALL", "warning")
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == str(file)
    assert result["ruleId"] in {rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]}


def test_an_accepted_finding_is_suppressed_in_sarif_and_skipped_in_junit(file, capsys) -> None:
    accepted = "annotations: {kuryr.openstack.org/lint-ignore: 'POL-OPENS-ALL: front door'}, name: open"
    file.write_text(OPEN.replace("name: open", accepted))
    assert linted(file, "--format", "sarif") == 0
    (result,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert result["suppressions"] == [{"kind": "inSource", "justification": "front door"}]
    assert linted(file, "--format", "junit") == 0
    suite = ElementTree.fromstring(capsys.readouterr().out)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("1", "0", "1")


def test_junit_fails_the_policy(file, capsys) -> None:
    linted(file, "--format", "junit")
    suite = ElementTree.fromstring(capsys.readouterr().out)
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["shop/open"]


def test_a_bad_manifest_is_one_sentence(file, capsys) -> None:
    file.write_text("kind: NetworkPolicy\nmetadata: {name: x}\nspec: {ingress: 5}\n")
    assert linted(file) == 2
    assert "document 1 (NetworkPolicy x)" in capsys.readouterr().err


def test_manifests_are_judged_on_top_of_the_live_cluster(tmp_path, capsys) -> None:
    site = Site()
    site.kube.add_pod("shop", "db", node="node1", uid="d", labels={"app": "db"})
    site.kube.apply("networkpolicies", "shop", "theirs", spec={"podSelector": {}, "ingress": [{}]})
    path = tmp_path / "policy.yaml"
    path.write_text(
        "kind: NetworkPolicy\nmetadata: {name: mine, namespace: shop}\n"
        "spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}\n"
    )
    settings = Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)

    assert linted(path) == 10
    assert "POL-SELECTS-NOTHING" in capsys.readouterr().out
    assert run(PolicyLint, settings, "-f", str(path), "--live") == 0
    assert "1 policies, 0 findings" in capsys.readouterr().out
