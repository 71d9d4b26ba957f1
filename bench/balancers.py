"""Bare load balancers on the lab: Octavia's own API with the engine's credential, and nothing of ours in between.

They are named as ours are, with `BARE` in the place of the cluster, so that what a killed run left is found again.
Does not know: what is measured.
"""

from __future__ import annotations

from typing import Any, Final

from tests.functional.lab import Lab, wait_for

BARE: Final = "bare"
PATIENT_S: Final = 300.0
Body = dict[str, Any]


class Balancers:
    """Those of one run, which has a namespace of its own."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self._lab, self._namespace = lab, namespace
        self._octavia = lab.cloud().load_balancer

    def like(self, vip: str) -> Body:
        """The body that makes another load balancer like the one with this VIP, at an address that is free."""
        (known,) = self._call("GET", f"loadbalancers?vip_address={vip}")["loadbalancers"]
        listeners = []
        for each in known["listeners"]:
            listener = self._call("GET", f"listeners/{each['id']}")["listener"]
            pool = self._call("GET", f"pools/{listener['default_pool_id']}")["pool"]
            whole = _some(pool, "name", "protocol", "lb_algorithm") | {"members": self.members(pool["id"])}
            listeners.append(_some(listener, "name", "protocol", "protocol_port") | {"default_pool": whole})
        named = {"name": f"{BARE}/{self._namespace}/web", "listeners": listeners}
        return {"loadbalancer": _some(known, "provider", "vip_subnet_id") | named}

    def create(self, body: Body) -> Body:
        """Make a load balancer with all that is below it; what the answer shows of it."""
        made: Body = self._call("POST", "loadbalancers", body)["loadbalancer"]
        return made

    def members(self, pool: str) -> list[Body]:
        """The members of a pool, as they are asked for."""
        found = self._call("GET", f"pools/{pool}/members")["members"]
        return [_some(each, "address", "protocol_port", "subnet_id") for each in found]

    def set_members(self, pool: str, members: list[Body]) -> None:
        """Give a pool these members and no others, once Octavia is done with the change before."""
        path, body = f"/lbaas/pools/{pool}/members", {"members": members}
        wait_for(lambda: self._octavia.put(path, json=body).status_code == 202, PATIENT_S)

    def sweep(self) -> None:
        """Delete this run's, and those of killed runs, whose namespaces are gone. Returns once they are gone, and with
        them those that the engine made for this run's Services."""
        wait_for(lambda: not self._swept(), PATIENT_S, self._swept)

    def _swept(self) -> list[Body]:
        homes = {each["metadata"]["name"] for each in self._lab.get("namespaces")["items"]} - {self._namespace}
        left = []
        for each in self._call("GET", "loadbalancers")["loadbalancers"]:
            who, _, rest = each["name"].partition("/")
            home = rest.partition("/")[0]
            bare = who == BARE and home not in homes
            if bare and not each["provisioning_status"].startswith("PENDING_"):
                self._octavia.delete(f"/lbaas/loadbalancers/{each['id']}", params={"cascade": "true"})
            if bare or home == self._namespace:
                left.append(each)
        return left

    def _call(self, method: str, path: str, body: Body | None = None) -> Body:
        answer = self._octavia.request(f"/lbaas/{path}", method, json=body)
        assert answer.status_code < 400, answer.text
        found: Body = answer.json()
        return found


def _some(known: Body, *fields: str) -> Body:
    return {field: known[field] for field in fields}
