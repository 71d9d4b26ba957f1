"""The stages that make the lab's network, and their end."""

import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kuryrctl.lab import layout as places
from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import NODES, Layout
from kuryrctl.lab.network import chassis as ovs
from kuryrctl.lab.network import links
from kuryrctl.lab.network.chassis import ALL, Chassis
from kuryrctl.lab.network.vm import vm_down
from kuryrctl.lab.openstack import Component
from kuryrctl.lab.process import listens, run, wait_until
from kuryrctl.lab.stages import Context, Stage

CENTRAL = ("ovn-northd", "ovn-nb", "ovn-sb")
DATABASES = {"ovn-nb": ("ovnnb_db.sock", "ovn-nb.ovsschema"), "ovn-sb": ("ovnsb_db.sock", "ovn-sb.ovsschema")}
START_TIMEOUT_S = 30.0
DEATH = re.compile(r"crashes: pid \d+ died|pid \d+ died, (?:killed|exit)|Assertion .* failed|assertion .* failed")


def stages() -> list[Stage]:
    """`node-networks` gives the nodes their namespaces, `ovn` OVN's databases, `chassis-NAME` a datapath each.

    `ovn` waits for lab.openstack's `openstack-state`, which may wipe a half-made cloud.
    """
    return [
        Stage("node-networks", "laying cables between the nodes", lay_cables),
        Stage("ovn", "starting OVN's databases", start_central, ("openstack-state",)),
        *(
            Stage(f"chassis-{each.name}", f"starting chassis {each.name}", _starter(each), ("ovn", "node-networks"))
            for each in ALL
        ),
    ]


def _starter(each: Chassis) -> Callable[[Context], None]:
    return lambda context: ovs.start(context, each)


def components() -> list[Component]:
    """Every daemon of the network, as `lab status` shows it."""
    found = [Component(name, _running(name)) for name in CENTRAL]
    for each in ALL:
        controller, switch, database = each.daemons
        found += [
            Component(database, _running(database)),
            Component(switch, _asked(ovs.switches, each)),
            Component(controller, _asked(ovs.controlled, each)),
        ]
    return found


def _running(name: str) -> Callable[[Context], bool]:
    return lambda context: context.processes.running(name)


def _asked(question: Callable[[Context, Chassis], bool], each: Chassis) -> Callable[[Context], bool]:
    return lambda context: question(context, each)


def lay_cables(context: Context) -> None:
    """Namespaces of the nodes, each with eth0 on the management bridge and under0 on the underlay."""
    before = _mounts_before(context.layout)
    if not before.exists():
        before.write_text(str(links.mounts_of_namespaces()))
    bridge = places.MANAGEMENT_BRIDGE
    if not links.exists(bridge):
        links.ip(f"link add {bridge} type bridge")
    prefix = places.MANAGEMENT_CIDR.partition("/")[2]
    links.ip(f"addr replace {places.MANAGEMENT_HOST}/{prefix} dev {bridge}", f"link set {bridge} up")
    for node in NODES:
        if links.ensure_namespace(node.netns):
            # The machine was started anew: what the node's switch was connected to is gone.
            ovs.database_file(context.layout, Chassis(node.name, node)).unlink(missing_ok=True)
        # arp_ignore, and `arp off` on the underlay's host end: else the kernel answers for addresses that OVN owns.
        links.sysctl(node.netns, net__ipv4__ip_forward=1, net__ipv4__conf__all__arp_ignore=1)
        links.ensure_veth(node.netns, "eth0", node.netns)
        links.ensure_veth(node.underlay_link, ovs.NODE_UNDERLAY_LINK, node.netns)
        links.ip(
            f"link set {node.netns} master {bridge} up",
            f"link set {node.underlay_link} mtu {places.UNDERLAY_MTU_BYTES} arp off up",
        )
        links.ip(
            f"addr replace {node.address}/{prefix} dev eth0",
            "link set eth0 up",
            f"route replace default via {places.MANAGEMENT_HOST}",
            f"link set {ovs.NODE_UNDERLAY_LINK} mtu {places.UNDERLAY_MTU_BYTES} up",
            netns=node.netns,
        )


