"""Services and their slices as they are once stored, and what we write of a Service: its addresses, nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kuryrctl.core.errors import Conflict, Invalid, NotFound
from kuryrctl.core.kinds import Kind
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from kuryrctl.kube import Kube, ObjectRef
from kuryrctl.kube.resources import RESOURCES
from tests.contract.kube.world import RealWorld, World, refusal, store, stored

OTHER_UID = "00000000-0000-0000-0000-000000000000"
HTTP = {"name": "http", "port": 80, "targetPort": 8080}


@pytest.fixture
def engine(world: World) -> Kube:
    """The engine, with its rights."""
    return world.as_user("kuryr:engine", "kuryr:engine") if isinstance(world, RealWorld) else world.kube


@pytest.fixture
def balanced(world: World) -> Service:
    """A Service of type LoadBalancer, of which no controller of the cluster's own takes notice."""
    spec = {"type": "LoadBalancer", "ports": [HTTP], "selector": {"app": "web"}, "loadBalancerClass": "contract/none"}
    return service(world, "balanced", spec)


def service(world: World, name: str, spec: dict[str, Any], **meta: Any) -> Service:
    store(world, Kind.SERVICE, name, spec=spec, **meta)
    return stored(world, Kind.SERVICE, Service, name)


def body(world: World, name: str) -> dict[str, Any]:
    """All of it."""
    found: dict[str, Any] = msgspec.json.decode(
        world.transport.request("GET", RESOURCES[Kind.SERVICE].path(name, world.namespace)).body
    )
    return found


def test_a_headless_service_has_no_address_and_a_port_is_its_own_target(world: World) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    store(world, Kind.SERVICE, "headless", spec={"clusterIP": "None", "ports": ports, "selector": {"app": "web"}})

    found = stored(world, Kind.SERVICE, Service, "headless")

    assert (found.type, found.cluster_ips) == ("ClusterIP", ())
    assert found.ports == (ServicePort(80, "TCP", "http", "web"), ServicePort(53, "UDP", "dns", 53))


def test_endpoints_are_ready_unless_their_slice_denies_it(world: World) -> None:
    pod = {"kind": "Pod", "name": "web-0", "namespace": world.namespace, "uid": "5f0e"}
    store(
        world,
        Kind.ENDPOINT_SLICE,
        "web-1",
        labels={"kubernetes.io/service-name": "web"},
        addressType="IPv4",
        endpoints=[
            {"addresses": ["10.65.0.9"], "targetRef": pod},
            {"addresses": ["10.65.0.10"], "conditions": {"ready": False, "serving": True, "terminating": True}},
            {"addresses": ["10.65.0.11"], "conditions": {"ready": False}},
        ],
        ports=[{"name": "http", "port": 8080}, {"name": "every", "protocol": "UDP"}],
    )

    found = stored(world, Kind.ENDPOINT_SLICE, EndpointSlice, "web-1")

    assert (found.service, found.address_type) == ("web", "IPv4")
    assert found.endpoints == (
        Endpoint(("10.65.0.9",), pod_uid="5f0e"),
        Endpoint(("10.65.0.10",), ready=False, serving=True, terminating=True),
        Endpoint(("10.65.0.11",), ready=False, serving=False),
    )
    assert found.ports == (EndpointPort("http", 8080), EndpointPort("every", None, "UDP"))


def test_what_nobody_said_of_a_service_is_the_apis_default(world: World) -> None:
    found = service(world, "plain", {"ports": [HTTP]})

    assert found == Service(
        world.namespace,
        "plain",
        found.uid,
        cluster_ips=found.cluster_ips,
        ports=(ServicePort(80, "TCP", "http", 8080),),
        resource_version=found.resource_version,
        selects=False,
    )
    assert (found.session_affinity, found.affinity_timeout_s) == ("None", 10800)
    assert (found.external_traffic_policy, found.internal_traffic_policy) == ("Cluster", "Cluster")


def test_everything_a_service_asks_of_its_load_balancer_is_read(world: World) -> None:
    found = service(
        world,
        "all",
        {
            "type": "LoadBalancer",
            "ports": [HTTP],
            "selector": {"app": "web"},
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            "loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"],
            "loadBalancerClass": "contract/none",
            "loadBalancerIP": "198.51.100.7",
            "externalIPs": ["198.51.100.8"],
            "externalTrafficPolicy": "Local",
            "internalTrafficPolicy": "Local",
            "publishNotReadyAddresses": True,
        },
    )

    assert (found.type, found.selects) == ("LoadBalancer", True)
    assert (found.session_affinity, found.affinity_timeout_s) == ("ClientIP", 60)
    assert found.source_ranges == ("10.0.0.0/8", "fd00::/8")
    assert (found.load_balancer_class, found.load_balancer_ip) == ("contract/none", "198.51.100.7")
    assert found.external_ips == ("198.51.100.8",)
    assert (found.external_traffic_policy, found.internal_traffic_policy) == ("Local", "Local")
    assert found.publish_not_ready


