"""Who may write what of our objects, on a real API server: roles and admission policies together.

Users are impersonated: an API server judges them as it judges those who authenticate by themselves.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml
from msgspec.structs import replace

from kuryrctl.core.cluster import KuryrPort
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import connect
from tests.contract.kube.world import INTERFACE, NODE_A, NODE_B, RealWorld, eventually, kuryr_port, refusal

pytestmark = pytest.mark.lab

ENGINE_ACCOUNT = "system:serviceaccount:kuryr:kuryr-engine"
AGENT_ACCOUNT = "system:serviceaccount:kuryr:kuryr-agent"
NODE_CLAIM = "authentication.kubernetes.io/node-name"
ASSIGNMENTS, REPORTS = "kuryr-assignments", "kuryr-reports"


@pytest.fixture
def port(real: RealWorld) -> KuryrPort:
    """A port assigned on node A."""
    return real.kube.write_kuryr_port(kuryr_port(real, "web-0", real.add_pod("web-0")))


def denied(error: KuryrError, policy: str = "") -> bool:
    return error.code == "KUBE-FORBIDDEN" and (not policy or f"ValidatingAdmissionPolicy '{policy}'" in error.message)


@pytest.mark.parametrize(("user", "group"), [("kuryr:engine", "kuryr:engine"), (ENGINE_ACCOUNT, "")])
def test_the_engine_assigns(real: RealWorld, user: str, group: str) -> None:
    engine = real.as_user(user, group)
    port = engine.write_kuryr_port(kuryr_port(real, "web-0", real.add_pod("web-0")))
    port = engine.write_kuryr_port(replace(port, interfaces=(replace(INTERFACE, mtu=1300),)))
    engine.delete_kuryr_port(port.namespace, port.name, port.uid)
    node = engine.write_kuryr_node(NODE_B, real.add_node(NODE_B), None)
    engine.delete_kuryr_node(NODE_B, node.uid)

    state, errors = engine.observe()
    assert errors == {}
    assert state.kuryr_ports.get(f"{real.namespace}/web-0") is None


def test_the_engine_does_not_report_even_with_every_verb(real: RealWorld, port: KuryrPort) -> None:
    engine = real.as_user("kuryr:engine", "kuryr:engine")
    assert denied(refusal(lambda: engine.write_kuryr_port_status(replace(port, bound=True))))

    real.give_everything_here("kuryr:engine")

    assert denied(
        eventually(lambda: by_policy(lambda: engine.write_kuryr_port_status(replace(port, bound=True)))), REPORTS
    )


def test_an_administrator_does_not_report(real: RealWorld, port: KuryrPort) -> None:
    assert denied(refusal(lambda: real.kube.write_kuryr_port_status(replace(port, bound=True))), REPORTS)


def test_an_agent_reports_on_its_own_node_only(real: RealWorld, port: KuryrPort) -> None:
    own = real.kube.write_kuryr_node(NODE_A, real.add_node(NODE_A), None)
    agent, other = (
        real.as_user(f"kuryr:agent:{NODE_A}", "kuryr:agents"),
        real.as_user(f"kuryr:agent:{NODE_B}", "kuryr:agents"),
    )

    assert agent.write_kuryr_port_status(replace(port, bound=True)).bound
    assert agent.write_kuryr_node_status(replace(own, version="1")).version == "1"

    assert denied(refusal(lambda: other.write_kuryr_port_status(replace(port, bound=False))), REPORTS)
    assert denied(refusal(lambda: other.write_kuryr_node_status(replace(own, version="2"))), REPORTS)
    state, _ = real.kube.observe()
    assert state.kuryr_ports[f"{real.namespace}/web-0"].bound
    assert state.kuryr_nodes[NODE_A].version == "1"
    assert other.list_kind(Kind.KURYR_NODE, node=NODE_A).items == (state.kuryr_nodes[NODE_A],)


@pytest.mark.parametrize(
    ("user", "group", "extra"),
    [
        (AGENT_ACCOUNT, "", {NODE_CLAIM: NODE_B}),
        (AGENT_ACCOUNT, "", {}),
        (f"kuryr:agent:{NODE_B}", "kuryr:agents", {NODE_CLAIM: NODE_A}),
        (f"kuryr:agent:{NODE_A}x", "kuryr:agents", {}),
        ("somebody", "kuryr:agents", {}),
    ],
)
def test_no_other_claim_makes_an_agent(
    real: RealWorld, port: KuryrPort, user: str, group: str, extra: dict[str, str]
) -> None:
    agent = real.as_user(user, group, extra)

    assert denied(refusal(lambda: agent.write_kuryr_port_status(replace(port, bound=True))), REPORTS)


def test_an_agents_account_reports_by_the_node_in_its_token(real: RealWorld, port: KuryrPort) -> None:
    agent = real.as_user(AGENT_ACCOUNT, extra={NODE_CLAIM: NODE_A})

    assert agent.write_kuryr_port_status(replace(port, bound=True)).bound


def test_a_token_bound_to_a_pod_carries_its_node(real: RealWorld, port: KuryrPort, tmp_path: Path) -> None:
    """No impersonation: the token that an agent's pod would have, in a kubeconfig."""
    pod = f"agent-{secrets.token_hex(3)}"
    uid = real.add_pod(pod, node=NODE_A, namespace="kuryr", account="kuryr-agent")
    reference = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": reference}}
    path = "/api/v1/namespaces/kuryr/serviceaccounts/kuryr-agent/token"
    answer = real.transport.request("POST", path, body=msgspec.json.encode(body))
    token = msgspec.json.decode(answer.body)["status"]["token"]

    agent = connect(str(kubeconfig_with(token, tmp_path)))
    try:
        assert agent.write_kuryr_port_status(replace(port, bound=True)).bound
        elsewhere = real.kube.write_kuryr_port(kuryr_port(real, "web-1", real.add_pod("web-1"), NODE_B))
        assert denied(refusal(lambda: agent.write_kuryr_port_status(replace(elsewhere, bound=True))), REPORTS)
    finally:
        agent.close()
        real.delete_pod(pod, namespace="kuryr")


