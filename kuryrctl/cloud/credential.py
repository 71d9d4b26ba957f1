"""The credential of the engine: what it may do in Neutron and Octavia beyond a project member, and how little that is.

Texts and tables only: they are given to a cloud's operator (``kuryrctl cluster credential``) and installed by the lab.
Does not know: users, passwords, how a policy file gets to a server.

Source: the defaults of Neutron 29 (``neutron/conf/policies``) and Octavia 19 (``octavia/policies``). An override
replaces a default as a whole, so each one repeats what the default allows. It does so without the named rules that only
newer releases have, because oslo.policy takes an undefined rule for ``default``, which allows every owner.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.names import DEVICE_OWNER

ROLE: Final = "kuryr"
_ROLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

NEUTRON: Final = "neutron"
OCTAVIA: Final = "octavia"

_ADMIN_OR_SERVICE = "rule:admin_only or role:service"
_NETWORK_OWNER = "(role:member and rule:admin_or_network_owner)"
_OURS = "(role:{role} and project_id:%(project_id)s)"
_ANY_MEMBER = "role:member and (rule:admin_or_network_owner or project_id:%(project_id)s)"
_NO_SERVER_PORT = (
    "not field:port:device_owner=~^compute: and not field:port:device_owner=~^baremetal:"
    " and not field:port:device_owner=~^manila:"
)


class AccessRule(Struct, frozen=True):
    """One call that an application credential may make (Keystone API v3, ``access_rules``); `*` is one path segment."""

    service: str
    method: str
    path: str


_ALL_OF_ONE: Final = (("GET", ""), ("POST", ""), ("GET", "/*"), ("PUT", "/*"), ("DELETE", "/*"))


class _Override(Struct, frozen=True):
    rule: str
    why: str
    allowed: str
    ours: str = _OURS


_OVERRIDES: Final = (
    _Override("create_port:binding:host_id", "a pod's port is bound to the pod's node", _ADMIN_OR_SERVICE),
    _Override("update_port:binding:host_id", "a node port follows its node", _ADMIN_OR_SERVICE),
    _Override("get_port:binding:host_id", "a port bound to the wrong host is drift", _ADMIN_OR_SERVICE),
    _Override("get_port:binding:vif_type", "a port whose binding failed is named", _ADMIN_OR_SERVICE),
    _Override("get_port:binding:vif_details", "what the node must plug", _ADMIN_OR_SERVICE),
    _Override(
        "create_port:mac_address",
        "a MAC address derived from the pod's uid cannot be made twice (also on a network of another project)",
        f"{_ADMIN_OR_SERVICE} or {_NETWORK_OWNER}",
    ),
    _Override(
        "create_port:fixed_ips:ip_address",
        "a running pod's port that somebody deleted is made again with the same addresses",
        f"{_ADMIN_OR_SERVICE} or {_NETWORK_OWNER}",
    ),
    _Override(
        "delete_port",
        "Neutron 29 lets no project member delete compute:* ports; this role may delete kuryr's",
        f"{_ADMIN_OR_SERVICE} or ({_ANY_MEMBER} and (service_roles:service or ({_NO_SERVER_PORT})))",
        f"(role:{{role}} and project_id:%(project_id)s and field:port:device_owner=~^{DEVICE_OWNER})",
    ),
    _Override(
        "create_floatingip:floating_ip_address",
        "a Service's loadBalancerIP names its address",
        "rule:admin_only or (role:manager and project_id:%(project_id)s)",
    ),
)
_OCTAVIA_OVERRIDES: Final = (
    _Override(
        "os_load-balancer_api:loadbalancer:put_failover",
        "a failover that somebody asks for; all else that the engine does, a member may do",
        "rule:load-balancer:admin",
    ),
)
_HEADS: Final = {
    NEUTRON: (
        '# Neutron policy for the role "{role}": the engine of a Kubernetes cluster whose pods have Neutron ports.',
        "# It may do this with ports of its own project only. Defaults repeated here are those of Neutron 29.",
    ),
    OCTAVIA: (
        '# Octavia policy for the role "{role}": the engine of a Kubernetes cluster whose Services are load balancers.',
        "# Its user has the role member, or load-balancer_member where Octavia's advanced roles are in force.",
        "# It may do this with load balancers of its own project only. Defaults repeated here are those of Octavia 19.",
    ),
}


def policy_override(role: str = ROLE, service: str = NEUTRON) -> str:
    """YAML for a service's ``policy.yaml``: what `role` may do in its own project, beyond a member.

    The user has the roles ``member`` and `role` in the cluster's project. Raises Invalid for a name that is no role's.
    """
    if not _ROLE_NAME.fullmatch(role):
        raise Invalid(
            f'"{role}" cannot stand in a policy rule as the name of a role',
            code="CFG-ROLE",
            owner=Owner.USER,
            hint="use letters, digits, dots, dashes and underscores",
        )
    lines = list(_HEADS[service])
    for override in _OVERRIDES if service == NEUTRON else _OCTAVIA_OVERRIDES:
        lines += ["", f"# {override.why}", f'"{override.rule}": "{override.allowed} or {override.ours}"']
    return "\n".join(lines).replace("{role}", role) + "\n"


def access_rules() -> tuple[AccessRule, ...]:
    """The calls that the engine makes, for an application credential that can do nothing else.

    Each service that it calls needs ``service_type`` in its ``[keystone_authtoken]``, or it refuses such a credential.
    """
    rules = [
        AccessRule("network", method, f"/v2.0/{collection}{path}")
        for collection in ("networks", "subnets", "routers", "security-groups", "ports", "floatingips")
        for method, path in (*_ALL_OF_ONE, ("PUT", "/*/tags"), ("PUT", "/*/tags/*"))
    ]
    rules += [
        AccessRule("load-balancer", method, f"/v2/lbaas/{collection}{path}")
        for collection in ("loadbalancers", "listeners", "pools", "healthmonitors")
        for method, path in _ALL_OF_ONE
    ]
    rules += [
        AccessRule("network", "PUT", "/v2.0/routers/*/add_router_interface"),
        AccessRule("network", "PUT", "/v2.0/routers/*/remove_router_interface"),
        AccessRule("network", "GET", "/v2.0/security-group-rules"),
        AccessRule("network", "POST", "/v2.0/security-group-rules"),
        AccessRule("network", "DELETE", "/v2.0/security-group-rules/*"),
        AccessRule("network", "DELETE", "/v2.0/floatingips/*/tags/*"),
        AccessRule("network", "GET", "/v2.0/trunks"),
        AccessRule("network", "GET", "/v2.0/quotas/*/details"),
        AccessRule("load-balancer", "GET", "/v2/lbaas/loadbalancers/*/status"),
        AccessRule("load-balancer", "PUT", "/v2/lbaas/loadbalancers/*/failover"),
        AccessRule("load-balancer", "GET", "/v2/lbaas/pools/*/members"),
        AccessRule("load-balancer", "PUT", "/v2/lbaas/pools/*/members"),
        AccessRule("load-balancer", "GET", "/v2/lbaas/quotas/*"),
    ]
    return tuple(rules)
