"""What the cluster's parts are told: certificates, kubeconfigs, settings."""

from __future__ import annotations

import ipaddress
import tomllib

import msgspec
import pytest
import yaml
from cryptography import x509

from kuryrctl.lab import layout as places
from kuryrctl.lab.kubernetes import components, control_plane, dns, node, pki, stages
from kuryrctl.lab.kubernetes.api import NodeList
from kuryrctl.lab.layout import NODES, Layout
from kuryrctl.lab.stages import checked


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    folder = tmp_path_factory.mktemp("lab")
    layout = Layout(state=folder / "state", cache=folder / "cache")
    pki.ensure(layout)
    return layout


def certificate(layout: Layout, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((layout.pki / f"{name}.crt").read_bytes())


def test_the_api_servers_certificate_is_good_for_every_address_it_is_reached_at(layout):
    names = certificate(layout, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    addresses = set(map(str, names.get_values_for_type(x509.IPAddress)))
    expected = {"127.0.0.1", places.MANAGEMENT_HOST, *places.KUBERNETES_SERVICE_IPS}
    assert addresses == {str(ipaddress.ip_address(address)) for address in expected}
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)


def test_every_certificate_is_signed_by_the_labs_authority(layout):
    authority = certificate(layout, "ca")

    for each in pki.CERTIFICATES:
        certificate(layout, each.file).verify_directly_issued_by(authority)


@pytest.mark.parametrize("name", [each.name for each in NODES])
def test_a_node_is_named_as_the_node_authorizer_wants_it(layout, name):
    assert certificate(layout, name).subject.rfc4514_string() == f"CN=system:node:{name},O=system:nodes"


def test_keys_are_for_root_alone_and_survive_a_second_call(layout):
    before = (layout.pki / "ca.key").read_bytes()

    pki.ensure(layout)

    assert (layout.pki / "ca.key").read_bytes() == before
    for secret in [*layout.pki.glob("*.key"), *layout.etc.glob("*.kubeconfig")]:
        assert secret.stat().st_mode & 0o077 == 0, secret


def test_a_kubeconfig_needs_no_other_file(layout):
    content = yaml.safe_load(layout.kubeconfig().read_text())

    assert content["clusters"][0]["cluster"]["server"] == "https://10.254.77.254:16443"
    assert set(content["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_service_addresses_are_dual_stack_and_nodes_may_change_themselves_only(layout):
    command = control_plane.api_server_command(layout)

    assert "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112" in command
    assert "--authorization-mode=Node,RBAC" in command
    assert "--enable-admission-plugins=NodeRestriction" in command


def test_two_nodes_share_no_folder_socket_or_group(layout):
    first, second = (tomllib.loads(node.containerd_settings(layout, each)) for each in NODES)
    kubelets = [node.kubelet_settings(layout, each) for each in NODES]

    for key in ("root", "state"):
        assert first[key] != second[key]
    assert first["grpc"]["address"] != second["grpc"]["address"]
    for key in ("cgroupRoot", "containerRuntimeEndpoint", "podLogsDir", "address"):
        assert kubelets[0][key] != kubelets[1][key]


def test_the_runtime_looks_for_our_plugin_where_node_install_puts_it(layout):
    settings = tomllib.loads(node.containerd_settings(layout, NODES[0]))

    cni = settings["plugins"]["io.containerd.cri.v1.runtime"]["cni"]
    assert cni["bin_dirs"][0] == str(layout.cni_bin_dir("node1"))
    assert cni["conf_dir"] == str(layout.cni_conf_dir("node1"))


def test_pods_ask_the_dns_at_its_service_and_the_dns_asks_the_api_server_at_its_real_address(layout):
    items = {item["kind"]: item for item in dns.manifest()["items"]}
    service, pod = items["Service"]["spec"], items["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]

    assert node.kubelet_settings(layout, NODES[0])["clusterDNS"] == [service["clusterIP"]]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    targets = {(port["protocol"], port["targetPort"]) for port in service["ports"]}
    assert targets == {(port["protocol"], port["name"]) for port in container["ports"]}
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["KUBERNETES_SERVICE_HOST"] == places.MANAGEMENT_HOST


def test_the_graph_can_run_and_every_stage_that_starts_a_daemon_is_listed(layout):
    names = {stage.name for stage in checked(stages())}

    assert names == {
        "api-server",
        "controllers",
        "dns",
        "dns-ready",
        *(f"{part}-{each.name}" for part in ("holder", "containerd", "kubelet") for each in NODES),
    }
    assert len(components()) == len(set(components())) == 10


def test_a_nodes_readiness_is_the_kubelets_word():
    answer = b"""{"items": [
        {"metadata": {"name": "node1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
        {"metadata": {"name": "node2"}, "status": {"conditions": [
            {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "no CNI configuration"}]}},
        {"metadata": {"name": "node3"}}]}"""

    nodes = msgspec.json.decode(answer, type=NodeList).items

    assert [(each.ready, each.why_not) for each in nodes[1:]] == [
        (False, "no CNI configuration"),
        (False, "no status yet"),
    ]
    assert nodes[0].ready
