"""One OVN chassis: an ovsdb-server, an ovs-vswitchd under its monitor, an ovn-controller; the userspace datapath.

The root namespace's chassis is the gateway: it has the external bridge, and the bridge that is the switch between the
tunnels. A node's chassis runs inside the node's network namespace. The tunnel end is the address of the bridge that the
underlay link is a port of: that is what makes geneve work without the kernel's help.
"""

from pathlib import Path

import msgspec

from kuryrctl.lab import layout as places
from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import NODES, Layout, Node
from kuryrctl.lab.network import links
from kuryrctl.lab.process import listens, run, wait_until
from kuryrctl.lab.stages import Context

ROOT = "root"
INTEGRATION_BRIDGE = "br-int"
NODE_UNDERLAY_BRIDGE = "br-phy"
NODE_UNDERLAY_LINK = "under0"
EXTERNAL_MAC = "02:4b:59:00:01:fe"  # also after a crash of the switch: OVN's routers do not ask again for a MAC in use
NEIGHBOUR_AGE_S = 3600
START_TIMEOUT_S = 30.0


class Chassis(msgspec.Struct, frozen=True):
    """One chassis by name; `node` is None for the gateway in the root namespace."""

    name: str
    node: Node | None = None

    @property
    def address(self) -> str:
        """Its tunnel end."""
        return self.node.underlay_address if self.node else places.UNDERLAY_HOST

    @property
    def bridge(self) -> str:
        """The bridge that has the tunnel end's address."""
        return NODE_UNDERLAY_BRIDGE if self.node else places.UNDERLAY_BRIDGE

    @property
    def mac(self) -> str:
        """That bridge's MAC, chosen by us so that every chassis knows the others' before they run."""
        return f"02:4b:59:00:00:{self.node.index if self.node else 254:02x}"

    @property
    def netns(self) -> str | None:
        return self.node.netns if self.node else None

    @property
    def daemons(self) -> tuple[str, str, str]:
        """Process names: the controller, the switch, the database; in the order in which they are stopped."""
        return f"ovn-controller-{self.name}", f"ovs-vswitchd-{self.name}", f"ovsdb-{self.name}"

    @property
    def bridges(self) -> tuple[str, ...]:
        if self.node:
            return (INTEGRATION_BRIDGE, NODE_UNDERLAY_BRIDGE)
        return (INTEGRATION_BRIDGE, places.EXTERNAL_BRIDGE, places.UNDERLAY_BRIDGE)


GATEWAY = Chassis(ROOT)
ALL = (GATEWAY, *(Chassis(node.name, node) for node in NODES))


def environment(layout: Layout, chassis: Chassis) -> dict[str, str]:
    """Where OVS and OVN keep their sockets; everything of a chassis needs it."""
    folder = str(layout.ovs_run(chassis.name))
    return {"OVS_RUNDIR": folder, "OVN_RUNDIR": folder, "OVS_LOGDIR": str(layout.log), "OVN_LOGDIR": str(layout.log)}


def program(layout: Layout, name: str) -> str:
    return str(layout.ovs / "bin" / name)


def database_file(layout: Layout, chassis: Chassis) -> Path:
    return layout.db / "ovs" / f"{chassis.name}.db"


def control_socket(layout: Layout, chassis: Chassis, daemon: str) -> Path:
    return layout.ovs_run(chassis.name) / f"{daemon}.ctl"


def vsctl(layout: Layout, chassis: Chassis, *arguments: str) -> str:
    """ovs-vsctl on the chassis' database; does not wait for the switch."""
    return run(
        [program(layout, "ovs-vsctl"), f"--db=unix:{layout.ovsdb_socket(chassis.name)}", "--no-wait", *arguments]
    )


def appctl(layout: Layout, chassis: Chassis, daemon: str, *arguments: str, timeout_s: int = 10) -> str:
    """A command to one of the chassis' daemons by its control socket (`ovs-vswitchd`, `ovn-controller`)."""
    socket = control_socket(layout, chassis, daemon)
    return run([program(layout, "ovs-appctl"), f"--timeout={timeout_s}", "-t", str(socket), *arguments])