def start_central(context: Context) -> None:
    """OVN's two databases and the daemon that translates between them."""
    layout, processes = context.layout, context.processes
    layout.ovn_run.mkdir(parents=True, exist_ok=True)
    env = {"OVN_RUNDIR": str(layout.ovn_run), "OVS_RUNDIR": str(layout.ovn_run)}
    begun = [name for name in DATABASES if not processes.running(name)]
    for name, (socket, schema) in DATABASES.items():
        path = layout.db / "ovn" / f"{name}.db"
        if name not in begun:
            continue
        (layout.ovn_run / socket).unlink(missing_ok=True)
        path.with_name(f".{path.name}.~lock~").unlink(missing_ok=True)
        if not path.exists():
            ovs.create_database(layout, path, layout.ovs / "share/ovn" / schema)
        command = [ovs.program(layout, "ovsdb-server"), str(path), f"--remote=punix:{layout.ovn_run / socket}"]
        processes.start(name, [*command, *_options(layout, name)], env=env)
    for name, (socket, _) in DATABASES.items():
        wait_until(partial(listens, layout.ovn_run / socket), f"{name} listens on its socket", START_TIMEOUT_S, 0.01)
    northbound = f"unix:{layout.ovn_run}/ovnnb_db.sock"
    southbound = f"unix:{layout.ovn_run}/ovnsb_db.sock"
    # Neutron's maintenance worker would set this: else a load balancer's VIP is dead in its own subnet.
    settings = ("init", "--", "set", "NB_Global", ".", "options:ignore_lsp_down=false")
    run([ovs.program(layout, "ovn-nbctl"), f"--db={northbound}", *settings])
    run([ovs.program(layout, "ovn-sbctl"), f"--db={southbound}", "init"])
    if begun:  # routers never ask again for a MAC that they learnt in an earlier run and use all the time
        run([ovs.program(layout, "ovn-sbctl"), f"--db={southbound}", "--all", "destroy", "MAC_Binding"])
    command = [ovs.program(layout, "ovn-northd"), f"--ovnnb-db={northbound}", f"--ovnsb-db={southbound}"]
    processes.start("ovn-northd", [*command, *_options(layout, "ovn-northd")], env=env)


def _options(layout: Layout, name: str) -> list[str]:
    return [f"--unixctl={layout.ovn_run / name}.ctl", "--no-chdir", "-vconsole:warn", "-vsyslog:off"]


def chassis_deaths(layout: Layout) -> list[str]:
    """What the monitors of switches and controllers wrote about deaths, in this run and the one before.

    A monitor starts a crashed daemon again (ovs-vswitchd(8), --monitor): without this nobody would know. Empty is how
    it should be.
    """
    found = []
    for each in ALL:
        controller, switch, _ = each.daemons
        for name in (switch, controller):
            log = layout.log_file(name)
            for path in (log.with_suffix(".log.1"), log):
                if path.exists():
                    lines = path.read_text(errors="replace").splitlines()
                    found += [f"{name}: {line}" for line in lines if DEATH.search(line)]
    return found


def down(context: Context) -> None:
    """Stop every switch and remove every link, address and namespace of the lab, whatever of them is there."""
    vm_down(context)
    for each in reversed(ALL):  # the gateway last: the others' tunnels go through it
        ovs.stop(context, each)
    context.processes.stop(*CENTRAL)
    for node in NODES:
        links.remove_namespace(node.netns)
    links.remove_links(name for node in NODES for name in (node.netns, node.underlay_link))
    links.remove_links([places.MANAGEMENT_BRIDGE])
    before = _mounts_before(context.layout)
    if before.exists():
        links.unmount_namespaces(leave=int(before.read_text()))
        before.unlink()
    for folder in [context.layout.ovn_run, *(context.layout.ovs_run(each.name) for each in ALL)]:
        shutil.rmtree(folder, ignore_errors=True)
    left = [name for name in _own_links() if links.exists(name)]
    if left:
        raise LabError(f"links of the lab could not be removed: {', '.join(left)}", hint="kuryrctl lab down")


def _mounts_before(layout: Layout) -> Path:
    """Keeps how often the folder of namespaces was a mount before the lab's first one."""
    return layout.run / "mounts-of-netns"


def _own_links() -> list[str]:
    bridges = (places.MANAGEMENT_BRIDGE, places.HOST_LINK, *ovs.GATEWAY.bridges, "ovs-netdev")
    return [*bridges, *(name for node in NODES for name in (node.netns, node.underlay_link))]
