"""The judge of NetworkPolicies, construct by construct, from Kubernetes' documentation of NetworkPolicy v1."""

from __future__ import annotations

import pytest

from kuryrctl.core.cluster import ClusterState, ContainerPort, Interface, KuryrNode, Namespace, Node, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.policy.ends import Ends
from kuryrctl.core.policy.flows import End, EndKind, Flow, Reason, Verdict
from kuryrctl.core.policy.kubernetes import KubernetesJudge
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.selectors import Operator, Requirement, Selector
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort

INGRESS, EGRESS = Direction
ALL = Selector()
WEB, DB = (Selector((Requirement("app", Operator.IN, (app,)),)) for app in ("web", "db"))
TEAM_A = Selector((Requirement("team", Operator.IN, ("a",)),))


def _pod(full_name: str, number: int, app: str, *, node: str = "n1", **fields: object) -> Pod:
    namespace, name = full_name.split("/")
    given: dict[str, object] = {"ips": (f"10.65.0.{number}", f"fd00:10:65::{number}"), "phase": "Running"}
    return Pod(namespace, name, full_name, node=node, labels={"app": app}, **(given | fields))  # type: ignore[arg-type]


PODS = (
    _pod("shop/web", 11, "web", ports=(ContainerPort("http", 8080), ContainerPort("http", 9090, "UDP"))),
    _pod("shop/web2", 12, "web", node="n2", ports=(ContainerPort("http", 80),)),
    _pod("shop/db", 13, "db", node="n2"),
    _pod("mail/web", 14, "web"),
    _pod("mail/host", 15, "web", host_network=True, ips=("172.16.0.1",)),
    _pod("mail/done", 16, "web", phase="Succeeded"),
    _pod("mail/going", 17, "web", deleting=True),
)
ADDRESSES = {"n1": ("172.16.0.1", "fd00:16::1"), "n2": ("172.16.0.2", "fd00:16::2")}
NODE_PORT = Interface("kuryr0", "port", "", ("10.65.0.2/22", "fd00:10:65::2/64"))


def _world(*policies: NetworkPolicy) -> ClusterState:
    slices = EndpointSlice(
        "shop", "web-1", "slice", "web", endpoints=tuple(Endpoint((f"10.65.0.{each}",)) for each in (11, 12)),
        ports=(EndpointPort(port=8080),),
    )  # fmt: skip
    late = EndpointSlice("shop", "db-1", "late", "db", endpoints=(Endpoint(("10.65.0.13",), ready=False),))
    return ClusterState(
        pods={pod.uid: pod for pod in PODS},
        nodes={name: Node(name, f"uid-{name}", addresses) for name, addresses in ADDRESSES.items()},
        kuryr_nodes={"n1": KuryrNode("n1", NODE_PORT)},
        namespaces={"shop": Namespace("shop", "shop", {"team": "a"}), "mail": Namespace("mail", "mail")},
        policies={policy.full_name: policy for policy in policies},
        services={
            "shop/web": Service("shop", "web", "svc", cluster_ips=("10.96.0.10",), ports=(ServicePort(80),)),
            "shop/db": Service("shop", "db", "svc-db", cluster_ips=("10.96.0.11",), ports=(ServicePort(80),)),
        },
        endpoint_slices={"shop/web-1": slices, "shop/db-1": late},
    )


def _end(world: ClusterState, text: str) -> End:
    ends = Ends(world)
    if text.startswith("service "):
        return ends.service(world.services[text.removeprefix("service ")])
    return ends.pod(world.pods[text]) if text in world.pods else ends.at(text)


def _verdict(
    policies: tuple[NetworkPolicy, ...],
    source: str,
    target: str,
    port: int = 80,
    protocol: str = "TCP",
    *,
    family: int = 4,
) -> Verdict:
    world = _world(*policies)
    return KubernetesJudge(world, Config()).verdict(
        Flow(_end(world, source), _end(world, target), family, protocol, port)
    )


def _policy(
    *rules: PolicyRule, name: str = "p", selects: Selector = DB, way: Direction = INGRESS, namespace: str = "shop"
) -> NetworkPolicy:
    given = {"ingress": rules} if way is INGRESS else {"egress": rules}
    return NetworkPolicy(namespace, name, name, selects, frozenset({way}), **given)


