"""Every finding of `service lint` that a manifest can have, beside a manifest that has none."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kuryrctl.core.config import Config, ServiceOptions
from kuryrctl.core.lint import LintFinding
from kuryrctl.core.service_lint import CHECKS, lint
from kuryrctl.core.service_notes import NoteCode
from kuryrctl.kube.controllers import allocated
from kuryrctl.kube.documents import cluster_of, documents, parse
from tests.repository import ROOT

FINE = "ports: [{port: 80, targetPort: http}], selector: {app: web}"
LB = f"type: LoadBalancer, {FINE}"


def findings(tmp_path, *specs: str, notes: str = "", config: Config | None = None) -> list[LintFinding]:
    file = tmp_path / "services.yaml"
    file.write_text(
        "\n---\n".join(
            f"apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: shop, annotations: {{{notes}}}}}\n"
            f"spec: {{{spec}}}"
            for number, spec in enumerate(specs)
        )
    )
    read = list(documents([file]))
    config = config or Config()
    return list(lint(allocated(cluster_of(read), read, config.service_cidrs), config))


def codes(tmp_path, *specs: str, **more) -> list[tuple[str, str]]:
    return [(each.check.code, each.field) for each in findings(tmp_path, *specs, **more)]


@pytest.mark.parametrize(
    "spec",
    [
        FINE,
        LB,
        f"{FINE}, clusterIP: None",
        "type: ExternalName, externalName: example.org",
        f"{FINE}, ipFamilyPolicy: PreferDualStack",
        f"{LB}, loadBalancerSourceRanges: [203.0.113.0/24]",
        f"{FINE}, sessionAffinity: ClientIP",
        "ports: [{port: 53, protocol: UDP, name: dns}, {port: 53, protocol: TCP, name: dns-tcp}]",
    ],
)
def test_a_service_without_fault_has_no_finding(tmp_path, spec: str) -> None:
    assert codes(tmp_path, spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (f"{FINE}, type: NodePort", ("SVC-NODE-PORT", "spec.type")),
        (f"{FINE}, clusterIP: 10.1.0.1", ("SVC-ADDRESS", "spec.clusterIPs")),
        (f"{FINE}, externalIPs: [198.51.100.7]", ("SVC-EXTERNAL-IPS", "spec.externalIPs")),
        (f"{FINE}, internalTrafficPolicy: Local", ("SVC-TRAFFIC-POLICY", "spec.internalTrafficPolicy")),
        (f"{LB}, externalTrafficPolicy: Local", ("SVC-TRAFFIC-POLICY", "spec.externalTrafficPolicy")),
        (f"{LB}, loadBalancerClass: example.org/other", ("SVC-CLASS", "spec.loadBalancerClass")),
        (f"{LB}, loadBalancerSourceRanges: [everybody]", ("SVC-RANGES", "spec.loadBalancerSourceRanges")),
        (f"{LB}, loadBalancerIP: 198.51.100.7", ("SVC-ALLOW", "spec.loadBalancerIP")),
        (f"{LB}, ipFamilyPolicy: RequireDualStack", ("SVC-NETWORK", "")),
        (
            f"{FINE}, sessionAffinity: ClientIP, sessionAffinityConfig: {{clientIP: {{timeoutSeconds: 60}}}}",
            ("SVC-AFFINITY", "spec.sessionAffinityConfig.clientIP.timeoutSeconds"),
        ),
        ("ports: [{port: 80, name: a}, {port: 80, name: b}]", ("SVC-PORT-CLASH", "spec.ports")),
        ("ports: [{port: 80, name: a}, {port: 81, name: a}]", ("SVC-PORT-CLASH", "spec.ports")),
        ("ports: [{port: 80}, {port: 81}]", ("SVC-PORT-CLASH", "spec.ports")),
    ],
)
def test_a_finding_of_the_spec(tmp_path, spec: str, expected: tuple[str, str]) -> None:
    assert codes(tmp_path, spec) == [expected]


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ("loadbalancer.openstack.org/x-forwarded-for: 'true'", "SVC-ANNOTATION"),
        ("loadbalancer.openstack.org/enable-helth-monitor: 'true'", "SVC-ANNOTATION"),
        ("openstack.org/kuryr-timeout-client-data: soon", "SVC-ANNOTATION"),
        ("openstack.org/kuryr-timeout-client-data: '50000'", "SVC-ANNOTATION"),
        ("loadbalancer.openstack.org/floating-network-id: public", "SVC-ALLOW"),
        ("openstack.org/kuryr-lb-provider: amphora", "SVC-ALLOW"),
        (
            "loadbalancer.openstack.org/enable-health-monitor: 'true', "
            "loadbalancer.openstack.org/health-monitor-delay: '2', "
            "loadbalancer.openstack.org/health-monitor-timeout: '9'",
            "SVC-MONITOR",
        ),
    ],
)
def test_a_finding_of_an_annotation(tmp_path, notes: str, expected: str) -> None:
    assert [code for code, _ in codes(tmp_path, LB, notes=notes)] == [expected]


def test_what_one_provider_cannot_do_another_one_can(tmp_path) -> None:
    notes = "openstack.org/kuryr-timeout-client-data: '50000'"
    amphora = replace(Config(), services=ServiceOptions(provider="amphora"))
    assert codes(tmp_path, LB, notes=notes) == [("SVC-ANNOTATION", "")]
    assert codes(tmp_path, LB, notes=notes, config=amphora) == []


SLICE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: %s
"""


