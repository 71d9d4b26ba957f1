"""The cloud's stages: state, databases and services, in parallel as far as they go, and their end."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from kuryrctl.cloud import credential
from kuryrctl.lab import layout as places
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.openstack import config, database
from kuryrctl.lab.openstack.api import Network, answers
from kuryrctl.lab.process import wait_until, write_atomically
from kuryrctl.lab.stages import Context, Stage

SERVER_THREADS = {"keystone": 4, "neutron": 10, "octavia": 4}
PORTS = {"keystone": places.KEYSTONE_PORT, "neutron": places.NEUTRON_PORT, "octavia": places.OCTAVIA_PORT}
START_TIMEOUT_S = 180.0  # a busy machine; a dead service is noticed at once
# In the order in which they are stopped: who asks before who answers.
COMPONENTS = ("octavia", "neutron", "keystone", "mariadb")
CENTRAL = ("ovn-northd", "ovn-nb", "ovn-sb")  # lab.network's; their databases are wiped together with Neutron's


class Component(msgspec.Struct, frozen=True):
    """One daemon as `lab status` shows it: its name (of process and log) and how to see whether it serves."""

    name: str
    ready: Callable[[Context], bool]


def components() -> list[Component]:
    """Every daemon of the cloud; `ready` asks it, within two seconds."""
    return [
        Component("mariadb", database.greets),
        Component("keystone", lambda context: answers(PORTS["keystone"])),
        Component("neutron", lambda context: answers(PORTS["neutron"])),
        Component("octavia", lambda context: answers(PORTS["octavia"])),
    ]


def stages() -> list[Stage]:
    """From an installed environment to a cloud with an external network.

    `ovn` is lab.network's stage that starts OVN's databases; it waits for `openstack-state` here.
    """
    return [
        Stage("openstack-state", "looking for a kept cloud", prepare),
        Stage("mariadb", "starting MariaDB", database.start_mariadb, ("openstack-state",)),
        Stage("keystone", "starting Keystone", lambda context: _serve(context, "keystone"), ("mariadb",)),
        Stage("neutron", "starting Neutron", lambda context: _serve(context, "neutron"), ("mariadb", "ovn")),
        Stage("octavia", "starting Octavia", lambda context: _serve(context, "octavia"), ("mariadb", "ovn")),
        Stage("openstack", "opening the cloud", open_cloud, ("keystone", "neutron", "octavia")),
    ]


def prepare(context: Context) -> None:
    """Wipe an unfinished cloud, write every configuration file, and stop the services whose own one changed."""
    layout = context.layout
    if not database.is_complete(layout):
        context.processes.stop(*COMPONENTS, *CENTRAL)
        database.wipe(layout)
    password = database.secret(layout)
    database.write_keystone_keys(layout)
    for folder in (layout.run / "neutron" / "lock", layout.run / "octavia-lock", config.octavia_sockets(layout)):
        folder.mkdir(parents=True, exist_ok=True)
    _write_if_changed(layout.clouds_yaml, config.clouds_yaml(password))
    for service in (credential.NEUTRON, credential.OCTAVIA):
        override = credential.policy_override(service=service)
        _write_if_changed(config.policy_file(layout, service), override)
    _write_if_changed(config.identity_file(layout), config.identity_json(password))
    options = {
        "keystone": config.keystone_conf(layout),
        "neutron": config.neutron_conf(layout, password),
        "octavia": config.octavia_conf(layout, password),
    }
    changed = [name for name, text in options.items() if _write_if_changed(config.config_file(layout, name), text)]
    context.processes.stop(*changed)


def _write_if_changed(path: Path, text: str) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    write_atomically(path, text.encode())
    return True


def password(layout: Layout) -> str:
    """The password of every user of this cloud."""
    return database.secret(layout)


def _serve(context: Context, service: str) -> None:
    """Start one API in a process of its own and wait until it answers."""
    layout, processes = context.layout, context.processes
    if not processes.running(service):
        temporary = layout.run / "tmp" / service
        shutil.rmtree(temporary, ignore_errors=True)  # neutron's workers meet in files there, also dead ones
        temporary.mkdir(parents=True)
        configuration = config.config_file(layout, service)
        environment = {
            **_tools(layout),
            "TMPDIR": str(temporary),
            "SPT_NOENV": "1",  # setproctitle wipes /proc/PID/environ, and with it the lab's mark
            "OS_KEYSTONE_CONFIG_FILES": str(configuration),
            "OS_NEUTRON_CONFIG_DIR": str(configuration.parent),
            "OS_NEUTRON_CONFIG_FILES": configuration.name,
            "ASGI_WORKERS": "1",
            "OCTAVIA_SOCKETS": str(config.octavia_sockets(layout)),
            "OCTAVIA_AGENT_LOG": str(layout.log_file("octavia-agent")),
        }
        application = f"{service}.wsgi.api:application"
        command = _program(layout, "serve.py", application, PORTS[service], SERVER_THREADS[service])
        command += database.filling(layout, service)
        if service == "octavia":
            database.give_up_pending(layout)
            command += ["--config-file", str(configuration)]
        processes.start(service, command, env=environment)
    wait_until(
        lambda: answers(PORTS[service]),
        f"{service} answers on port {PORTS[service]}",
        START_TIMEOUT_S,
        0.1,
        log=layout.log_file(service),
        alive=lambda: processes.running(service),
    )


def _tools(layout: Layout) -> dict[str, str]:
    """Neutron and the OVN provider run ovsdb-client to read a schema."""
    return {"PATH": f"{layout.ovs / 'bin'}:{os.environ['PATH']}"}


def _program(layout: Layout, name: str, *arguments: object) -> list[str]:
    """A program of `inside/`, run by the services' own Python."""
    python = str(layout.venv / "bin" / "python")
    return [python, "-W", "ignore", "-P", str(database.INSIDE / name), *map(str, arguments)]


def open_cloud(context: Context) -> None:
    """Make the external network, and declare the databases complete."""
    if database.is_complete(context.layout):
        return
    admin = Network("admin", database.secret(context.layout))
    network = admin.create(
        "networks",
        name="public",
        **{
            "router:external": True,
            "provider:network_type": "flat",
            "provider:physical_network": places.EXTERNAL_PHYSICAL_NETWORK,
        },
    )
    admin.create(
        "subnets",
        name="public",
        network_id=network["id"],
        ip_version=4,
        cidr=places.EXTERNAL_CIDR,
        gateway_ip=places.EXTERNAL_GATEWAY,
        enable_dhcp=False,
    )
    database.mark_complete(context.layout)


def down(context: Context) -> None:
    """Stop the cloud, whatever of it runs; its databases stay."""
    context.processes.stop(*COMPONENTS[:-1])
    context.processes.stop("mariadb", grace_s=20.0)
    shutil.rmtree(context.layout.run / "tmp", ignore_errors=True)