def _from(*peers: Peer, ports: tuple[PolicyPort, ...] = ()) -> PolicyRule:
    return PolicyRule(peers, ports)


BLOCK = Peer(ip_block=IPBlock("10.65.0.0/24", ("10.65.0.14/32", "10.65.0.8/30")))


@pytest.mark.parametrize(
    ("rule", "source", "allowed"),
    [
        pytest.param(None, "mail/web", False, id="selected, and no rule: default deny"),
        pytest.param(_from(), "mail/web", True, id="empty from: everywhere"),
        pytest.param(_from(), "203.0.113.5", True, id="empty from: addresses, too"),
        pytest.param(_from(Peer(WEB)), "shop/web", True, id="podSelector alone: the policy's namespace"),
        pytest.param(_from(Peer(WEB)), "mail/web", False, id="podSelector alone: no other namespace"),
        pytest.param(_from(Peer(DB)), "shop/web", False, id="podSelector that does not match"),
        pytest.param(_from(Peer(None, TEAM_A)), "shop/web", True, id="namespaceSelector alone: all its pods"),
        pytest.param(_from(Peer(None, TEAM_A)), "mail/web", False, id="namespaceSelector that does not match"),
        pytest.param(_from(Peer(None, ALL)), "mail/web", True, id="empty namespaceSelector: all namespaces"),
        pytest.param(_from(Peer(None, ALL)), "203.0.113.5", False, id="a selector is for pods only"),
        pytest.param(_from(Peer(WEB, ALL)), "mail/web", True, id="both selectors: and"),
        pytest.param(_from(Peer(DB, ALL)), "mail/web", False, id="both selectors: not or"),
        pytest.param(_from(Peer(DB), Peer(None, ALL)), "mail/web", True, id="two peers: or"),
        pytest.param(_from(Peer(ALL)), "shop/web2", True, id="empty podSelector: all pods of the namespace"),
        pytest.param(_from(BLOCK), "shop/web2", True, id="ipBlock matches pods"),
        pytest.param(_from(BLOCK), "mail/web", False, id="except"),
        pytest.param(_from(BLOCK), "shop/web", False, id="another except"),
        pytest.param(_from(BLOCK), "10.65.0.77", True, id="ipBlock matches addresses"),
        pytest.param(_from(BLOCK), "203.0.113.5", False, id="outside the ipBlock"),
        pytest.param(_from(BLOCK), "10.65.0.64/26", True, id="a range wholly in it"),
        pytest.param(_from(BLOCK), "10.65.0.12/30", False, id="a range with a refused pod in it"),
        pytest.param(_from(BLOCK, Peer(None, ALL)), "10.65.0.16/28", True, id="a range of two peers"),
        pytest.param(_from(Peer(WEB, ALL)), "mail/host", False, id="a pod on the host's network is no peer"),
        pytest.param(_from(Peer(WEB, ALL)), "mail/done", False, id="a finished pod is no peer"),
        pytest.param(_from(Peer(WEB, ALL)), "mail/going", True, id="a terminating pod is one"),
        pytest.param(None, "172.16.0.2", True, id="its own node always"),
        pytest.param(None, "172.16.0.1", False, id="no other node"),
        pytest.param(None, "10.65.0.2", False, id="no other node's port"),
        pytest.param(None, "mail/host", False, id="nor who is on another node's network"),
        pytest.param(None, "shop/db", True, id="itself always"),
    ],
)
def test_ingress_peers(rule: PolicyRule | None, source: str, allowed: bool) -> None:
    """Who may come in to shop/db on n2, which one policy isolates."""
    policy = _policy(*([rule] if rule else []))
    assert _verdict((policy,), source, "shop/db").side(INGRESS)[0].allowed is allowed


