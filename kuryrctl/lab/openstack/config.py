"""The configuration files of the lab's OpenStack services, as text. Pure: paths and passwords in, files out.

Each option stands here because its service does not work without it in this lab, or because a real cloud sets it. What
the lab does not run (workers, agents, message queue) is switched off.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from kuryrctl.cloud.credential import ROLE as ENGINE_ROLE
from kuryrctl.lab.layout import (
    EXTERNAL_PHYSICAL_NETWORK,
    KEYSTONE_PORT,
    NEUTRON_PORT,
    OCTAVIA_PORT,
    Layout,
)

REGION = "RegionOne"
DOMAIN = "default"
KEYSTONE_URL = f"http://127.0.0.1:{KEYSTONE_PORT}/v3"
NEUTRON_URL = f"http://127.0.0.1:{NEUTRON_PORT}"
OCTAVIA_URL = f"http://127.0.0.1:{OCTAVIA_PORT}"

Sections = Mapping[str, Mapping[str, object]]

# What one project may have: enough for everything a two-node lab does, and used up by one who tries.
QUOTAS = {
    "network": 100,
    "subnet": 200,
    "subnetpool": 20,
    "port": 1500,
    "router": 20,
    "floatingip": 100,
    "security_group": 500,
    "security_group_rule": 5000,
    "rbac_policy": 50,
    "trunk": 100,
}
BALANCER_QUOTAS = {"load_balancer": 250, "listener": 800, "pool": 800, "member": 4000, "health_monitor": 400}
PAGE_LIMIT = 1000  # a list of more comes in pages, as on a real cloud


class User(msgspec.Struct, frozen=True):
    """A user and what it may do where: project → roles."""

    name: str
    roles: Mapping[str, tuple[str, ...]]


PROJECTS = ("service", "demo", "other")
ROLES = (ENGINE_ROLE, "load-balancer_member", "load-balancer_admin")
USERS = (
    User("neutron", {"service": ("admin", "service")}),
    User("octavia", {"service": ("admin", "service")}),
    User("admin", {"demo": ("admin",)}),
    User("demo", {"demo": ("member", "reader", "load-balancer_member")}),
    User("kuryr", {"demo": (ENGINE_ROLE, "member", "reader", "load-balancer_member")}),
    User("other", {"other": (ENGINE_ROLE, "member", "reader", "load-balancer_member")}),
)
CLOUDS = {
    "kuryr": ("kuryr", "demo"),
    "demo": ("demo", "demo"),
    "admin": ("admin", "admin"),
    "other": ("other", "other"),
}


def database_folder(layout: Layout) -> Path:
    """MariaDB's socket and temporary tables; closed to others, because its root has no password."""
    return layout.run / "mariadb"


def database_socket(layout: Layout) -> Path:
    return database_folder(layout) / "mysql.sock"


def database_url(layout: Layout, name: str) -> str:
    return f"mysql+pymysql://root@localhost/{name}?unix_socket={database_socket(layout)}&charset=utf8mb3"


def octavia_sockets(layout: Layout) -> Path:
    return layout.run / "octavia"


def keystone_keys(layout: Layout) -> Path:
    """Keys that belong to the content of Keystone's database, and are wiped with it."""
    return layout.db / "keystone"


def config_file(layout: Layout, service: str) -> Path:
    return layout.etc / service / f"{service}.conf"


def identity_file(layout: Layout) -> Path:
    """What Keystone's database is filled with."""
    return layout.etc / "keystone" / "content.json"


def policy_file(layout: Layout, service: str = "neutron") -> Path:
    """A service's policy override, which is what `cluster credential` prints; it is read anew when it changes."""
    return layout.etc / service / "policy.yaml"


def ini(sections: Sections) -> str:
    """An oslo.config file."""
    blocks = []
    for section, options in sections.items():
        lines = [f"[{section}]", *(f"{name} = {_value(value)}" for name, value in options.items())]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def _credential(user: str, password: str) -> dict[str, object]:
    return {
        "auth_url": KEYSTONE_URL,
        "auth_type": "password",
        "username": user,
        "password": password,
        "project_name": "service",
        "user_domain_id": DOMAIN,
        "project_domain_id": DOMAIN,
    }


def _token_check(user: str, password: str, service_type: str) -> dict[str, object]:
    return {
        **_credential(user, password),
        # Without it every application credential that has access rules is refused.
        "service_type": service_type,
        "www_authenticate_uri": KEYSTONE_URL,
        "service_token_roles_required": True,
    }


def _ovn(layout: Layout) -> dict[str, object]:
    return {
        "ovn_nb_connection": f"unix:{layout.ovn_run}/ovnnb_db.sock",
        "ovn_sb_connection": f"unix:{layout.ovn_run}/ovnsb_db.sock",
    }


def keystone_conf(layout: Layout) -> str:
    keys = keystone_keys(layout)
    return ini(
        {
            "DEFAULT": {"use_stderr": True},
            "database": {"connection": database_url(layout, "keystone")},
            "token": {"provider": "fernet", "expiration": 86400},
            "fernet_tokens": {"key_repository": keys / "fernet-keys"},
            "fernet_receipts": {"key_repository": keys / "fernet-keys"},
            "credential": {"key_repository": keys / "credential-keys"},
            "identity": {"password_hash_rounds": 4},
            "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
        }
    )


