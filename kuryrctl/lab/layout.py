"""Where everything of the lab lives: every folder, name, address and port. Pure.

Knows no process and touches no file. Whoever needs an address or a path of the lab takes it from here, so that two
parts never disagree. The networks were chosen to collide with little: no 10.0/16, 172.17/16, 192.168/16, 192.0.2.0/24.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

MANAGEMENT_BRIDGE = "labk0"  # a kernel bridge: nodes, API server
MANAGEMENT_CIDR = "10.254.77.0/24"
MANAGEMENT_HOST = "10.254.77.254"  # the root namespace's address on it

UNDERLAY_BRIDGE = "br-under"  # OVS bridge of the root chassis: the switch between the chassis' tunnels
UNDERLAY_CIDR = "172.30.0.0/24"
UNDERLAY_HOST = "172.30.0.254"
UNDERLAY_MTU_BYTES = 1600

EXTERNAL_BRIDGE = "br-ex"
EXTERNAL_PHYSICAL_NETWORK = "public"
EXTERNAL_CIDR = "172.24.4.0/24"
EXTERNAL_GATEWAY = "172.24.4.1"  # the root namespace's address on br-ex

POD_CIDRS = ("10.65.0.0/22", "fd00:10:65::/64")
SERVICE_CIDRS = ("10.96.0.0/16", "fd00:10:96::/112")
KUBERNETES_SERVICE_IPS = ("10.96.0.1", "fd00:10:96::1")
CLUSTER_DNS_IPS = ("10.96.0.10", "fd00:10:96::a")
CLUSTER_DOMAIN = "cluster.local"

HOST_LINK = "labpods0"  # the root namespace's foot in the pods' network, by which the API server reaches Services

API_SERVER_PORT = 16443  # on MANAGEMENT_HOST
ETCD_PORT = 12379  # all others on 127.0.0.1
ETCD_PEER_PORT = 12380
CONTROLLER_MANAGER_PORT = 20257
SCHEDULER_PORT = 20259
KEYSTONE_PORT = 15000
NEUTRON_PORT = 19696
OCTAVIA_PORT = 19876

NETNS_DIR = Path("/run/netns")
MACHINE_DIR = Path("/run/kuryrctl-lab")  # which state folder's lab this machine runs, and the nodes' holders
MARKER = "KURYRCTL_LAB"  # in the environment of every process of the lab, with the state folder as value

DEFAULT_STATE = Path("/var/lib/kuryrctl/lab")
DEFAULT_CACHE = Path("/var/cache/kuryrctl/lab")
LONGEST_STATE_PATH = 60  # unix socket paths below it must stay under 108 bytes


class Node(msgspec.Struct, frozen=True):
    """One node of the cluster: a network, mount and UTS namespace that is also an OVN chassis."""

    name: str
    index: int

    @property
    def netns(self) -> str:
        """Name of its network namespace, and of the host end of its management veth."""
        return f"lab-{self.name}"

    @property
    def address(self) -> str:
        """Its management address (eth0), which is its Kubernetes InternalIP."""
        return MANAGEMENT_CIDR.replace(".0/24", f".{self.index}")

    @property
    def underlay_address(self) -> str:
        """Its tunnel end, on its br-phy."""
        return UNDERLAY_CIDR.replace(".0/24", f".{self.index}")

    @property
    def underlay_link(self) -> str:
        """Host end of its underlay veth, a port of br-under; the other end is `under0`."""
        return f"u-{self.name}"


NODES = (Node("node1", 1), Node("node2", 2))


def node_named(name: str) -> Node:
    """The node called `name`; KeyError for any other."""
    return {node.name: node for node in NODES}[name]


class Layout(msgspec.Struct, frozen=True):
    """Folders of one lab.

    `state` holds what `reset` wipes (configuration, databases, logs, the nodes' roots); `down` keeps the databases.
    `cache` holds what was downloaded and built, by version; it survives `reset`.
    """

    state: Path = DEFAULT_STATE
    cache: Path = DEFAULT_CACHE

    @classmethod
    def of(cls, environment: Mapping[str, str], state: str | None = None, cache: str | None = None) -> "Layout":
        """The folders an option names, else KURYRCTL_LAB_STATE / KURYRCTL_LAB_CACHE, else the defaults."""
        return cls(
            state=Path(state or environment.get("KURYRCTL_LAB_STATE") or DEFAULT_STATE).absolute(),
            cache=Path(cache or environment.get("KURYRCTL_LAB_CACHE") or DEFAULT_CACHE).absolute(),
        )

    # --- state ---
    @property
    def run(self) -> Path:
        """Sockets and pid files; nothing here outlives `down`."""
        return self.state / "run"

    @property
    def log(self) -> Path:
        return self.state / "log"

    @property
    def etc(self) -> Path:
        return self.state / "etc"

    @property
    def db(self) -> Path:
        """Databases: MariaDB, OVN, OVS (one folder each), etcd."""
        return self.state / "db"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    def log_file(self, component: str) -> Path:
        return self.log / f"{component}.log"

    def pid_file(self, component: str) -> Path:
        return self.run / "pid" / component

    def node_dir(self, node: str) -> Path:
        """What a node would have on its own disk: kubelet root, containerd root, net.d, cni-bin."""
        return self.state / "nodes" / node

    def node_run(self, node: str) -> Path:
        """A node's sockets."""
        return self.run / node

    def cgroup(self, node: str) -> str:
        """The node's kubelet's cgroup root, in every hierarchy; a kubelet ends whatever it does not know below it."""
        return f"kuryrctl-{zlib.crc32(str(self.state).encode()):08x}-{node}"

    def cni_conf_dir(self, node: str) -> Path:
        return self.node_dir(node) / "net.d"

    def cni_bin_dir(self, node: str) -> Path:
        """Where `node install` puts kuryr-cni."""
        return self.node_dir(node) / "cni-bin"

    def agent_socket(self, node: str) -> Path:
        return self.node_run(node) / "agent.sock"

    def containerd_socket(self, node: str) -> Path:
        return self.node_run(node) / "containerd.sock"

    def ovs_run(self, chassis: str) -> Path:
        """OVS_RUNDIR and OVN_RUNDIR of a chassis: a node's name, or `root`."""
        return self.run / "ovs" / chassis

    def ovsdb_socket(self, chassis: str) -> Path:
        """The local ovsdb-server of a chassis."""
        return self.ovs_run(chassis) / "db.sock"

    @property
    def ovn_run(self) -> Path:
        """OVN_RUNDIR of the central databases: ovnnb_db.sock, ovnsb_db.sock."""
        return self.run / "ovn"

    def kubeconfig(self, name: str = "admin") -> Path:
        return self.etc / f"{name}.kubeconfig"

    @property
    def clouds_yaml(self) -> Path:
        return self.etc / "clouds.yaml"

    @property
    def kuryr_yaml(self) -> Path:
        """The engine's and the agents' configuration file."""
        return self.etc / "kuryrctl.yaml"

    # --- cache ---
    @property
    def bin(self) -> Path:
        """Links to the built binaries: kubectl, kubelet, containerd, ctr, runc, etcd, cnitool, …"""
        return self.cache / "bin"

    @property
    def plugins(self) -> Path:
        """CNI plugins of containernetworking."""
        return self.cache / "bin" / "cni"

    @property
    def venv(self) -> Path:
        """The virtual environment of the OpenStack services and clients."""
        return self.cache / "venv"

    @property
    def ovs(self) -> Path:
        """Open vSwitch and OVN: bin/ (daemons and tools), share/openvswitch/*.ovsschema, share/ovn/*.ovsschema."""
        return self.cache / "ovs"

    @property
    def images(self) -> Path:
        """OCI archives to import on every node."""
        return self.cache / "images"
