"""Floating IPs on VIPs, on the fake and on the lab's Neutron."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kuryrctl.core import names
from kuryrctl.core.balancers import FloatingIP
from kuryrctl.core.plan import FieldChange
from kuryrctl.core.specs import FloatingIPSpec
from tests.contract.cloud.services import NETWORK, SUBNET, Services, mutations
from tests.contract.cloud.world import codes


@pytest.fixture
def served(services: Services) -> Services:
    """With the load balancer of the case's Service."""
    tree = services.done(services.create(services.balancer(services.listener(80, "10.91.0.11"))))
    services.vip_port = tree.vip_port_id
    services.world.neutron.calls.clear()
    services.world.audit.clear()
    return services


def _made(services: Services, spec: FloatingIPSpec) -> FloatingIP:
    (outcome,) = services.apply(services.create(spec))
    assert isinstance(outcome.object, FloatingIP), outcome.error
    return outcome.object


def _raw(services: Services, **fields: Any) -> dict[str, Any]:
    """A floating IP of the user's."""
    body = {"floating_network_id": services.world.external} | fields
    answer = services.world.raw("POST", "/floatingips", {"floatingip": body})
    assert answer.status == 201, answer
    made: dict[str, Any] = answer.json["floatingip"]
    return made


def _now(services: Services, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = services.world.raw("GET", f"/floatingips/{id_}").json["floatingip"]
    return found


def _observed(services: Services) -> dict[str, FloatingIP]:
    return dict(services.cloud.observe(services.world.cluster_id).floating_ips)


def test_a_floating_ip_is_described_tagged_and_leads_to_the_vip(served: Services) -> None:
    spec = served.floating_ip()

    made = _made(served, spec)

    assert (made.port_id, made.fixed_ip_address) == (served.vip_port, "10.92.0.10")
    assert (made.description, set(made.tags)) == (spec.description, set(spec.tags))
    assert _observed(served)[made.id].tags == made.tags
    calls = [record.call for record in served.world.audit]
    assert calls == ["POST /floatingips", f"PUT /floatingips/{made.id}/tags"]


def test_one_whose_creation_was_not_answered_is_found_by_its_description(served: Services) -> None:
    served.world.transport.lose_next = "POST /floatingips"

    made = _made(served, served.floating_ip())
    again = _made(served, served.floating_ip())

    assert again.id == made.id
    assert [each.id for each in _observed(served).values() if each.description == made.description] == [made.id]


def test_it_has_the_address_that_was_asked_for(served: Services) -> None:
    free = _raw(served)
    served.world.raw("DELETE", f"/floatingips/{free['id']}")

    made = _made(served, served.floating_ip(address=free["floating_ip_address"]))

    assert made.floating_ip_address == free["floating_ip_address"]


def test_an_address_of_somebody_is_not_taken(served: Services) -> None:
    theirs = _raw(served)

    outcome = served.apply(served.create(served.floating_ip(address=theirs["floating_ip_address"])))

    assert codes(outcome) == ["NET-ADDRESS-TAKEN"]
    assert _now(served, theirs["id"])["port_id"] is None


def test_it_is_kept_and_leads_nowhere_and_then_back(served: Services) -> None:
    made = _made(served, served.floating_ip())

    (kept,) = served.apply(served.update(served.floating_ip(balancer=""), made.id))
    (back,) = served.apply(served.update(served.floating_ip(), made.id))

    assert isinstance(kept.object, FloatingIP) and kept.object.port_id is None
    assert isinstance(back.object, FloatingIP) and back.object.port_id == served.vip_port


def test_the_mark_that_it_outlives_its_service_comes_and_goes(served: Services) -> None:
    spec = served.floating_ip()
    made = _made(served, spec)
    kept = msgspec.structs.replace(spec, tags=(names.KEEP, *spec.tags))

    (with_mark,) = served.apply(served.update(kept, made.id))
    (without,) = served.apply(served.update(spec, made.id))

    assert isinstance(with_mark.object, FloatingIP) and set(with_mark.object.tags) == set(kept.tags)
    assert isinstance(without.object, FloatingIP) and set(without.object.tags) == set(spec.tags)
    assert without.object.port_id == served.vip_port


def test_it_outlives_its_load_balancer_and_leads_nowhere_then(served: Services) -> None:
    made = _made(served, served.floating_ip())
    spec = served.balancer()

    assert codes(served.apply(served.delete(spec, served.world.ids[spec.key]))) == [""]

    assert _now(served, made.id)["port_id"] is None


def test_ours_goes_and_going_again_is_success(served: Services) -> None:
    made = _made(served, served.floating_ip())
    step = served.delete(served.floating_ip(), made.id)

    assert codes(served.apply(step)) == [""]
    assert codes(served.apply(step)) == [""]
    assert made.id not in _observed(served)


def test_a_users_is_associated_and_neither_tagged_nor_deleted(served: Services) -> None:
    theirs = _raw(served, description="mine")
    spec = served.floating_ip(address=theirs["floating_ip_address"], ours=False)

    lent = _made(served, spec)
    again = _made(served, spec)
    deletion = served.apply(served.delete(spec, theirs["id"]))

    assert (lent.id, lent.port_id, lent.tags, lent.description) == (theirs["id"], served.vip_port, (), "mine")
    assert (again.id, again.port_id) == (lent.id, lent.port_id)
    assert codes(deletion) == ["NET-NOT-OURS"]
    assert _now(served, theirs["id"])["port_id"] == served.vip_port
    made = {call: count for call, count in mutations(served.cloud.calls).items() if call[1].startswith("floatingips")}
    assert made == {("PUT", "floatingips"): 1}


def test_a_users_that_leads_elsewhere_is_left_alone(served: Services) -> None:
    other = served.world.made(served.world.port("uid-1", network=NETWORK, subnet=SUBNET, security_groups=()))[0]
    theirs = _raw(served, port_id=other.id)

    outcome = served.apply(served.create(served.floating_ip(address=theirs["floating_ip_address"], ours=False)))

    assert codes(outcome) == ["NET-IN-USE"]
    assert other.id in str(outcome[0].error)
    assert _now(served, theirs["id"])["port_id"] == other.id


def test_a_users_that_does_not_exist_is_named(served: Services) -> None:
    outcome = served.apply(served.create(served.floating_ip(address="203.0.113.77", ours=False)))

    assert codes(outcome) == ["NET-NOT-FOUND"]
    assert "203.0.113.77" in str(outcome[0].error)


def test_one_that_somebody_took_over_is_neither_changed_nor_deleted(served: Services) -> None:
    made = _made(served, served.floating_ip())
    served.world.raw("PUT", f"/floatingips/{made.id}", {"floatingip": {"description": "taken over"}})
    served.world.raw("PUT", f"/floatingips/{made.id}/tags", {"tags": []})

    update = served.apply(served.update(served.floating_ip(balancer=""), made.id))
    deletion = served.apply(served.delete(served.floating_ip(), made.id))

    assert codes([*update, *deletion]) == ["NET-NOT-OURS", "NET-NOT-OURS"]
    served.world.raw("DELETE", f"/floatingips/{made.id}")


def test_a_users_is_let_go_only_from_where_it_led(served: Services) -> None:
    theirs = _raw(served, port_id=served.vip_port)
    spec = served.floating_ip(address=theirs["floating_ip_address"], ours=False, balancer="")
    step = served.update(spec, theirs["id"])

    moved = msgspec.structs.replace(step, changes=(FieldChange("port", "another", ""),))
    led_here = msgspec.structs.replace(step, changes=(FieldChange("port", served.vip_port, ""),))

    assert codes(served.apply(moved)) == [""] and _now(served, theirs["id"])["port_id"] == served.vip_port
    assert codes(served.apply(led_here)) == [""] and _now(served, theirs["id"])["port_id"] is None


def test_refusals_of_neutron(served: Services) -> None:
    pod = served.world.made(served.world.port("uid-1"))[0]
    _raw(served, port_id=served.vip_port)
    body = {"floating_network_id": served.world.external}

    def refused(**fields: Any) -> tuple[int, str]:
        answer = served.world.raw("POST", "/floatingips", {"floatingip": body | fields})
        return answer.status, answer.type

    assert refused(port_id=served.vip_port) == (409, "FloatingIPPortAlreadyAssociated")
    assert refused(port_id="00000000-0000-0000-0000-00000000dead") == (404, "PortNotFound")
    assert refused(floating_network_id=pod.network_id) == (400, "BadRequest")
    assert refused(tags=["x"]) == (400, "HTTPBadRequest")
    leg = served.world.ids["router-interface/services"]
    used = served.world.raw(
        "PUT", f"/routers/{served.world.ids['router/services']}/remove_router_interface", {"port_id": leg}
    )
    assert (used.status, used.type) == (409, "RouterInterfaceInUseByFloatingIP")