def neutron_conf(layout: Layout, password: str) -> str:
    run = layout.run / "neutron"
    return ini(
        {
            "DEFAULT": {
                "host": "root",
                "core_plugin": "ml2",
                "service_plugins": ("ovn-router", "trunk", "qos", "port_forwarding", "segments"),
                "api_paste_config": layout.venv / "etc/neutron/api-paste.ini",
                "state_path": run,
                "transport_url": "fake:/",
                "rpc_workers": 0,
                "rpc_state_report_workers": 0,
                "auth_strategy": "keystone",
                "notify_nova_on_port_status_changes": False,
                "notify_nova_on_port_data_changes": False,
                "dns_domain": "lab.internal.",
                "global_physnet_mtu": 1500,
                "pagination_max_limit": PAGE_LIMIT,
                "use_stderr": True,
            },
            "oslo_concurrency": {"lock_path": run / "lock"},
            "oslo_messaging_notifications": {"driver": "noop"},
            "oslo_policy": {"policy_file": policy_file(layout)},
            "agent": {"root_helper": ""},
            "database": {"connection": database_url(layout, "neutron"), "max_pool_size": 20, "max_overflow": 20},
            "quotas": {f"quota_{name}": limit for name, limit in QUOTAS.items()},
            "keystone_authtoken": _token_check("neutron", password, "network"),
            "ml2": {
                "mechanism_drivers": "ovn",
                "type_drivers": ("local", "flat", "vlan", "geneve"),
                "tenant_network_types": "geneve",
                # Without the third, tags in POST /ports are dropped silently.
                "extension_drivers": (
                    "port_security",
                    "qos",
                    "tag_ports_during_bulk_creation",
                    "uplink_status_propagation",
                ),
                "overlay_ip_version": 4,
            },
            "ml2_type_geneve": {"vni_ranges": "1:65536", "max_header_size": 38},
            "ml2_type_flat": {"flat_networks": EXTERNAL_PHYSICAL_NETWORK},
            "ml2_type_vlan": {"network_vlan_ranges": f"{EXTERNAL_PHYSICAL_NETWORK}:100:200"},
            "securitygroup": {"enable_security_group": True},
            "ovn": {
                **_ovn(layout),
                "ovn_l3_scheduler": "leastloaded",
                "ovn_metadata_enabled": False,
                "enable_distributed_floating_ip": False,  # only the gateway chassis has the external network
                "neutron_sync_mode": "log",
                "dns_servers": "127.0.0.1",
            },
        }
    )


def octavia_conf(layout: Layout, password: str) -> str:
    sockets = octavia_sockets(layout)
    credential = _credential("octavia", password)
    return ini(
        {
            "DEFAULT": {"host": "root", "transport_url": "fake:/", "use_stderr": True},
            "api_settings": {
                "auth_strategy": "keystone",
                "enabled_provider_drivers": "ovn:OVN provider",
                "default_provider_driver": "ovn",
                "api_base_uri": OCTAVIA_URL,
            },
            "driver_agent": {
                "enabled_provider_agents": "ovn",
                "status_socket_path": sockets / "status.sock",
                "stats_socket_path": sockets / "stats.sock",
                "get_socket_path": sockets / "get.sock",
                "provider_agent_shutdown_timeout": 1,
            },
            "database": {"connection": database_url(layout, "octavia")},
            "quotas": {f"default_{name}_quota": limit for name, limit in BALANCER_QUOTAS.items()},
            "oslo_messaging": {"topic": "octavia"},
            "oslo_policy": {"policy_file": policy_file(layout, "octavia")},
            "oslo_messaging_notifications": {"driver": "noop"},
            "oslo_concurrency": {"lock_path": layout.run / "octavia-lock"},
            "keystone_authtoken": _token_check("octavia", password, "load-balancer"),
            "service_auth": credential,
            "neutron": {**credential, "region_name": REGION},
            "ovn": _ovn(layout),
        }
    )


def clouds_yaml(password: str) -> str:
    """clouds.yaml with one cloud per user; `kuryr` is the engine's, and no administrator."""
    lines = ["clouds:"]
    for cloud, (user, project) in CLOUDS.items():
        lines += [
            f"  {cloud}:",
            f"    region_name: {REGION}",
            "    auth:",
            f"      auth_url: {KEYSTONE_URL}",
            f"      username: {user}",
            f"      password: {password}",
            f"      project_name: {project}",
            f"      user_domain_id: {DOMAIN}",
            f"      project_domain_id: {DOMAIN}",
        ]
    return "\n".join(lines) + "\n"


def identity_json(password: str) -> str:
    """What Keystone holds: the input of inside/keystone_database.py."""
    content = {
        "region": REGION,
        "admin_password": password,
        "identity_url": KEYSTONE_URL,
        "roles": ROLES,
        "projects": PROJECTS,
        "users": [{"name": user.name, "password": password, "roles": user.roles} for user in USERS],
        "services": [
            {"type": "network", "name": "neutron", "url": NEUTRON_URL},
            {"type": "load-balancer", "name": "octavia", "url": OCTAVIA_URL},
        ],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1).decode() + "\n"
