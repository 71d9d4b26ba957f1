"""The lab's cloud: MariaDB, Keystone, Neutron (ML2/OVN) and Octavia (OVN provider) as ordinary processes.

Knows how they are configured, started, asked and stopped. Does not know the datapath (`lab.network`) or Kubernetes.
"""

from kuryrctl.lab.openstack.services import COMPONENTS, Component, components, down, password, stages

__all__ = ["COMPONENTS", "Component", "components", "down", "password", "stages"]
