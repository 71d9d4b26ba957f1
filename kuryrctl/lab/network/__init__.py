"""The lab's wires: namespaces, bridges, Open vSwitch and OVN on three chassis, and one VM-like endpoint.

Knows links, addresses and OVN's processes. Does not know Neutron's objects (but for the VM's port) or Kubernetes.
"""

from kuryrctl.lab.network.plan import components, down, stages, vswitchd_aborts
from kuryrctl.lab.network.vm import Vm, vm_down, vm_up

__all__ = ["Vm", "components", "down", "stages", "vm_down", "vm_up", "vswitchd_aborts"]
