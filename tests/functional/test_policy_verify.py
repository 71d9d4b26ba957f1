"""Policies on the lab as an operator sees them: explained, verified with packets, broken by hand, repaired."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.lab import Lab, wait_for

TIERS = ("web", "api", "db", "cache")
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, tier: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: serve
        image: {image}
        imagePullPolicy: Never
        args: [netexec, --http-port=8080, --udp-port=8081]
        ports: [{{name: http, containerPort: 8080}}, {{name: echo, containerPort: 8081, protocol: UDP}}]
        readinessProbe: {{httpGet: {{path: /hostname, port: 8080}}, periodSeconds: 1}}
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"""


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[tuple[str, str, str]]:
    """Three namespaces with 13 pods and 9 policies."""
    with lab.namespace() as shop, lab.namespace() as ops, lab.namespace() as guests:
        lab.kubectl("label", "namespace", ops, f"team={ops}")
        policies = {
            (shop, "deny"): "{podSelector: {}, policyTypes: [Ingress]}",
            (shop, "web"): "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: http}]}]}",
            (shop, "api"): "{podSelector: {matchLabels: {app: api}},"
            " ingress: [{from: [{podSelector: {matchLabels: {app: web}}}],"
            " ports: [{port: 8080}, {port: 8081, protocol: UDP}]}]}",
            (shop, "db"): "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress],"
            " ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 8080, endPort: 8090}]}]}",
            (shop, "cache"): "{podSelector: {matchLabels: {app: cache}},"
            f" ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{team: {ops}}}}}}}]}}]}}",
            (ops, "in"): "{podSelector: {matchLabels: {app: web}},"
            " ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: api}}}]}]}",
            (ops, "out"): "{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress],"
            " egress: [{to: [{namespaceSelector: {}}], ports: [{port: echo, protocol: UDP}]}]}",
            (guests, "out"): "{podSelector: {}, policyTypes: [Egress],"
            " egress: [{to: [{ipBlock: {cidr: 10.65.0.0/16, except: [10.65.0.0/25]}}], ports: [{port: 8080}]}]}",
            (guests, "in"): "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}",
        }
        for namespace, names in ((shop, TIERS), (ops, ("web", "api")), (guests, ("web", "db"))):
            for name in names:
                replicas = 2 if namespace != guests or name == "web" else 1
                text = DEPLOYMENT.format(name=name, namespace=namespace, replicas=replicas, image=lab.image)
                lab.kubectl("apply", "-f", "-", stdin=text)
        for (namespace, name), spec in policies.items():
            lab.kubectl("apply", "-f", "-", stdin=POLICY.format(name=name, namespace=namespace, spec=spec))
        lab.wait_ready(shop, 8, 150)
        lab.wait_ready(ops, 4, 90)
        lab.wait_ready(guests, 3, 90)
        wait_for(lambda: lab.kuryrctl("policy", "verify", check=False).returncode == 0, 60)
        yield shop, ops, guests


def pod(lab: Lab, namespace: str, app: str) -> str:
    return str(lab.pods(namespace, f"app={app}")[0]["metadata"]["name"])


def explained(lab: Lab, *words: str, code: int = 0) -> list[dict]:
    done = lab.kuryrctl("policy", "explain", *words, "-f", "json", check=False)
    assert done.returncode == code, done
    results: list[dict] = json.loads(done.stdout)["results"]
    return results


def test_explain_names_the_policy_the_group_and_the_rule_that_allow(lab: Lab, site: tuple[str, str, str]) -> None:
    shop = site[0]
    words = ("--from", f"{shop}/web", "--to", f"{shop}/api", "--port", "8080/TCP")
    results = explained(lab, *words)
    assert len(results) == 2 * 2 * 2, "two pods to two pods, by both IP versions"
    for each in results:
        assert (each["allowed"], each["allowed_by_cloud"]) == (True, True)
        assert f"{shop}/api" in {link["name"] for link in each["policies"][1]["chain"] if link["kind"] == "policy"}
        group, rule = each["security_groups"][1]["chain"][-2:]
        admin = lab.cloud("admin").network
        found = admin.get(f"/security-group-rules/{rule['id']}").json()["security_group_rule"]
        assert found["security_group_id"] == group["id"]
        assert (found["direction"], found["port_range_min"]) == ("ingress", 8080)

    denied = explained(lab, "--from", f"{shop}/cache", "--to", f"{shop}/api", "--port", "8080/TCP")
    assert {(each["allowed"], each["allowed_by_cloud"]) for each in denied} == {(False, False)}
    isolating = {link["name"] for link in denied[0]["policies"][1]["chain"]}
    assert isolating == {f"{shop}/api", f"{shop}/deny"}


