"""`service lint`: formats, exit codes, and which cluster is judged. (What is found: tests/unit/core.)"""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kuryrctl.cli.files import read_world
from kuryrctl.cli.service_lint import ServiceLint
from kuryrctl.cli.settings import Settings
from kuryrctl.core.config import Config, ServiceOptions
from tests.repository import ROOT
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import Site

EXAMPLE = Path(ROOT) / "examples" / "services.yaml"
WORLD = str(ROOT / "examples" / "services.world.json")
NODE_PORT = "kind: Service\nmetadata: {name: web, namespace: shop}\nspec: {type: NodePort, ports: [{port: 80}]}\n"
EXTERNAL = NODE_PORT.replace("type: NodePort", "externalIPs: [198.51.100.7]")


def linted(file: Path, *words: str) -> int:
    return run(ServiceLint, Settings(Config(), {}), "-f", str(file), *words)


@pytest.mark.parametrize(("manifest", "code"), [(NODE_PORT, 0), (EXTERNAL, 10)])
def test_notes_do_not_count_and_warnings_do(tmp_path, capsys, manifest: str, code: int) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(manifest)
    assert linted(file) == code
    assert "shop/web spec." in capsys.readouterr().out


def in_the_shipped_world(*words: str) -> int:
    return run(ServiceLint, Settings.of_world(read_world(WORLD), WORLD), *words)


def test_the_shipped_manifests_have_one_accepted_warning(capsys) -> None:
    assert linted(EXAMPLE, "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["services"]) == ("kuryrctl.service-lint/1", 6)
    (finding,) = document["findings"]
    assert (finding["code"], finding["service"]) == ("SVC-ANNOTATION", "shop/api")
    assert finding["accepted"].startswith("the header is for another cloud")


def test_in_their_world_the_source_ranges_of_one_cannot_be_enforced(capsys) -> None:
    assert in_the_shipped_world("--format", "json") == 20
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [(each["code"], each["service"], bool(each["accepted"])) for each in findings] == [
        ("SVC-RANGES", "shop/admin", False),
        ("SVC-ANNOTATION", "shop/api", True),
    ]
    assert findings[0]["anchor"] == "docs/service-lint.md#svc-ranges"


def test_sarif_suppresses_what_is_accepted_and_junit_fails_what_is_not(capsys) -> None:
    assert in_the_shipped_world("--format", "sarif") == 20
    results = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert [(each["ruleId"], each["level"], "suppressions" in each) for each in results] == [
        ("SVC-RANGES", "error", False), ("SVC-ANNOTATION", "warning", True),
    ]  # fmt: skip
    assert in_the_shipped_world("--format", "junit") == 20
    suite = ElementTree.fromstring(capsys.readouterr().out)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("8", "1", "1")


def test_another_provider_is_named_by_the_configuration(tmp_path, capsys) -> None:
    file = tmp_path / "service.yaml"
    timed = "{openstack.org/kuryr-timeout-client-data: '50000'}"
    file.write_text(f"kind: Service\nmetadata: {{name: web, annotations: {timed}}}\nspec: {{ports: [{{port: 80}}]}}\n")
    assert linted(file) == 10
    config = Config(services=ServiceOptions(provider="amphora"))
    assert run(ServiceLint, Settings(config, {}), "-f", str(file)) == 0


def test_the_live_cluster_is_judged_where_no_file_is_given(capsys) -> None:
    site = Site()
    spec = {"clusterIP": "10.1.0.1", "clusterIPs": ["10.1.0.1"], "ports": [{"port": 80}]}
    site.kube.apply("services", "shop", "lost", spec=spec)
    settings = Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    capsys.readouterr()
    assert run(ServiceLint, settings, "--namespace", "shop") == 20
    assert "shop/lost spec.clusterIPs: ClusterIP 10.1.0.1 is not served" in capsys.readouterr().out


def test_a_namespace_that_does_not_exist_is_refused(capsys) -> None:
    assert linted(EXAMPLE, "--namespace", "shpo") == 2
    assert 'there is no namespace "shpo"' in capsys.readouterr().err
