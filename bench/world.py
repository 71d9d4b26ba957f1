"""A cloud and a cluster of any size, as the answers of their servers: recorded once from the real engine, multiplied.

The engine makes everything for one pod on the tests' fake servers; what these then hold is the record. Each further pod
is that record with its own uid, names, MAC and addresses, so a world where all are served has nothing left to do.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from bench import shapes
from bench.serving import OPTIONS
from kuryrctl.core import names
from kuryrctl.core.ownership import POD
from tests.unit.reconcile.site import NODES, Site

PODS_PER_NODE = 100
_POD = "name-of-the-pod"
_UID = "uid-of-the-pod"
_FIRST = 1 << 20
"""Addresses and ids of the multiplied pods begin here: beyond those of the record."""


class World:
    """`pods` pods on enough nodes; `served`: each has its port and its KuryrPort."""

    def __init__(self, pods: int, *, served: bool) -> None:
        self.served = served
        self._numbers = range(_FIRST, _FIRST + pods)
        self._site = Site(converged=False, audit_log=Path(os.devnull), **OPTIONS)
        self._nodes = [*NODES, *(f"node{n}" for n in range(3, pods // PODS_PER_NODE + 1))]
        for node in self._nodes[len(NODES) :]:
            self._site.kube.add_node(node, "203.0.113.1")
        self._site.kube.add_pod("shop", _POD, node=NODES[0], uid=_UID)
        if not (self._site.init().ok and self._site.run().ok):
            raise RuntimeError("the engine did not converge on the fake servers")

    def cloud(self, collection: str) -> list[Any]:
        """A collection of Neutron, without the ports of pods."""
        return [thing for thing in self._site.cloud.objects(collection) if thing.get("device_id") != _UID]

    def cluster(self, plural: str) -> list[bytes]:
        """A collection of Kubernetes, each item as JSON."""
        match plural:
            case "pods":
                return list(self._multiplied(json.dumps(self._pod)))
            case "kuryrports":
                return list(self._multiplied(json.dumps(self._kuryr_port))) if self.served else []
        return [json.dumps(item).encode() for item in self._site.kube.objects(plural).values()]

    def ports(self, fields: tuple[str, ...] = ()) -> list[bytes]:
        """The ports of the pods as Neutron shows them, each as JSON; only the `fields`, where any are named."""
        whole = shapes.PORT | self._port
        shown = {name: whole[name] for name in fields if name in whole} if fields else whole
        return list(self._multiplied(json.dumps(shown))) if self.served else []

    @cached_property
    def _port(self) -> dict[str, Any]:
        (port,) = [port for port in self._site.cloud.objects("ports") if port["device_id"] == _UID]
        return port | {"status": "ACTIVE"}

    @cached_property
    def _kuryr_port(self) -> dict[str, Any]:
        found: dict[str, Any] = self._site.kuryr_port(f"shop/{_POD}")
        return found | {"status": {"bound": True, "since": "2026-11-23T08:00:04Z", "error": "", "sandbox": _UID}}

    @property
    def _pod(self) -> dict[str, Any]:
        return shapes.pod("shop", _POD, _UID, NODES[0], [each["ip_address"] for each in self._port["fixed_ips"]])

    @cached_property
    def _node_groups(self) -> dict[str, str]:
        """The id of each node's security group."""
        groups = self._site.cloud.objects("security_groups")
        by_uid = {names.uid_of(each["tags"]): each["id"] for each in groups if names.role_of(each["tags"]) == "node"}
        return {name: by_uid[node["metadata"]["uid"]] for name, node in self._site.kube.objects("nodes").items()}

    def _multiplied(self, record: str) -> Iterator[bytes]:
        """The record for every pod; its own values stand where those of the recorded pod stood."""
        four, six = (each["ip_address"] for each in self._port["fixed_ips"])
        values = {
            _UID: "uid",
            _POD: "name",
            f'"{NODES[0]}"': "node",
            self._port["id"]: "port",
            self._port["mac_address"]: "mac",
            four: "four",
            six: "six",
            self._node_groups[NODES[0]]: "group",
        }
        record = record.replace("%", "%%")
        for value, name in values.items():
            record = record.replace(value, f"%({name})s")
        for number in self._numbers:
            uid = f"{number:08x}-7c1e-4d5a-9b3f-2a6e8d0c4b17"
            node = self._nodes[number % len(self._nodes)]
            yield (
                record
                % {
                    "uid": uid,
                    "name": f"web-6c5f9d7b8-{number:x}",
                    "node": json.dumps(node),
                    "group": self._node_groups[node],
                    "port": f"{number:08x}-3f2b-4c6d-8e1a-5b7c9d0e2f43",
                    "mac": names.mac_address(self._site.config.cluster_id, POD, uid),
                    "four": str(ipaddress.ip_address(four) + number),
                    "six": str(ipaddress.ip_address(six) + number),
                }
            ).encode()