@pytest.mark.parametrize(
    ("spec", "endpoints", "expected"),
    [
        ("clusterIPs: [10.96.0.5], ports: [{name: http, port: 80}]", "[{addresses: [10.65.0.8]}]", []),
        (
            "clusterIPs: [10.96.0.5], ports: [{name: http, port: 80}, {name: admin, port: 90, targetPort: adm}]",
            "[{addresses: [10.65.0.8]}]",
            [("SVC-NO-PORT", 'no endpoint has a container port named "adm" (TCP)')],
        ),
        (
            "clusterIPs: [10.96.0.5], ports: [{name: web, port: 80}]",
            "[{addresses: [10.65.0.8]}]",
            [("SVC-NO-PORT", "no endpoint answers for 80/TCP: no EndpointSlice has this port")],
        ),
        (
            "clusterIPs: [10.96.0.5, 'fd00:10:96::5'], ports: [{name: http, port: 80}]",
            "[{addresses: [10.65.0.8]}]",
            [("SVC-NO-FAMILY", "nobody answers at fd00:10:96::5: its endpoints have addresses of IPv4 only")],
        ),
        ("clusterIPs: [10.96.0.5, 'fd00:10:96::5'], ports: [{name: web, port: 80}]", "[]", []),
    ],
)
def test_a_port_or_an_address_that_nobody_answers_on(spec: str, endpoints: str, expected: list) -> None:
    text = f"kind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{{spec}}}\n{SLICE % endpoints}"
    found = lint(parse(text, "case"), Config())
    assert [(each.check.code, each.message) for each in found] == expected


def test_what_the_operator_allows_is_no_finding(tmp_path) -> None:
    named = f"{LB}, loadBalancerIP: 198.51.100.7"
    allowed = replace(Config(), services=ServiceOptions(allow={"shop": ("198.51.100.0/24",)}))
    assert codes(tmp_path, named, config=allowed) == []
    both = codes(tmp_path, named, named, config=allowed)
    assert both == [("SVC-ADDRESS-CLASH", "spec.loadBalancerIP")]


def test_a_finding_is_accepted_with_a_reason_only(tmp_path) -> None:
    ports = f"{FINE}, type: NodePort"
    (accepted,) = findings(tmp_path, ports, notes="kuryr.openstack.org/lint-ignore: 'SVC-NODE-PORT: we know'")
    assert accepted.accepted == "we know"
    for note in ("SVC-NODE-PORT", "SVC-NODE-PROT: we know"):
        told = [code for code, _ in codes(tmp_path, ports, notes=f"kuryr.openstack.org/lint-ignore: '{note}'")]
        assert told == ["SVC-IGNORE", "SVC-NODE-PORT"]


def test_every_note_is_a_check_and_every_check_is_described() -> None:
    assert {code.value for code in NoteCode} <= {check.code for check in CHECKS}
    page = (ROOT / "docs" / "service-lint.md").read_text()
    described = {line.removeprefix("## ") for line in page.splitlines() if line.startswith("## SVC-")}
    assert described == {check.code for check in CHECKS}
    for check in CHECKS:
        section = page.partition(f"## {check.code}\n")[2].strip()
        assert section.startswith(f"{check.level.capitalize()}. "), check.code
