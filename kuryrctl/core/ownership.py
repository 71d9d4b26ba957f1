"""Which observed objects are ours, and which only look like it.

A tag can be copied and a name can be guessed, so neither is a proof. A port is ours if its MAC address is the one
derived from the cluster id and the uid that it names, and it lies in our project, on the pod network: Neutron admits
no second one. Everything that carries our marks without being provable is *suspicious*: reported, never touched.
Does not know: what should exist, what a plan is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from sys import intern

from msgspec import Struct

from kuryrctl.core import names
from kuryrctl.core.balancers import FloatingIP, LoadBalancer
from kuryrctl.core.cloud import Network, Port, Router, SecurityGroup, Subnet
from kuryrctl.core.specs import Key

POD, NODE = "pod", "node"
_SERVED_ROLES = (POD, NODE)
POLICY_ROLES = ("policy-ingress", "policy-egress", "peer", "namespace", "node", "vip", "guard")
"""The roles of the groups that NetworkPolicies ask for; each such group serves one id."""

SERVICE_PARTS = ("4", "6", "external-4", "external-6")
"""The load balancers that a Service can have: one for each ClusterIP, and one for each VIP on a provider network."""


class Proof(Enum):
    """How sure it is that an object is ours."""

    TAGGED = auto()
    """Our tags, and everything else agrees."""
    DERIVED = auto()
    """No tags, but what only we would have made: a crash or a cloud that drops tags. It may be adopted."""
    SUSPICIOUS = auto()
    """Our tags, but something contradicts them."""
    FOREIGN = auto()
    """Somebody else's."""


class Claim(Struct, frozen=True, gc=False):
    """The verdict on one object. `key` is empty where it is foreign; `why` says what contradicts the tags."""

    proof: Proof
    key: Key = ""
    uid: str = ""
    why: str = ""

    @property
    def ours(self) -> bool:
        """Whether a plan may change or delete the object."""
        return self.proof in (Proof.TAGGED, Proof.DERIVED)


FOREIGN = Claim(Proof.FOREIGN)


class Identity(Struct, frozen=True):
    """What proofs are measured by. `network_id` is the pod network's, empty where it does not exist yet."""

    cluster_id: str
    project_id: str
    network_id: str


def claim_port(port: Port, identity: Identity) -> Claim:
    """Whose port it is. Keys are ``port/pod/UID`` and ``port/node/UID``."""
    cluster = names.cluster_of(port.tags)
    if cluster:
        return _claim_tagged_port(port, identity) if cluster == identity.cluster_id else FOREIGN
    if port.device_owner != names.DEVICE_OWNER or not port.device_id or not _belongs(port, identity):
        return FOREIGN
    role = next((role for role in _SERVED_ROLES if _derived(port, identity, role, port.device_id)), None)
    return Claim(Proof.DERIVED, f"port/{role}/{port.device_id}", port.device_id) if role else FOREIGN


def claim_own(
    thing: Network | Subnet | Router | SecurityGroup, identity: Identity, kind: str, roles: Sequence[str]
) -> Claim:
    """Whose network, subnet, router or group it is; `roles` are those that this kind can have.

    An untagged one counts as ours by its deterministic name and description in our project: Neutron accepts no tags at
    its creation, and the call that tags it may have been lost.
    """
    cluster, role = names.cluster_of(thing.tags), names.role_of(thing.tags)
    at_home = not identity.project_id or thing.project_id == identity.project_id
    if cluster:
        if cluster != identity.cluster_id:
            return FOREIGN
        if role not in roles:
            return Claim(Proof.SUSPICIOUS, why=f'its tags name the role "{role}", which no {kind} of ours has')
        if not at_home:
            return Claim(Proof.SUSPICIOUS, why=f"it belongs to project {thing.project_id}, not to ours")
        return Claim(Proof.TAGGED, f"{kind}/{role}")
    made = {own_name(identity.cluster_id, each): each for each in roles}
    role = made.get(thing.name, "")
    if at_home and role and thing.description == names.description(names.tags(identity.cluster_id, role)):
        return Claim(Proof.DERIVED, f"{kind}/{role}")
    return FOREIGN