def start(context: Context, chassis: Chassis) -> None:
    """Start the chassis' three daemons and its tunnel end, with the neighbours it needs."""
    layout, processes = context.layout, context.processes
    controller, switch, database = chassis.daemons
    env = environment(layout, chassis)
    # Only its network namespace is a chassis' business: it starts before the node's other namespaces and outlives them.
    place = ["nsenter", f"--net={places.NETNS_DIR / chassis.netns}", "--"] if chassis.netns else []
    layout.ovs_run(chassis.name).mkdir(parents=True, exist_ok=True)
    remote = f"unix:{layout.ovsdb_socket(chassis.name)}"
    if not processes.running(database):
        _create_database(layout, chassis)
        command = [program(layout, "ovsdb-server"), str(database_file(layout, chassis)), f"--remote=p{remote}"]
        processes.start(database, [*place, *command, *_options(layout, chassis, "ovsdb-server")], env=env)
    wait_until(
        lambda: listens(layout.ovsdb_socket(chassis.name)),
        f"{database} listens on its socket",
        START_TIMEOUT_S,
        0.01,
        log=layout.log_file(database),
        alive=lambda: processes.running(database),
    )
    _configure(layout, chassis)
    if not processes.running(switch):
        control_socket(layout, chassis, "ovs-vswitchd").unlink(missing_ok=True)
        command = [program(layout, "ovs-vswitchd"), "--monitor", remote]
        processes.start(switch, [*place, *command, *_options(layout, chassis, "ovs-vswitchd")], env=env)
    wait_until(
        lambda: _bridges_are_there(layout, chassis),
        f"{switch} made its bridges",
        START_TIMEOUT_S,
        0.02,
        log=layout.log_file(switch),
        alive=lambda: processes.running(switch),
    )
    _address(chassis)
    _neighbours(layout, chassis)
    if not processes.running(controller):
        control_socket(layout, chassis, "ovn-controller").unlink(missing_ok=True)
        command = [program(layout, "ovn-controller"), "--monitor", remote]
        processes.start(controller, [*place, *command, *_options(layout, chassis, "ovn-controller")], env=env)


def _options(layout: Layout, chassis: Chassis, daemon: str) -> list[str]:
    return [f"--unixctl={control_socket(layout, chassis, daemon)}", "--no-chdir", "-vconsole:warn", "-vsyslog:off"]


def _create_database(layout: Layout, chassis: Chassis) -> None:
    layout.ovsdb_socket(chassis.name).unlink(missing_ok=True)
    control_socket(layout, chassis, "ovsdb-server").unlink(missing_ok=True)
    path = database_file(layout, chassis)
    path.with_name(f".{path.name}.~lock~").unlink(missing_ok=True)
    if not path.exists():
        create_database(layout, path, layout.ovs / "share/openvswitch/vswitch.ovsschema")


def create_database(layout: Layout, path: Path, schema: Path) -> None:
    """A new OVSDB file, complete at once or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    run([program(layout, "ovsdb-tool"), "create", str(new), str(schema)])
    new.replace(path)
    new.with_name(f".{new.name}.~lock~").unlink(missing_ok=True)


def _configure(layout: Layout, chassis: Chassis) -> None:
    """The chassis' identity and bridges, in one transaction."""
    identity = {
        "system-id": chassis.name,
        "hostname": chassis.name,
        "ovn-remote": f"unix:{layout.ovn_run}/ovnsb_db.sock",
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": chassis.address,
        "ovn-bridge": INTEGRATION_BRIDGE,
        "ovn-bridge-datapath-type": "netdev",
        "ovn-monitor-all": "true",
    }
    if chassis.node is None:
        identity["ovn-bridge-mappings"] = f"{places.EXTERNAL_PHYSICAL_NETWORK}:{places.EXTERNAL_BRIDGE}"
        identity["ovn-cms-options"] = "enable-chassis-as-gw"
    command = ["set", "Open_vSwitch", "."]
    command += [f'external_ids:{name}="{value}"' for name, value in identity.items()]
    for bridge in chassis.bridges:
        command += ["--", "--may-exist", "add-br", bridge]
        command += ["--", "set", "Bridge", bridge, "datapath_type=netdev"]
    command += ["--", "set", "Bridge", INTEGRATION_BRIDGE, "fail_mode=secure"]
    command += ["--", "set", "Bridge", chassis.bridge, f'other_config:hwaddr="{chassis.mac}"']
    if chassis.node is None:
        command += ["--", "set", "Bridge", places.EXTERNAL_BRIDGE, f'other_config:hwaddr="{EXTERNAL_MAC}"']
    for port in _underlay_ports(chassis):
        command += ["--", "--may-exist", "add-port", chassis.bridge, port]
    vsctl(layout, chassis, "init")
    vsctl(layout, chassis, *command)


