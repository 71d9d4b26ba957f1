"""An application credential with our access rules, on the lab's Keystone, Neutron, Octavia: enough, and no more."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator

import msgspec
import pytest
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.v3 import ApplicationCredential
from keystoneauth1.session import Session
from openstack.config import get_cloud_region

from kuryrctl.cloud import OpenStack
from kuryrctl.cloud.credential import access_rules
from kuryrctl.cloud.meanings import OCTAVIA
from kuryrctl.cloud.session import OpenStackTransport
from kuryrctl.cloud.session import Session as Transports
from kuryrctl.core.kinds import Kind
from tests.contract.cloud.services import Services
from tests.contract.cloud.world import World, codes

pytestmark = [pytest.mark.lab, pytest.mark.filterwarnings("ignore:Support for InfluxDB")]


@pytest.fixture
def restricted() -> Iterator[Transports]:
    """A session by a credential that was made of the rules; Keystone forgets it and its rules afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        region = get_cloud_region(cloud="kuryr")
    session = region.get_session()
    keystone = Adapter(session, service_type="identity", interface="public", region_name=region.get_region_name())
    user = f"/users/{session.get_user_id()}"
    body = {"name": "contract", "access_rules": msgspec.to_builtins(access_rules())}
    answer = keystone.post(f"{user}/application_credentials", json={"application_credential": body})
    made = answer.json()["application_credential"]
    auth = ApplicationCredential(
        region.get_auth_args()["auth_url"],
        application_credential_id=made["id"],
        application_credential_secret=made["secret"],
    )
    project, name = session.get_project_id(), region.get_region_name()
    neutron = Adapter(Session(auth), service_type="network", region_name=name)
    neutron.endpoint_override = f"{neutron.get_endpoint().rstrip('/')}/v2.0"
    octavia = Adapter(Session(auth), service_type="load-balancer", region_name=name)
    octavia.endpoint_override = f"{octavia.get_endpoint().rstrip('/')}/v2/lbaas"
    yield Transports(OpenStackTransport(neutron, project, ""), OpenStackTransport(octavia, project, "", OCTAVIA))
    keystone.delete(f"{user}/application_credentials/{made['id']}")
    for rule in keystone.get(f"{user}/access_rules").json()["access_rules"]:
        keystone.delete(f"{user}/access_rules/{rule['id']}")


@pytest.mark.parametrize("cloud", ["real"], indirect=True)
def test_the_rules_are_enough_for_the_engine_and_for_nothing_else(world: World, restricted: Transports) -> None:
    cloud = OpenStack(restricted.neutron, restricted.octavia)

    made = cloud.apply([world.create(world.port("uid-1"))], world.ids)
    assert codes(made) == [""]
    observed = cloud.observe(world.cluster_id)
    assert observed.errors == {}
    assert cloud.trunks() == world.neutron.trunks()
    id_ = next(id_ for id_, port in observed.ports.items() if port.device_id == "uid-1")
    assert codes(cloud.apply([world.delete(Kind.PORT, id_)], {})) == [""]
    for method, path in (("GET", "/qos/policies"), ("GET", "/agents"), ("POST", "/trunks"), ("GET", "/trunks/x")):
        answer = restricted.neutron.request(method, path, body=json.dumps({}).encode() if method == "POST" else None)
        assert answer.status == 401, (method, path, answer)


@pytest.mark.parametrize("cloud", ["real"], indirect=True)
def test_the_rules_are_enough_for_services_and_for_nothing_else(services: Services, restricted: Transports) -> None:
    assert restricted.octavia is not None
    services.cloud = OpenStack(restricted.neutron, restricted.octavia)
    spec = services.balancer(services.listener(80, "10.91.0.11"))

    tree = services.done(services.create(spec))
    services.done(services.update(services.listener(80, "10.91.0.12").pool.members, tree.pools[0].id))
    (floating_ip,) = services.apply(services.create(services.floating_ip()))
    assert floating_ip.error is None
    assert codes(services.apply(services.delete(spec, tree.id))) == [""]
    for path in ("/flavors", "/availabilityzones", f"/loadbalancers/{tree.id}/stats", "/l7policies"):
        answer = restricted.octavia.request("GET", path)
        assert answer.status == 401, (path, answer)