def test_an_edited_policy_denies_and_explain_names_what_isolates(lab: Lab, site: tuple[str, str, str]) -> None:
    shop = site[0]
    words = ("--from", f"{shop}/web", "--to", f"{shop}/api", "--port", "8080/TCP")
    rules = lab.get("networkpolicy", "api", "-n", shop)["spec"]["ingress"]

    def answers() -> set[tuple[bool, bool]]:
        told = lab.kuryrctl("policy", "explain", *words, "-f", "json", check=False).json()["results"]
        return {(each["allowed"], each["allowed_by_cloud"]) for each in told}

    lab.kubectl("patch", "networkpolicy", "api", "-n", shop, "--type=merge", "-p", '{"spec": {"ingress": []}}')
    try:
        wait_for(lambda: answers() == {(False, False)}, 30, answers)
        inward = explained(lab, *words)[0]["policies"][1]
        assert inward["reason"] == "no rule allows it"
        assert {link["name"] for link in inward["chain"]} == {f"{shop}/api", f"{shop}/deny"}
    finally:
        restored = json.dumps({"spec": {"ingress": rules}})
        lab.kubectl("patch", "networkpolicy", "api", "-n", shop, "--type=merge", "-p", restored)
    wait_for(lambda: answers() == {(True, True)}, 30, answers)


def test_packets_policies_and_groups_agree_until_a_rule_is_deleted_by_hand(
    lab: Lab, site: tuple[str, str, str]
) -> None:
    shop = site[0]
    agreed = lab.kuryrctl("policy", "verify", "--probe", "--samples", "150", timeout_s=300, check=False)
    assert agreed.returncode == 0, agreed
    assert "all agree" in agreed.stdout
    allowed = explained(lab, "--from", f"{shop}/web", "--to", f"{shop}/api", "--port", "8080/TCP")[0]
    rule = allowed["security_groups"][1]["chain"][-1]["id"]
    with lab.engine_stopped():
        lab.run("openstack", "security", "group", "rule", "delete", rule)
        broken = lab.kuryrctl("policy", "verify", "--probe", "--samples", "150", timeout_s=300, check=False)
        assert broken.returncode == 20, broken
        assert f"{shop}/web" in broken.stdout and f"{shop}/api" in broken.stdout
        drift = lab.kuryrctl("policy", "sync", "--dry-run", check=False)
        assert drift.returncode == 21, drift
        lab.kuryrctl("policy", "sync")
        repaired = lab.kuryrctl("policy", "verify", "--probe", "--samples", "150", timeout_s=300, check=False)
        assert repaired.returncode == 0, repaired


def test_both_shells_list_the_same_policies(lab: Lab, site: tuple[str, str, str]) -> None:
    ours = lab.kuryrctl("policy", "list", "-f", "json").json()
    theirs = lab.run("openstack", "kuryr", "policy", "list", "-f", "json").json()
    assert ours == theirs
    assert {row["Namespace"] for row in ours} >= set(site)
    assert {row["State"] for row in ours if row["Namespace"] in site} == {"in sync"}


def test_a_saved_world_answers_as_the_live_one_did(lab: Lab, site: tuple[str, str, str], tmp_path: Path) -> None:
    file = str(tmp_path / "world.json")
    lab.kuryrctl("world", "save", file)
    words = ("--from", f"{site[0]}/web", "--to", f"{site[0]}/api", "--port", "8080/TCP", "-f", "json")
    live = lab.kuryrctl("policy", "explain", *words).json()
    bare = {**lab.env, "OS_CLOUD": "", "KUBECONFIG": "/nonexistent"}
    saved = lab.run("env", *(f"{name}={bare[name]}" for name in ("OS_CLOUD", "KUBECONFIG")),
                    "kuryrctl", "policy", "explain", *words, "--world", file).json()  # fmt: skip
    assert saved == live
    assert lab.kuryrctl("policy", "verify", "--world", file).returncode == 0
