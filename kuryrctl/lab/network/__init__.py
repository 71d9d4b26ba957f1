"""The lab's wires: namespaces, bridges, Open vSwitch and OVN on three chassis, a VM-like endpoint, the host's own port.

Knows links, addresses and OVN's processes. Does not know Neutron's objects (but for those two ports) or Kubernetes.
"""

from kuryrctl.lab.network.host import host_up
from kuryrctl.lab.network.plan import chassis_deaths, components, down, stages
from kuryrctl.lab.network.vm import Vm, vm_down, vm_up

__all__ = ["Vm", "chassis_deaths", "components", "down", "host_up", "stages", "vm_down", "vm_up"]