def claim_group(group: SecurityGroup, identity: Identity) -> Claim:
    """Whose group of the NetworkPolicies it is. Keys are ``security-group/ROLE/ID``.

    Its tags, its name and its description name the same role and id, or it is not touched. Without tags the other two
    prove it: Neutron accepts no tags at a group's creation.
    """
    tagged = names.cluster_of(group.tags)
    marks = group.tags if tagged else names.described(group.description)
    role, id_ = names.role_of(marks), names.uid_of(marks)
    if names.cluster_of(marks) != identity.cluster_id or role not in POLICY_ROLES or not id_:
        return FOREIGN
    at_home = not identity.project_id or group.project_id == identity.project_id
    same_name = group.name == own_name(identity.cluster_id, f"{role}-{id_}")
    same_description = group.description == names.description(names.tags(identity.cluster_id, role, id_))
    if at_home and same_name and same_description:
        return Claim(Proof.TAGGED if tagged else Proof.DERIVED, f"security-group/{role}/{id_}", id_)
    if not tagged:
        return FOREIGN
    why = (
        f"it belongs to project {group.project_id}, not to ours"
        if not at_home
        else f'its name "{group.name}" is not the one of {role} {id_}'
        if not same_name
        else "its description is not the one that it was made with"
    )
    return Claim(Proof.SUSPICIOUS, uid=id_, why=why)


def service_tags(cluster_id: str, uid: str, part: str) -> tuple[str, ...]:
    """The tags of a load balancer or a floating IP of one Service."""
    return names.tags(cluster_id, f"service-{part}", uid)


def claim_balancer(balancer: LoadBalancer, identity: Identity) -> Claim:
    """Whose load balancer it is, with all that is below it. Keys are ``load-balancer/service/UID/PART``.

    Tags and description name the same Service, or it is not touched; without tags the description proves it.
    """
    claim = _claim_of_service(balancer, identity, "load-balancer")
    version = claim.key[-1:]
    if claim.ours and balancer.vip_address and version != ("6" if ":" in balancer.vip_address else "4"):
        why = f"its address {balancer.vip_address} is none of IPv{version}"
        return Claim(Proof.SUSPICIOUS, uid=claim.uid, why=why)
    return claim


def claim_floating_ip(floating_ip: FloatingIP, identity: Identity) -> Claim:
    """Whose floating IP it is. Keys are ``floating-ip/service/UID/PART``. Neutron takes no tags at its creation."""
    return _claim_of_service(floating_ip, identity, "floating-ip")


def own_name(cluster_id: str, role: str) -> str:
    """The name of an object that the whole cluster shares: ``kuryr-CLUSTER-ROLE``."""
    return f"kuryr-{cluster_id}-{role}"


def _claim_of_service(thing: LoadBalancer | FloatingIP, identity: Identity, kind: str) -> Claim:
    tagged = names.cluster_of(thing.tags)
    marks = thing.tags if tagged else names.described(thing.description)
    if names.cluster_of(marks) != identity.cluster_id:
        return FOREIGN
    role, uid = names.role_of(marks), names.uid_of(marks)
    part = role.removeprefix("service-")
    at_home = identity.project_id in ("", thing.project_id)
    known = role.startswith("service-") and part in SERVICE_PARTS and bool(uid)
    told = thing.description == names.description(names.tags(identity.cluster_id, role, uid))
    if known and at_home and told:
        return Claim(Proof.TAGGED if tagged else Proof.DERIVED, f"{kind}/service/{uid}/{part}", intern(uid))
    if not tagged:
        return FOREIGN
    why = (
        f'its tags name the role "{role}" and the uid "{uid}", which no {kind} of ours has'
        if not known
        else f"it belongs to project {thing.project_id}, not to ours"
        if not at_home
        else "its description is not the one that it was made with"
    )
    return Claim(Proof.SUSPICIOUS, uid=uid, why=why)


def _claim_tagged_port(port: Port, identity: Identity) -> Claim:
    role, uid = names.role_of(port.tags), names.uid_of(port.tags)
    if role not in _SERVED_ROLES or not uid:
        why = f'its tags name the role "{role}" and the uid "{uid}", which no port of ours has'
    elif identity.project_id and port.project_id != identity.project_id:
        why = f"it belongs to project {port.project_id}, not to ours"
    elif port.network_id != identity.network_id:
        why = f"it is on network {port.network_id}, not on the pod network"
    elif not _derived(port, identity, role, uid):
        why = f"its MAC address {port.mac_address} is not the one of {role} {uid}"
    else:
        return Claim(Proof.TAGGED, f"port/{role}/{uid}", intern(uid))
    return Claim(Proof.SUSPICIOUS, uid=uid, why=why)


def _belongs(port: Port, identity: Identity) -> bool:
    return port.network_id == identity.network_id and identity.project_id in ("", port.project_id)


def _derived(port: Port, identity: Identity, role: str, uid: str) -> bool:
    return port.mac_address.lower() == names.mac_address(identity.cluster_id, role, uid)