def _underlay_ports(chassis: Chassis) -> list[str]:
    if chassis.node is None:
        return [node.underlay_link for node in NODES]
    return [NODE_UNDERLAY_LINK]


def _bridges_are_there(layout: Layout, chassis: Chassis) -> bool:
    """Whether the switch listens and its bridges are links: with a kept database they come some time after it."""
    if not listens(control_socket(layout, chassis, "ovs-vswitchd")):
        return False
    return all(links.exists(bridge, chassis.netns) for bridge in chassis.bridges)


def _address(chassis: Chassis) -> None:
    prefix = places.UNDERLAY_CIDR.partition("/")[2]
    commands = [f"addr replace {chassis.address}/{prefix} dev {chassis.bridge}", f"link set {chassis.bridge} up"]
    if chassis.node is None:
        prefix = places.EXTERNAL_CIDR.partition("/")[2]
        commands += [
            f"addr replace {places.EXTERNAL_GATEWAY}/{prefix} dev {places.EXTERNAL_BRIDGE}",
            f"link set {places.EXTERNAL_BRIDGE} up",
        ]
    links.ip(*commands, netns=chassis.netns)


def _neighbours(layout: Layout, chassis: Chassis) -> None:
    """Tell the switch the other tunnel ends' MACs: it drops the first packet to one it does not know."""
    appctl(layout, chassis, "ovs-vswitchd", "tnl/neigh/aging", str(NEIGHBOUR_AGE_S))
    for other in ALL:
        if other != chassis:
            appctl(layout, chassis, "ovs-vswitchd", "tnl/arp/set", chassis.bridge, other.address, other.mac)


def stop(context: Context, chassis: Chassis) -> None:
    """End the chassis' daemons so that they take their Chassis row and their links with them; forget its database."""
    layout, processes = context.layout, context.processes
    controller, switch, _ = chassis.daemons
    for name, daemon, command in (
        (controller, "ovn-controller", ("exit",)),
        (switch, "ovs-vswitchd", ("exit", "--cleanup")),
    ):
        if processes.running(name):
            _ask_to_leave(context, chassis, daemon, command)
            processes.stop(name)
    processes.stop(*chassis.daemons)
    database_file(layout, chassis).unlink(missing_ok=True)
    if chassis.node is None:
        # Of a killed switch these stay: its taps are persistent.
        links.remove_links([places.HOST_LINK, *chassis.bridges, "ovs-netdev"])


def _ask_to_leave(context: Context, chassis: Chassis, daemon: str, command: tuple[str, ...]) -> None:
    try:
        appctl(context.layout, chassis, daemon, *command, timeout_s=5)
    except LabError as error:
        context.report(f"{daemon} of {chassis.name} is stopped by force: {error.message}")


def switches(context: Context, chassis: Chassis) -> bool:
    """Whether the chassis' switch answers."""
    return bool(_answer(context, chassis, "ovs-vswitchd", "version"))


def controlled(context: Context, chassis: Chassis) -> bool:
    """Whether the chassis' controller is connected to OVN's southbound database."""
    return _answer(context, chassis, "ovn-controller", "connection-status") == "connected"


def _answer(context: Context, chassis: Chassis, daemon: str, command: str) -> str:
    """What a daemon says to a command within two seconds; empty for nothing."""
    try:
        return appctl(context.layout, chassis, daemon, command, timeout_s=2).strip()
    except LabError:
        return ""