@pytest.mark.parametrize(
    ("port", "open_", "shut"),
    [
        (PolicyPort("TCP", 80), ["80/TCP"], ["80/UDP", "81/TCP", "80/SCTP"]),
        (PolicyPort("UDP"), ["1/UDP", "65535/UDP"], ["1/TCP", "1/SCTP"]),
        (PolicyPort("TCP", 80, 90), ["80/TCP", "90/TCP"], ["79/TCP", "91/TCP", "85/UDP"]),
        (PolicyPort("SCTP", 7), ["7/SCTP"], ["7/TCP"]),
        (PolicyPort("TCP", "http"), ["8080/TCP"], ["80/TCP", "9090/UDP", "9090/TCP"]),
        (PolicyPort("UDP", "http"), ["9090/UDP"], ["8080/UDP", "8080/TCP"]),
        (PolicyPort("TCP", "none"), [], ["80/TCP", "8080/TCP"]),
    ],
)
@pytest.mark.parametrize("way", Direction)
def test_ports(way: Direction, port: PolicyPort, open_: list[str], shut: list[str]) -> None:
    """A number, a range, a whole protocol, a name: in both directions the target's own port."""
    policy = _policy(_from(ports=(port,)), selects=WEB, way=way, namespace="shop" if way is INGRESS else "mail")
    for text, allowed in [*((each, True) for each in open_), *((each, False) for each in shut)]:
        number, protocol = text.split("/")
        verdict = _verdict((policy,), "mail/web", "shop/web", int(number), protocol)
        assert verdict.allowed is allowed, text


def test_a_name_is_another_number_on_another_pod() -> None:
    """`http` is 8080 on shop/web and 80 on shop/web2; and no number of an address."""
    policy = _policy(_from(ports=(PolicyPort("TCP", "http"),)), selects=ALL, way=EGRESS, namespace="mail")
    seen = {
        (pod, port): _verdict((policy,), "mail/web", pod, port).allowed
        for pod in ("shop/web", "shop/web2")
        for port in (80, 8080)
    }
    assert {pair for pair, allowed in seen.items() if allowed} == {("shop/web", 8080), ("shop/web2", 80)}
    assert not _verdict((policy,), "mail/web", "203.0.113.5").allowed


def test_who_is_not_selected_is_open() -> None:
    """A policy of another namespace, of other labels or of the other direction isolates nobody."""
    others = (_policy(selects=WEB), _policy(name="q", namespace="mail", selects=ALL), _policy(name="r", way=EGRESS))
    (side,) = _verdict(others, "203.0.113.5", "shop/db").side(INGRESS)
    assert (side.reason, side.chain) == (Reason.OPEN, ())


def test_rules_of_a_direction_that_is_not_named_do_not_count() -> None:
    """policyTypes: Egress alone, although it has ingress rules: ingress stays open, egress is shut."""
    policy = NetworkPolicy("shop", "p", "p", DB, frozenset({EGRESS}), ingress=(_from(Peer(DB)),))
    assert _verdict((policy,), "mail/web", "shop/db").allowed
    assert not _verdict((policy,), "shop/db", "mail/web").allowed


def test_policies_add_up() -> None:
    """Two policies: the union; the chain names both, then whose rule it is."""
    policies = (_policy(name="a"), _policy(_from(Peer(DB)), _from(Peer(WEB)), name="b"))
    (side,) = _verdict(policies, "shop/web", "shop/db").side(INGRESS)
    assert side.reason is Reason.RULE
    assert [link.name for link in side.chain] == ["shop/a", "shop/b", "shop/b", "ingress[1]"]


def test_both_ends_must_agree() -> None:
    """Let out, but not in; and the other way round."""
    out = _policy(_from(Peer(DB)), name="out", selects=WEB, way=EGRESS)
    assert not _verdict((out, _policy(name="in")), "shop/web", "shop/db").allowed
    assert _verdict((out, _policy(_from(Peer(WEB)), name="in")), "shop/web", "shop/db").allowed
    assert not _verdict((_policy(name="out", selects=WEB, way=EGRESS), _policy(_from())), "shop/web", "shop/db").allowed


def test_refusal_names_who_isolates() -> None:
    """No rule allows: all policies that isolate, and nothing else."""
    (side,) = _verdict((_policy(name="a"), _policy(name="b")), "mail/web", "shop/db").side(INGRESS)
    assert (side.reason, [link.name for link in side.chain]) == (Reason.ISOLATED, ["shop/a", "shop/b"])


