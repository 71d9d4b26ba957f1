"""Golden cases: a Service and its slices as manifests; the tree, the floating IPs, the status and the notes made of it.

A file of tests/cases/services holds the outcome as its first document (kind Outcome; `options` and `floating_ips` are
given: the section `services` of the configuration, and addresses that the user has) and manifests as the others.
`KURYRCTL_GOLDEN=write` writes the outcomes anew, to be reviewed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kuryrctl.core import names
from kuryrctl.core.balancer_index import Balancers
from kuryrctl.core.config import parse_config
from kuryrctl.core.service_desired import Wanted, service_specs
from kuryrctl.core.service_index import ServiceIndex
from kuryrctl.core.specs import FloatingIPSpec, ListenerSpec, LoadBalancerSpec, PoolSpec
from kuryrctl.kube.documents import parse
from tests.repository import ROOT
from tests.unit.core.balancing import IDENTITY, OWN, floating_ip

CASES = sorted((ROOT / "tests/cases/services").glob("*.yaml"))
GIVEN = ("options", "floating_ips")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_service_gives_this_tree(path: Path) -> None:
    head, _, manifests = path.read_text().partition("\n---\n")
    expected = yaml.safe_load(head)
    assert expected["kind"] == "Outcome"
    found = outcome(expected, manifests, path.name)

    if os.environ.get("KURYRCTL_GOLDEN") == "write":
        title = "".join(line for line in head.splitlines(keepends=True) if line.startswith("#"))
        given = {key: expected[key] for key in GIVEN if key in expected}
        body = yaml.safe_dump({"kind": "Outcome"} | given | found, sort_keys=False, width=200)
        path.write_text(f"{title}{body}---\n{manifests}")
        return
    assert found == {key: value for key, value in expected.items() if key not in ("kind", *GIVEN)}


def test_there_are_cases() -> None:
    assert len(CASES) >= 50


def outcome(case: dict[str, Any], manifests: str, source: str) -> dict[str, Any]:
    """What is wanted for the only Service, as readable words; nothing is said of what there is none of."""
    cluster = parse(manifests, source)
    (service,) = cluster.services.values()
    config = parse_config({"services": case.get("options", {})})
    slices = ServiceIndex(cluster.services, cluster.endpoint_slices).slices_of(service)
    index = Balancers(IDENTITY, floating_ips=map(floating_ip, case.get("floating_ips", ())))
    wanted = service_specs(service, slices, config, OWN, index)
    return {key: value for key, value in _told(wanted, service.uid).items() if value}


def _told(wanted: Wanted, uid: str) -> dict[str, Any]:
    assert all(f"/service/{uid}" in key or key == f"service/{uid}" for key in wanted.specs)
    return {
        "skipped": wanted.skipped,
        "load balancers": {_name(spec): _listeners(spec) for spec in wanted.balancers},
        "floating IPs": list(map(_floating, wanted.floating_ips)),
        "status": "ours" if wanted.status else "",
        "notes": [note.told for note in wanted.notes],
    }


def _name(spec: LoadBalancerSpec) -> str:
    where = spec.vip_subnet or spec.vip_subnet_id or f"network {spec.vip_network_id}"
    return f"{spec.key.rpartition('/')[2]}: {spec.provider} {spec.vip_address or 'any address'} on {where}"


def _listeners(spec: LoadBalancerSpec) -> dict[str, list[str]]:
    return {_listener(each): [_member(one) for one in each.pool.members.members] for each in spec.listeners}


def _listener(spec: ListenerSpec) -> str:
    assert spec.name == spec.pool.name == f"{spec.protocol.lower()}-{spec.port}"
    assert spec.pool.protocol == spec.protocol
    parts = [f"{spec.protocol} {spec.port}", *_pool(spec.pool)]
    parts += [f"only {', '.join(spec.allowed_cidrs)}"] if spec.allowed_cidrs else []
    parts += [
        f"{name} {value} ms"
        for name, value in (("client", spec.timeout_client_data), ("member", spec.timeout_member_data))
        if value is not None
    ]
    return "; ".join(parts)


def _pool(spec: PoolSpec) -> list[str]:
    parts = [spec.algorithm]
    if spec.persistence:
        parts.append(" ".join(map(str, filter(None, spec.persistence))))
    if spec.monitor:
        each = spec.monitor
        parts.append(f"{each.method} monitor every {each.delay} s, {each.timeout} s, {each.max_retries} times")
    return parts


def _member(spec: Any) -> str:
    return f"{spec.address} {spec.port} on {spec.subnet or 'no subnet'}"


def _floating(spec: FloatingIPSpec) -> str:
    parts = [spec.address or "any address", f"of {spec.network}", f"on {spec.balancer.rpartition('/')[2]}"]
    parts += [f"subnet {spec.subnet}"] if spec.subnet else []
    parts += [] if spec.ours else ["the user's"]
    parts += ["kept"] if names.KEEP in spec.tags else []
    return ", ".join(parts)