def test_an_agent_does_not_assign_even_with_every_verb_here(real: RealWorld, port: KuryrPort) -> None:
    agent = real.as_user(f"kuryr:agent:{NODE_A}", "kuryr:agents")
    moved = replace(port, interfaces=(replace(INTERFACE, mtu=1300),))
    assert denied(refusal(lambda: agent.write_kuryr_port(moved)))

    real.give_everything_here(f"kuryr:agent:{NODE_A}")

    assert denied(eventually(lambda: by_policy(lambda: agent.write_kuryr_port(moved))), ASSIGNMENTS)
    assert denied(refusal(lambda: agent.delete_kuryr_port(port.namespace, port.name, port.uid)), ASSIGNMENTS)


def test_a_tenant_has_no_verb_and_a_namespaces_master_is_stopped_by_policy(real: RealWorld, port: KuryrPort) -> None:
    tenant = real.as_user("tenant")
    assert denied(refusal(lambda: tenant.list_kind(Kind.KURYR_PORT)))
    another = kuryr_port(real, "web-1", real.add_pod("web-1"))
    assert denied(refusal(lambda: tenant.write_kuryr_port(another)))

    real.give_everything_here("tenant")

    assert denied(eventually(lambda: by_policy(lambda: tenant.write_kuryr_port(another))), ASSIGNMENTS)
    assert denied(refusal(lambda: tenant.delete_kuryr_port(port.namespace, port.name, port.uid)), ASSIGNMENTS)
    assert denied(refusal(lambda: tenant.write_kuryr_port_status(replace(port, bound=True))), REPORTS)


def by_policy(call: Callable[[], object]) -> KuryrError | None:
    """The refusal once a policy makes it: a new role takes a moment until it counts."""
    error = refusal(call)
    return error if "ValidatingAdmissionPolicy" in error.message else None


def kubeconfig_with(token: str, folder: Path) -> Path:
    """The cluster of $KUBECONFIG with a token for credential."""
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def exists(real: RealWorld, path: str) -> bool:
    return real.transport.request("GET", path).status != 404


@pytest.mark.parametrize("policy", ["Foreground", "Background", "Orphan"])
def test_nothing_of_the_users_hangs_however_a_pod_is_deleted(real: RealWorld, port: KuryrPort, policy: str) -> None:
    """The garbage collector passes the policies: to delete, to take finalizers and owner references away."""
    pod = f"/api/v1/namespaces/{real.namespace}/pods/web-0"
    owned = f"/apis/kuryr.openstack.org/v1/namespaces/{real.namespace}/kuryrports/web-0"
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy, "gracePeriodSeconds": 0}

    real.kube.api.call("DELETE", pod, "delete the pod", body=body)

    eventually(lambda: not exists(real, pod))
    if policy == "Orphan":
        assert exists(real, owned)
    else:
        eventually(lambda: not exists(real, owned))


def test_a_namespace_with_ports_in_it_can_be_deleted(real: RealWorld, port: KuryrPort) -> None:
    another = RealWorld(real.kube)
    path = f"/api/v1/namespaces/{another.namespace}"
    real.kube.write_kuryr_port(kuryr_port(another, "web-0", another.add_pod("web-0")))

    another.close()

    eventually(lambda: not exists(real, path))
