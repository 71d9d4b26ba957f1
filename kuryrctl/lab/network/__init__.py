"""The lab's wires: namespaces, bridges, Open vSwitch and OVN on three chassis, and one VM-like endpoint.

Knows links, addresses and OVN's processes. Does not know Neutron's objects (but for the VM's port) or Kubernetes.
"""

from kuryrctl.lab.network.plan import chassis_deaths, components, down, stages
from kuryrctl.lab.network.vm import Vm, vm_down, vm_up

__all__ = ["Vm", "chassis_deaths", "components", "down", "stages", "vm_down", "vm_up"]
