"""A real OVN on the private switch: northd and one ovn-controller; the test plays Neutron."""

from __future__ import annotations

from functools import partial

from kuryrctl.core.cluster import Interface
from kuryrctl.lab.process import listens
from tests.functional.node.switch import Switch, eventually

CHASSIS = "node1"


class Ovn:
    """OVN's two databases, northd and one ovn-controller on the switch."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        folder, share = switch.folder, switch.tree / "share" / "ovn"
        for name in ("nb", "sb"):
            switch.tool("ovsdb-tool", "create", f"{folder}/{name}.db", f"{share}/ovn-{name}.ovsschema")
            switch.run("ovsdb-server", f"{folder}/{name}.db", f"--remote=punix:{folder}/{name}.sock", control=name)
            eventually(partial(listens, folder / f"{name}.sock"), f"{name} listens")
        self._nb = f"unix:{folder}/nb.sock"
        self.nb("init")
        switch.run("ovn-northd", f"--ovnnb-db={self._nb}", f"--ovnsb-db=unix:{folder}/sb.sock", control="northd")
        switch.vsctl(
            "set",
            "Open_vSwitch",
            ".",
            f"external_ids:system-id={CHASSIS}",
            f"external_ids:ovn-remote=unix:{folder}/sb.sock",
            "external_ids:ovn-encap-type=geneve",
            "external_ids:ovn-encap-ip=127.0.0.1",
            "external_ids:ovn-bridge-datapath-type=netdev",
        )
        # ovn-controller 25.03 sets this itself, and then segfaults in 1 of 15 starts.
        switch.vsctl("set-fail-mode", "br-int", "secure")
        switch.run("ovn-controller", switch.ovsdb, control="controller")
        self.nb("ls-add", "pods")

    def nb(self, *arguments: str) -> str:
        return self._switch.tool("ovn-nbctl", f"--db={self._nb}", *arguments)

    def add_port(self, interface: Interface) -> None:
        """As Neutron does for a port that is bound to this chassis."""
        addresses = " ".join([interface.mac_address, *(each.partition("/")[0] for each in interface.addresses)])
        self.nb(
            *("lsp-add", "pods", interface.port_id),
            *("--", "lsp-set-addresses", interface.port_id, addresses),
            *("--", "lsp-set-port-security", interface.port_id, addresses),
            *("--", "set", "Logical_Switch_Port", interface.port_id, f"options:requested-chassis={CHASSIS}"),
        )

    def delete_port(self, interface: Interface) -> None:
        self.nb("lsp-del", interface.port_id)
