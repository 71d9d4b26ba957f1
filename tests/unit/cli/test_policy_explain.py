"""`policy explain`, `matrix` and `diff` on the shipped example: answers, reasons, formats, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kuryrctl.cli.policy_diff import PolicyDiff
from kuryrctl.cli.policy_explain import PolicyExplain, PolicyMatrix
from kuryrctl.cli.settings import Settings
from kuryrctl.core.cloud import CloudState
from kuryrctl.core.config import Config
from kuryrctl.core.saved_world import SavedWorld
from tests.repository import ROOT
from tests.unit.cli.program import run
from tests.unit.cli.shop import SHOP


def explained(world: SavedWorld, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, Any]]]:
    code = run(PolicyExplain, Settings.of_world(world, "test"), "-f", "json", *words)
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "kuryrctl.policy-explain/1"
    return code, document["results"]


def chain(side: dict[str, Any]) -> list[tuple[str, str]]:
    return [(link["kind"], link["name"]) for link in side["chain"]]


def test_an_allowed_connection_names_policy_rule_group_and_port(world, capsys) -> None:
    code, (four, six) = explained(world, capsys, "--from", "shop/web", "--to", "shop/db", "--port", "5432/TCP")
    assert code == 0
    assert (four["family"], six["family"]) == (4, 6)
    assert (four["allowed"], four["allowed_by_cloud"]) == (True, True)
    outward, inward = four["policies"]
    assert outward["reason"] == "no policy isolates it"
    assert chain(inward)[-2:] == [("policy", "shop/db-from-web"), ("rule", "ingress[0]")]
    kinds = [link["kind"] for link in four["security_groups"][1]["chain"]]
    assert kinds[0] == "port"
    assert kinds[-2:] == ["security-group", "security-group-rule"]


def test_a_denied_connection_names_the_policies_that_isolate(world, capsys) -> None:
    code, (four, _) = explained(world, capsys, "--from", "monitoring/scraper", "--to", "shop/db", "--port", "5432")
    assert (code, four["allowed"]) == (0, False)
    assert four["policies"][1]["reason"] == "no rule allows it"
    assert chain(four["policies"][1]) == [("policy", "shop/db-from-web"), ("policy", "shop/default-deny")]


def test_a_cloud_that_does_something_else_is_a_failure(world, capsys) -> None:
    bare = {id_: msgspec.structs.replace(each, security_group_rules=()) for id_, each in
            world.cloud.security_groups.items()}  # fmt: skip
    broken = msgspec.structs.replace(world, cloud=CloudState(ports=world.cloud.ports, security_groups=bare))
    code, (four, _) = explained(broken, capsys, "--from", "shop/web", "--to", "shop/db", "--port", "5432/TCP")
    assert (code, four["agree"], four["allowed_by_cloud"]) == (20, False, False)


def test_without_a_port_those_that_matter_are_asked_about(world, capsys) -> None:
    _, results = explained(world, capsys, "--from", "monitoring/scraper", "--to", "shop/db")
    allowed = {(each["port"], each["protocol"]) for each in results if each["allowed"]}
    assert allowed == {(9187, "TCP")}
    assert {(5432, "TCP"), (9187, "TCP")} < {(each["port"], each["protocol"]) for each in results}


def test_addresses_and_vms_are_ends_too(world, capsys) -> None:
    _, outside = explained(world, capsys, "--from", "203.0.113.7", "--to", "shop/web", "--port", "8080")
    _, vm = explained(world, capsys, "--from", "vm", "--to", "shop/db", "--port", "5432")
    assert [each["allowed"] for each in outside] == [True]
    assert [each["allowed"] for each in vm] == [False, False]


def test_people_get_a_tree(world, capsys) -> None:
    settings = Settings.of_world(world, "test")
    assert run(PolicyExplain, settings, "--from", "shop/web", "--to", "shop/db", "--port", "5432") == 0
    told = capsys.readouterr().out
    assert "port 5432/TCP, IPv4 and IPv6: allowed" in told
    assert "policy shop/db-from-web" in told


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--from", "shop/nobody", "--to", "shop/db"), 1, '"shop/nobody"'),
        (("--from", "shop/web", "--to", "shop/db", "--port", "http"), 2, '"http" is no port'),
        (("--from", "shop/web", "--to", "shop/db", "--port", "0/TCP"), 2, '"0/TCP" is no port'),
    ],
)
def test_a_bad_question_is_one_sentence(world, capsys, words, code, told) -> None:
    assert run(PolicyExplain, Settings.of_world(world, "test"), *words) == code
    assert told in capsys.readouterr().err


def test_the_matrix_says_what_is_open(world, capsys) -> None:
    assert run(PolicyMatrix, Settings.of_world(world, "test"), "-f", "json") == 0
    matrix = json.loads(capsys.readouterr().out)["open"]
    assert matrix["monitoring/scraper"]["shop/db"] == "9187/TCP"
    assert matrix["shop/web"]["shop/db"] == "5432/TCP"
    assert matrix["shop/db"]["monitoring/scraper"] == "-"
    assert matrix["shop/web"]["monitoring/scraper"] == "all"


def test_the_matrix_of_one_port_is_yes_or_no(world, capsys) -> None:
    run(PolicyMatrix, Settings.of_world(world, "test"), "-f", "json", "-n", "shop", "--port", "5432")
    matrix = json.loads(capsys.readouterr().out)["open"]
    assert matrix == {
        "shop/db": {"shop/db": "yes", "shop/web": "no"},
        "shop/web": {"shop/db": "yes", "shop/web": "yes"},
    }


def test_the_page_stands_alone_and_says_it_in_words(world, capsys, tmp_path) -> None:
    page = tmp_path / "matrix.html"
    assert run(PolicyMatrix, Settings.of_world(world, "test"), "--html", str(page)) == 0
    text = page.read_text()
    assert "http://" not in text and "https://" not in text and "<script" not in text
    assert "shop/db" in text and "9187/TCP" in text


def test_a_diff_of_files_needs_no_cluster_and_no_cloud(capsys) -> None:
    settings = Settings(Config(), {})
    assert run(PolicyDiff, settings, "-f", str(SHOP)) == 21
    told = capsys.readouterr().out
    assert "- monitoring/scraper -> shop/db" in told
    assert run(PolicyDiff, settings, "-f", str(SHOP), "--against", str(SHOP)) == 0
    assert capsys.readouterr().out == "nothing changes\n"


def test_a_diff_with_a_saved_world_applies_the_files_to_it(world, capsys, tmp_path) -> None:
    from kuryrctl.core.saved_world import encode

    file = tmp_path / "world.json"
    file.write_bytes(encode(world))
    policy = tmp_path / "open.yaml"
    policy.write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: open, namespace: shop}\n"
        "spec: {podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 5432}]}]}\n"
    )
    settings = Settings.of_world(world, "test")
    assert run(PolicyDiff, settings, "-f", str(policy), "--world", str(file), "--format", "json") == 21
    document = json.loads(capsys.readouterr().out)
    assert document["policies"] == {"shop/open": "+"}
    assert {pair["source"]["name"] for pair in document["opened"]} == {"0.0.0.0/0", "::/0", "monitoring/scraper"}
    assert document["closed"] == []


@pytest.mark.parametrize("words", [("--live",), ("--against", str(SHOP))])
def test_a_diff_compares_with_one_thing(world, capsys, words) -> None:
    settings = Settings.of_world(world, "test")
    assert run(PolicyDiff, settings, "-f", str(SHOP), "--world", "file", *words) == 2
    assert "three things to compare with" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((ROOT / "tests/cases/policy").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_diff_works_on_each_golden_case(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(PolicyDiff, Settings(Config(), {}), "-f", str(path), "--format", "json")
    document = json.loads(capsys.readouterr().out)
    assert code == (21 if document["policies"] else 0)
    assert bool(document["policies"]) is ("kind: NetworkPolicy" in path.read_text())