def test_of_the_annotations_those_of_load_balancers_and_our_own_are_read(world: World) -> None:
    kept = {
        "kuryr.openstack.org/lint-ignore": "delay: measured",
        "loadbalancer.openstack.org/flavor-id": "small",
        "openstack.org/kuryr-lb-provider": "amphora",
    }

    found = service(world, "annotated", {"ports": [HTTP]}, annotations={**kept, "example.org/password": "secret"})

    assert found.annotations == kept


def test_the_addresses_are_written_and_nothing_else(world: World, engine: Kube, balanced: Service) -> None:
    before = body(world, "balanced")

    written = engine.write_service_status(world.namespace, "balanced", balanced.uid, ("198.51.100.7", "2001:db8::7"))

    assert written.ingress == ("198.51.100.7", "2001:db8::7")
    after = body(world, "balanced")
    assert after["spec"] == before["spec"]
    assert [each["ip"] for each in after["status"]["loadBalancer"]["ingress"]] == ["198.51.100.7", "2001:db8::7"]
    assert engine.write_service_status(world.namespace, "balanced", balanced.uid, ()).ingress == ()


def test_conditions_that_others_wrote_stay(world: World, engine: Kube, balanced: Service) -> None:
    condition = {
        "type": "example.org/Seen",
        "status": "True",
        "reason": "Seen",
        "message": "",
        "lastTransitionTime": "2026-11-25T00:00:00Z",
    }
    path = RESOURCES[Kind.SERVICE].path("balanced", world.namespace, "status")
    patch = msgspec.json.encode({"status": {"conditions": [condition]}})
    told = world.transport.request("PATCH", path, body=patch, content_type="application/merge-patch+json")
    assert told.status == 200, told.body

    engine.write_service_status(world.namespace, "balanced", balanced.uid, ("198.51.100.7",))

    assert body(world, "balanced")["status"]["conditions"] == [condition]


def test_another_services_status_of_that_name_is_not_written(world: World, engine: Kube, balanced: Service) -> None:
    def write(name: str, uid: str) -> object:
        return engine.write_service_status(world.namespace, name, uid, ("198.51.100.7",))

    assert isinstance(refusal(lambda: write("balanced", OTHER_UID)), Conflict)
    assert isinstance(refusal(lambda: write("balanced", "")), Invalid)
    assert isinstance(refusal(lambda: write("gone", balanced.uid)), NotFound)
    assert stored(world, Kind.SERVICE, Service, "balanced").ingress == ()


@pytest.mark.parametrize("ingress", ["198.51.100.7.9", "balancer.example.org"])
def test_what_is_no_address_is_refused(world: World, engine: Kube, balanced: Service, ingress: str) -> None:
    error = refusal(lambda: engine.write_service_status(world.namespace, "balanced", balanced.uid, (ingress,)))

    assert isinstance(error, Invalid)
    assert error.code == "KUBE-INVALID"


def test_a_service_of_another_type_has_no_such_addresses(world: World, engine: Kube) -> None:
    inside = service(world, "inside", {"ports": [HTTP]})

    error = refusal(lambda: engine.write_service_status(world.namespace, "inside", inside.uid, ("198.51.100.7",)))

    assert isinstance(error, Invalid)


def test_an_event_is_about_the_service(world: World, engine: Kube, balanced: Service) -> None:
    engine.event(ObjectRef.of(balanced), "Warning", "KuryrLoadBalancerFailed", "quota used up")

    path = f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    found = msgspec.json.decode(world.transport.request("GET", path).body)["items"]
    (event,) = [each for each in found if each["reason"] == "KuryrLoadBalancerFailed"]
    assert (event["regarding"]["kind"], event["regarding"]["uid"]) == ("Service", balanced.uid)


@pytest.mark.lab
@pytest.mark.parametrize("verb", ["PATCH", "DELETE"])
def test_the_engine_may_change_nothing_else_of_a_service(real: RealWorld, verb: str) -> None:
    service(real, "plain", {"ports": [HTTP]})
    engine = real.as_user("kuryr:engine", "kuryr:engine")
    path = RESOURCES[Kind.SERVICE].path("plain", real.namespace)

    answer = engine.api.transport.request(
        verb, path, body=b'{"spec":{"externalIPs":["198.51.100.7"]}}', content_type="application/merge-patch+json"
    )

    assert answer.status == 403
