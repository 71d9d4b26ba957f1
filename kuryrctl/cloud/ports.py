"""Making ports, many in one call, so that none is ever made twice and one bad one fails alone.

Neutron's bulk creation is all or nothing. What is known of each refusal decides what comes next: ports that exist
already (same MAC) are adopted and the others posted again; a used-up quota is filled to its limit; anything else splits
the batch in halves. After a time-out the ports are looked up by MAC before anybody is told that they do not exist.
Does not know: the order of plans, how many ports a batch should have.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from kuryrctl.cloud import wire
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.meanings import ADDRESS_TAKEN, MAC_IN_USE, OVER_QUOTA
from kuryrctl.cloud.quota import quota_error, quota_of
from kuryrctl.cloud.recording import Log
from kuryrctl.cloud.transport import Response
from kuryrctl.cloud.wire import PORTS, SUBNETS, Body
from kuryrctl.core import names
from kuryrctl.core.cloud import Port, Subnet
from kuryrctl.core.errors import Conflict, KuryrError, Owner, Retryable, Unavailable
from kuryrctl.core.plan import Step
from kuryrctl.core.specs import Key, PortSpec

SPLIT: Final = frozenset({400, 404, 409})
"""A bulk refused with one of these may contain one bad port; any other status is about the caller or the server."""


class Wanted(Struct, frozen=True):
    """A port to make: its step, its spec, and the body with ids in place of keys."""

    step: Step
    spec: PortSpec
    body: Body

    @property
    def what(self) -> str:
        """The beginning of an error message."""
        return f"port of {self.step.subject or self.step.key} not created"


class PortMaker:
    """Makes the ports of one batch. `results` has, for each key, the port or why there is none."""

    def __init__(self, client: Client, ids: Mapping[Key, str], log: Log) -> None:
        self._client = client
        self._ids = ids
        self._log = log
        self._full: dict[tuple[str, ...], Subnet] = {}
        self.results: dict[Key, Port | KuryrError] = {}

    def make(self, steps: Sequence[Step]) -> None:
        """Make the ports of these create steps in one call where nothing is in the way."""
        wanted = []
        for step in steps:
            spec = spec_of(step)
            try:
                wanted.append(Wanted(step, spec, wire.port_body(spec, self._ids)))
            except Conflict as error:
                self.results[step.key] = error
        self._post(wanted)

    def _post(self, wanted: Sequence[Wanted]) -> None:
        wanted = [item for item in wanted if not self._known_full(item)]
        if not wanted:
            return
        try:
            response = self._client.call("POST", PORTS.path, {"ports": [item.body for item in wanted]})
            ports, _ = wire.decode_list(PORTS, response.body)
        except Refused as refused:
            for item in wanted:
                self._log(item.step, "", f"POST {PORTS.path}", refused)
            self._refused(wanted, refused)
        except KuryrError as error:
            for item in wanted:
                self._log(item.step, "", f"POST {PORTS.path}", error)
            self._effect_unknown(wanted, error)
        else:
            self._created(wanted, ports, response)

    def _created(self, wanted: Sequence[Wanted], ports: Iterable[Port], response: Response) -> None:
        made = {(port.network_id, port.mac_address): port for port in ports}
        for item in wanted:
            port = made.get(_identity(item))
            if port is None:
                self.results[item.step.key] = Unavailable(
                    f"{item.what}: Neutron's answer to the creation does not contain it",
                    code="NET-ANSWER",
                    owner=Owner.NEUTRON,
                )
                continue
            self._log(item.step, port.id, f"POST {PORTS.path}", response)
            self.results[item.step.key] = self._tagged(item, port)

    def _tagged(self, item: Wanted, port: Port) -> Port | KuryrError:
        """The port with all its tags: some clouds drop the tags of a POST without a word."""
        if not wire.missing_tags(port.tags, item.spec.tags):
            return port
        call = f"PUT {PORTS.path}/{port.id}/tags"
        try:
            response = self._client.add_tags(PORTS, port.id, port.tags, item.spec.tags)
        except Refused as refused:
            self._log(item.step, port.id, call, refused)
            return refused.error(f"port {port.id} of {item.step.subject or item.step.key} created, but not tagged")
        except KuryrError as error:
            self._log(item.step, port.id, call, error)
            return error
        if response is not None:
            self._log(item.step, port.id, call, response)
        return msgspec.structs.replace(port, tags=tuple(sorted({*port.tags, *item.spec.tags})))

    def _effect_unknown(self, wanted: Sequence[Wanted], error: KuryrError) -> None:
        """No answer, or one that proves nothing: what can be found was made, the rest is tried again later."""
        try:
            found = self._lookup(wanted)
        except (Refused, KuryrError):
            found = {}
        for item in wanted:
            port = found.get(_identity(item))
            self.results[item.step.key] = self._adopt(item, port) if port is not None else error

    def _refused(self, wanted: Sequence[Wanted], refused: Refused) -> None:
        if refused.effect_unknown:
            self._effect_unknown(wanted, refused.error(f"{len(wanted)} port(s) not created"))
        elif refused.type == MAC_IN_USE:
            self._some_exist(wanted, refused)
        elif refused.type == OVER_QUOTA:
            self._over_quota(wanted, refused)
        elif len(wanted) > 1 and refused.status in SPLIT:
            self._halves(wanted)
        elif refused.no_address and len(wanted) == 1:
            self._subnet_full(wanted[0], refused)
        else:
            for item in wanted:
                self.results[item.step.key] = self._error(item, refused)

    def _halves(self, wanted: Sequence[Wanted]) -> None:
        middle = len(wanted) // 2
        self._post(wanted[:middle])
        self._post(wanted[middle:])

    def _some_exist(self, wanted: Sequence[Wanted], refused: Refused) -> None:
        """Our own ports of an earlier attempt, as a rule: one look-up finds them all."""
        try:
            found = self._lookup(wanted)
        except Refused as other:
            self._fail(wanted, other)
            return
        except KuryrError as error:
            self.results |= {item.step.key: error for item in wanted}
            return
        for item in wanted:
            port = found.get(_identity(item))
            if port is not None:
                self.results[item.step.key] = self._adopt(item, port)
        rest = [item for item in wanted if _identity(item) not in found]
        if len(rest) < len(wanted):
            self._post(rest)
        elif len(rest) > 1:
            self._halves(rest)
        else:
            self.results[rest[0].step.key] = Conflict(
                f"{rest[0].what}: its MAC address {rest[0].spec.mac_address} is in use on the network by a port that"
                " this project cannot see",
                code="NET-MAC-TAKEN",
                owner=Owner.USER,
                hint=f"openstack port list --long --mac-address {rest[0].spec.mac_address}, as an administrator",
                request_id=refused.request_id,
            )

    def _over_quota(self, wanted: Sequence[Wanted], refused: Refused) -> None:
        """Fill the quota to its limit; what does not fit is told quota, limit and use."""
        try:
            quota = quota_of(self._client, "port")
        except (Refused, KuryrError):
            self._fail(wanted, refused)
            return
        free = max(0, quota.free)
        if 0 < free < len(wanted):
            self._post(wanted[:free])
            made = sum(isinstance(self.results[item.step.key], Port) for item in wanted[:free])
            quota = msgspec.structs.replace(quota, used=quota.used + made)
            wanted = wanted[free:]
        elif free >= len(wanted) > 1:
            self._halves(wanted)
            return
        for item in wanted:
            self.results[item.step.key] = quota_error(quota, item.what, self._client.project_id, refused.request_id)

    def _lookup(self, wanted: Sequence[Wanted]) -> dict[tuple[str, str], Port]:
        networks = sorted({item.body["network_id"] for item in wanted})
        query = [("network_id", network) for network in networks]
        query += [("mac_address", item.spec.mac_address) for item in wanted]
        return {(port.network_id, port.mac_address): port for port in self._client.list(PORTS, query)}

    def _adopt(self, item: Wanted, port: Port) -> Port | KuryrError:
        """The existing port as the spec wants it, if it is ours."""
        if not is_ours(port, item.spec, self._client.project_id):
            return Conflict(
                f"{item.what}: its MAC address {port.mac_address} is in use by {describe(port)}",
                code="NET-MAC-TAKEN",
                owner=Owner.USER,
                hint="that port is not ours and is left alone; delete it or give it another MAC address",
            )
        return bring(self._client, self._log, item.step, port, self._ids)

    def _error(self, item: Wanted, refused: Refused) -> KuryrError:
        if refused.type in ADDRESS_TAKEN:
            return self._address_taken(item, refused)
        return refused.error(item.what)

    def _fail(self, wanted: Sequence[Wanted], refused: Refused) -> None:
        self.results |= {item.step.key: refused.error(item.what) for item in wanted}

    def _address_taken(self, item: Wanted, refused: Refused) -> KuryrError:
        addresses = [fixed["ip_address"] for fixed in item.body["fixed_ips"] if "ip_address" in fixed]
        named = [address for address in addresses if address in refused.message.split()] or addresses
        query = [("network_id", item.body["network_id"])]
        query += [("fixed_ips", f"ip_address={address}") for address in named]
        try:
            holders = self._client.list(PORTS, query)
        except (Refused, KuryrError):
            holders = ()
        by = describe(holders[0]) if holders else "a port that this project cannot see"
        return Conflict(
            f"{item.what}: address {' or '.join(named)} is in use by {by}",
            code="NET-ADDRESS-TAKEN",
            owner=Owner.USER,
            hint="delete the pod to give it another address, or free this one",
            request_id=refused.request_id,
        )

    def _subnet_full(self, item: Wanted, refused: Refused) -> None:
        try:
            self.results[item.step.key] = self._no_address(item, refused.request_id)
        except (Refused, KuryrError):
            self._fail([item], refused)

    def _no_address(self, item: Wanted, request_id: str) -> KuryrError:
        full = self._smallest(item)
        key = next((address.subnet for address in item.spec.addresses if self._ids.get(address.subnet) == full.id), "")
        return Conflict(
            f"{item.what}: no free address in {key} ({full.cidr}, {full.id})",
            code="NET-NO-ADDRESS",
            owner=Owner.USER,
            hint="openstack subnet set --allocation-pool adds addresses;"
            ' kuryrctl port list --condition "no pod" finds unused ports',
            request_id=request_id,
        )

    def _smallest(self, item: Wanted) -> Subnet:
        """The subnet that must be full: Neutron names the network only. Of two families it is the smaller one."""
        wanted = tuple(_any_address(item))
        if wanted not in self._full:
            subnets = self._client.list(SUBNETS, [("id", id_) for id_ in wanted])
            self._full[wanted] = min(subnets, key=_pool_size)
        return self._full[wanted]

    def _known_full(self, item: Wanted) -> bool:
        """Whether this port needs any address of a subnet that was found full in this batch: no call is wasted."""
        if tuple(_any_address(item)) not in self._full:
            return False
        self.results[item.step.key] = self._no_address(item, "")
        return True


def bring(client: Client, log: Log, step: Step, port: Port, ids: Mapping[Key, str]) -> Port | KuryrError:
    """Make an existing port's managed fields and tags what the step's spec says; the port afterwards, or the fault.

    Neutron answers an update with 200 also where its attempt to bind the port has failed: a fault where a binding is
    what the step is about.
    """
    spec = spec_of(step)
    what = f"port {port.id} of {step.subject or step.key} not updated"
    call = f"PUT {PORTS.path}/{port.id}"
    try:
        changes = wire.port_changes(port, spec, ids)
        if changes:
            response = client.call("PUT", f"{PORTS.path}/{port.id}", {"port": changes}, revision=port.revision_number)
            log(step, port.id, call, response)
            port = wire.decode_one(PORTS, response.body)
        call += "/tags"
        tagged = client.add_tags(PORTS, port.id, port.tags, spec.tags)
        if tagged is not None:
            log(step, port.id, call, tagged)
            port = client.get(PORTS, port.id)
    except Refused as refused:
        log(step, port.id, call, refused)
        return refused.error(what)
    except Retryable as error:
        log(step, port.id, call, error)
        return error
    except KuryrError as error:
        return error
    asked = any(change.field == "vif_type" for change in step.changes)
    return _not_bound(step, port) if asked and port.unbound else port


def _not_bound(step: Step, port: Port) -> KuryrError:
    return Conflict(
        f"port {port.id} of {step.subject or step.key} has no binding: Neutron cannot bind it to host {port.host}"
        f" ({port.vif_type})",
        code="NET-UNBOUND",
        owner=Owner.NEUTRON,
        hint=f"openstack network agent list --host {port.host} has to show an agent that is alive and up",
    )


def spec_of(step: Step) -> PortSpec:
    """The PortSpec of a step that is about a port."""
    if not isinstance(step.spec, PortSpec):
        raise TypeError(f"{step.key} has no PortSpec")
    return step.spec


def is_ours(port: Port, spec: PortSpec, project_id: str) -> bool:
    """Whether a port with the spec's MAC address is the spec's: our project, and our tags or our owner and device."""
    if port.project_id not in ("", project_id):
        return False
    tagged = not wire.missing_tags(port.tags, spec.tags)
    return tagged or (
        port.device_owner == spec.device_owner == names.DEVICE_OWNER
        and port.device_id == spec.device_id
        and names.cluster_of(port.tags) in ("", names.cluster_of(spec.tags))
    )


def describe(port: Port) -> str:
    """A foreign port, for people."""
    name = f' "{port.name}"' if port.name else ""
    return f"port {port.id}{name} (owner {port.device_owner or 'none'}, project {port.project_id or 'unknown'})"


def _identity(item: Wanted) -> tuple[str, str]:
    return item.body["network_id"], item.spec.mac_address


def _any_address(item: Wanted) -> list[str]:
    return [fixed["subnet_id"] for fixed in item.body["fixed_ips"] if "ip_address" not in fixed]


def _pool_size(subnet: Subnet) -> int:
    """How many addresses a subnet hands out by itself."""
    return sum(
        int(ipaddress.ip_address(pool.end)) - int(ipaddress.ip_address(pool.start)) + 1
        for pool in subnet.allocation_pools
    )