@pytest.mark.parametrize("family", [4, 6])
def test_a_block_is_of_one_family(family: int) -> None:
    """An IPv6 block says nothing of a pod's IPv4 address."""
    policy = _policy(_from(Peer(ip_block=IPBlock("fd00:10:65::/64"))))
    assert _verdict((policy,), "shop/web", "shop/db", family=family).allowed is (family == 6)


@pytest.mark.parametrize("block", [IPBlock("10.65.0.0/33"), IPBlock("10.65.0.0/24", ("nothing",))])
def test_a_block_that_is_none_allows_nothing(block: IPBlock) -> None:
    assert not _verdict((_policy(_from(Peer(ip_block=block))),), "shop/web", "shop/db").allowed


def test_match_expressions() -> None:
    """An absent key meets NotIn and DoesNotExist, not Exists and In."""
    for operator, allowed in {"NotIn": True, "DoesNotExist": True, "Exists": False, "In": False}.items():
        selector = Selector((Requirement("tier", Operator(operator), ("x",) if "In" in operator else ()),))
        assert _verdict((_policy(_from(Peer(selector))),), "shop/web", "shop/db").allowed is allowed, operator


def test_pods_on_the_hosts_network_are_not_isolated() -> None:
    """No policy selects them."""
    verdict = _verdict((_policy(selects=ALL, namespace="mail"),), "shop/db", "mail/host")
    assert verdict.side(INGRESS)[0].reason is Reason.OUTSIDE


@pytest.mark.parametrize(
    ("peers", "allowed"),
    [((WEB,), True), ((DB,), False)],
)
def test_a_service_is_reached_where_all_its_endpoints_are(peers: tuple[Selector, ...], allowed: bool) -> None:
    """Egress to the VIP by the endpoints' ports, not the Service's; each policy alone may allow some of them."""
    rules = [_from(Peer(each, TEAM_A), ports=(PolicyPort("TCP", 8080),)) for each in peers]
    assert (
        _verdict((_policy(*rules, selects=ALL, way=EGRESS, namespace="mail"),), "mail/web", "service shop/web").allowed
        is allowed
    )


def test_a_service_of_which_one_endpoint_is_refused_is_shut() -> None:
    """Two policies, one for each endpoint, open it; one of them alone does not."""
    one, other = (
        _policy(
            _from(Peer(ip_block=IPBlock(f"10.65.0.{number}/32"))),
            name=f"p{number}",
            selects=ALL,
            way=EGRESS,
            namespace="mail",
        )
        for number in (11, 12)
    )
    assert not _verdict((one,), "mail/web", "service shop/web").allowed
    assert _verdict((one, other), "mail/web", "service shop/web").allowed


def test_a_service_lets_a_member_reach_itself() -> None:
    """shop/web is behind it: of the other endpoint alone a policy must say something."""
    policy = _policy(_from(Peer(ip_block=IPBlock("10.65.0.12/32"))), selects=ALL, way=EGRESS)
    assert _verdict((policy,), "shop/web", "service shop/web").allowed


def test_nobody_answers() -> None:
    """No endpoint is ready, or there is no such port."""
    for service, port in (("shop/db", 80), ("shop/web", 81)):
        world = _world()
        flow = Flow(_end(world, "mail/web"), Ends(world).service(world.services[service]), 4, "TCP", port)
        (side,) = KubernetesJudge(world, Config()).verdict(flow).sides
        assert side.reason is Reason.NO_ENDPOINT


def test_ends_know_who_has_an_address() -> None:
    """Pods, nodes by both their addresses, VIPs; not finished pods; a range is nobody."""
    ends = Ends(_world())
    found = {
        text: (ends.at(text).kind, ends.at(text).name)
        for text in ("10.65.0.11", "172.16.0.1", "10.65.0.2", "10.96.0.10")
    }
    assert found == {
        "10.65.0.11": (EndKind.POD, "shop/web"),
        "172.16.0.1": (EndKind.NODE, "n1"),
        "10.65.0.2": (EndKind.NODE, "n1"),
        "10.96.0.10": (EndKind.SERVICE, "shop/web"),
    }
    assert {ends.at(text).kind for text in ("10.65.0.16", "10.65.0.8/29")} == {EndKind.ADDRESS}
