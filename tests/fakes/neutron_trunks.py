"""Trunks of the fake: a parent port, on whose interface other ports travel under VLAN ids.

Source: Neutron 29, ``services/trunk`` (rules, exceptions) and its OVN driver, which writes the owner of subports.
"""

from __future__ import annotations

from tests.fakes.neutron_rules import Fault, Obj, Rules

SUBPORT = "trunk:subport"


def create_trunk(rules: Rules, project: str, body: Obj) -> Obj:
    """POST /trunks."""
    parent = _port(rules, body.get("port_id"))
    _check_free(rules, parent["id"])
    subports: list[Obj] = body.get("sub_ports") or []
    for sub in subports:
        port = _port(rules, sub.get("port_id"))
        _check_free(rules, port["id"])
        if port["device_id"]:
            raise Fault(409, "PortInUse", f"Unable to complete operation on port {port['id']}: it has a device.")
    vlans = [sub["segmentation_id"] for sub in subports]
    if len(set(vlans)) < len(vlans):
        raise Fault(409, "DuplicateSubPort", "segmentation_type vlan and segmentation_id already in use on trunk.")
    for sub in subports:
        rules.update(_port(rules, sub["port_id"]), {"device_owner": SUBPORT})
    trunk = rules.made(project, body) | {
        "port_id": parent["id"],
        "status": "ACTIVE",
        "admin_state_up": True,
        "sub_ports": [{"segmentation_type": "vlan", **sub} for sub in subports],
    }
    return rules.put("trunks", trunk)


def delete_trunk(rules: Rules, trunk: Obj) -> None:
    """DELETE /trunks/ID: its subports lose their owner and live on."""
    for sub in trunk["sub_ports"]:
        rules.update(_port(rules, sub["port_id"]), {"device_owner": ""})
    del rules.tables["trunks"][trunk["id"]]


def check_delete(rules: Rules, port: Obj) -> None:
    """A port that is part of a trunk cannot be deleted."""
    for trunk in rules.tables["trunks"].values():
        if port["id"] in _carried(trunk):
            message = f"Port {port['id']} is currently a subport for trunk {trunk['id']}."
            raise Fault(409, "PortInUseAsSubPort", message)
        if port["id"] == trunk["port_id"]:
            message = f"Port {port['id']} is currently a parent port for trunk {trunk['id']}."
            raise Fault(409, "PortInUseAsTrunkParent", message)


def _check_free(rules: Rules, id_: str) -> None:
    for trunk in rules.tables["trunks"].values():
        if id_ in _carried(trunk):
            raise Fault(409, "TrunkPortInUse", f"Port {id_} is in use by another trunk.")
        if id_ == trunk["port_id"]:
            message = f"Port {id_} is currently in use and is not eligible for use as a parent port."
            raise Fault(409, "ParentPortInUse", message)


def _carried(trunk: Obj) -> set[str]:
    return {sub["port_id"] for sub in trunk["sub_ports"]}


def _port(rules: Rules, id_: object) -> Obj:
    port = rules.tables["ports"].get(str(id_))
    if port is None:
        raise Fault(404, "PortNotFound", f"Port {id_} could not be found.")
    return port
