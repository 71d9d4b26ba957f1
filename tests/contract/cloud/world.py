"""What the cases stand on: one Neutron (fake or real), its sessions, a pod network, and words to say steps in.

Everything made here or by a case has a name that begins with the world's prefix, so that it can be taken away again
without touching what others have in the same project.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kuryrctl.cloud import Neutron, Response, Transport
from kuryrctl.core import names
from kuryrctl.core.audit import AuditRecord
from kuryrctl.core.cloud import CloudObject, Port
from kuryrctl.core.errors import Owner, Unavailable
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import FieldChange, Outcome, Step
from kuryrctl.core.specs import (
    AddressSpec,
    NetworkSpec,
    PortSpec,
    RuleSpec,
    SecurityGroupSpec,
    Spec,
    SubnetSpec,
    kind_of,
)

if TYPE_CHECKING:
    from tests.contract.cloud.services import Services

NETWORK, V4, V6, GROUP = "network/pods", "subnet/v4", "subnet/v6", "security-group/pods"
CIDR_V4, CIDR_V6 = "10.91.0.0/24", "fd00:91::/64"
GATEWAY_V6 = "fd00:91::1"
"""Neutron's default would be the network's own address."""
NODE1, NODE2 = "node1", "node2"


class Losing:
    """A Transport that can lose the answer of a write that succeeded."""

    lost = Unavailable("the answer got lost", code="OCT-UNREACHABLE", owner=Owner.OCTAVIA)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.lose_next = ""

    @property
    def project_id(self) -> str:
        return self._transport.project_id

    def request(self, method: str, path: str, **options: Any) -> Response:
        answer = self._transport.request(method, path, **options)
        self.keep(method, path, answer)
        if self.lose_next and f"{method} {path}".startswith(self.lose_next):
            self.lose_next = ""
            raise self.lost
        return answer

    def keep(self, method: str, path: str, answer: Response) -> None:
        """What is to be remembered of a call, also where its answer gets lost: nothing."""


class Recording(Losing):
    """One that keeps what was made through it."""

    lost = Unavailable("the answer got lost", code="NET-UNREACHABLE", owner=Owner.NEUTRON)

    def __init__(self, transport: Transport, made: list[str]) -> None:
        super().__init__(transport)
        self._made = made

    def keep(self, method: str, path: str, answer: Response) -> None:
        if answer.status < 300 and method in ("POST", "PUT"):
            self._keep(path.partition("?")[0], json.loads(answer.body or b"{}"))

    def _keep(self, path: str, answer: dict[str, Any]) -> None:
        if path.endswith("/add_router_interface"):
            self._made.append(f"{path.replace('/add_', '/remove_')} {answer['port_id']}")
        elif path.count("/") == 1:
            (content,) = answer.values()
            self._made += [f"{path}/{item['id']}" for item in (content if isinstance(content, list) else [content])]


@dataclass
class World:
    """One Neutron. `engine`, `member` (same project, no special role), `other` (project) and `admin` are sessions."""

    transport: Recording
    member: Transport
    other: Transport
    admin: Transport
    created: list[str]
    external: str
    prefix: str = field(default_factory=lambda: f"contract-{secrets.token_hex(4)}")
    ids: dict[str, str] = field(default_factory=dict)
    audit: list[AuditRecord] = field(default_factory=list)
    services: Services = field(init=False)

    def __post_init__(self) -> None:
        self.neutron = Neutron(self.transport, audit=self.audit.append)
        self.cluster_id = self.prefix

    # --- words -------------------------------------------------------------------------------------------------

    def create(self, spec: Spec) -> Step:
        """A step that creates what the spec says."""
        return Step(action=Action.CREATE, kind=kind_of(spec), key=spec.key, reason="a case asks for it", spec=spec)

    def update(self, spec: Spec, id_: str, revision: int = 0, fields: Iterable[str] = ()) -> Step:
        """A step that updates an object to what the spec says: these fields, where it is no port or is to be bound."""
        return Step(
            action=Action.UPDATE,
            kind=kind_of(spec),
            key=spec.key,
            reason="a case asks for it",
            spec=spec,
            id=id_,
            revision=revision,
            changes=tuple(FieldChange(field, "what it is", "what it should be") for field in fields),
        )

    def delete(self, kind: Kind, id_: str, revision: int = 0) -> Step:
        """A step that deletes an object."""
        return Step(action=Action.DELETE, kind=kind, key=f"{kind}/{id_}", reason="a case", id=id_, revision=revision)

    def port(self, uid: str, *, host: str = NODE1, v4: str | None = None, subnet: str = V4, **fields: Any) -> PortSpec:
        """The port of a pod with this uid."""
        values: dict[str, Any] = {
            "key": f"port/pod/{uid}",
            "name": f"{self.prefix}/{uid}",
            "tags": self.tags("pod", uid),
            "network": NETWORK,
            "mac_address": names.mac_address(self.cluster_id, uid),
            "addresses": (AddressSpec(subnet, v4), AddressSpec(V6)) if subnet == V4 else (AddressSpec(subnet, v4),),
            "security_groups": (GROUP,),
            "device_owner": names.DEVICE_OWNER,
            "device_id": uid,
            "host": host,
        }
        return PortSpec(**(values | fields))

    def group(self, name: str) -> SecurityGroupSpec:
        """A group of the cluster."""
        tags = self.tags("group", name)
        return SecurityGroupSpec(f"security-group/{name}", f"{self.prefix}/{name}", names.description(tags), tags)

    def tags(self, role: str, uid: str = "") -> tuple[str, ...]:
        """Tags of an object of the cluster."""
        return names.tags(self.cluster_id, role, uid)

    def apply(self, *steps: Step) -> list[Outcome]:
        """The outcomes of one batch; ids of what it made are known to later batches."""
        outcomes = self.neutron.apply(steps, self.ids)
        self.ids |= {outcome.step.key: outcome.object.id for outcome in outcomes if isinstance(outcome.object, Made)}
        return outcomes

    def made(self, *specs: Spec) -> list[Any]:
        """The objects of a batch of creations that must all succeed."""
        outcomes = self.apply(*(self.create(spec) for spec in specs))
        faults = [str(outcome.error) for outcome in outcomes if outcome.error]
        assert not faults, faults
        return [outcome.object for outcome in outcomes]

    def ports(self) -> dict[str, Port]:
        """Ports of the cluster as observed, by device id; nothing else is counted."""
        observed = self.neutron.observe(self.cluster_id)
        assert Kind.PORT in observed.complete, observed.errors
        network = self.ids[NETWORK]
        mine = [port for port in observed.ports.values() if port.network_id == network]
        return {port.device_id: port for port in mine if port.device_owner == names.DEVICE_OWNER}

    def raw(
        self, method: str, path: str, body: object = None, *, by: Transport | None = None, **headers: str
    ) -> Answer:
        """One call past our code."""
        encoded = None if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if encoded is not None:
            given["Content-Type"] = "application/json"
        response = (by or self.transport).request(method, path, body=encoded, headers=given)
        return Answer(response)

    # --- life --------------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        """The pod network of both families and the pods' group, without rules."""
        tags = self.tags("pods")
        self.made(
            NetworkSpec(NETWORK, f"{self.prefix}/pods", tags),
            SubnetSpec(V4, f"{self.prefix}/v4", tags, NETWORK, CIDR_V4),
            SubnetSpec(V6, f"{self.prefix}/v6", tags, NETWORK, CIDR_V6, GATEWAY_V6),
            self.group("pods"),
        )
        self.keep()

    def keep(self) -> None:
        """What there is now stays until the end."""
        self._base = len(self.created)
        self._base_ids = dict(self.ids)

    def clean(self, *, all_: bool = False) -> None:
        """Take away what cases made, the last first; `all_`: the base too."""
        while len(self.created) > (0 if all_ else self._base):
            what, _, leg = self.created.pop().partition(" ")
            if leg:
                answer = self.raw("PUT", what, {"port_id": leg}, by=self.admin)
            else:
                answer = self.raw("DELETE", what, by=self.admin)
            assert answer.status in (200, 204, 404), (what, answer)
        self.ids = {} if all_ else dict(self._base_ids)
        self.audit.clear()
        self.neutron.calls.clear()


class Answer:
    """An answer past our code, with what the cases ask of it."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.json: dict[str, Any] = json.loads(response.body) if response.body else {}

    @property
    def type(self) -> str:
        """The type of ``NeutronError``; empty: none."""
        error = self.json.get("NeutronError")
        return str(error.get("type", "")) if isinstance(error, dict) else ""

    def __repr__(self) -> str:
        return f"{self.status} {self.json}"


Made = CloudObject


def rule(name: str, group: str = GROUP, **fields: Any) -> RuleSpec:
    """A rule of a group; lets TCP in on one port unless told otherwise."""
    values = {
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
        "port_range_min": 80,
        "port_range_max": 80,
    }
    return RuleSpec(key=f"rule/{name}", group=group, **(values | fields))


def codes(outcomes: Iterable[Outcome]) -> list[str]:
    """The code of each outcome's fault; empty: it succeeded."""
    return [outcome.error.code if outcome.error else "" for outcome in outcomes]
