"""Which releases the lab is made of. Raising one here builds or fetches it beside the old one at the next `up`."""

KUBERNETES = "1.36.3"
CONTAINERD = "2.2.9"
RUNC = "1.4.3"
CNI = "1.3.0"  # cnitool
CNI_PLUGINS = "1.9.1"
COREDNS = "1.14.7"
GO_AT_LEAST = (1, 26)

DEBIAN_WITH_OVS = "trixie"  # Debian 12's Open vSwitch 3.1 aborts in userspace conntrack (lib/conntrack.c)
OVS_AT_LEAST = (3, 3)

# Current releases; what was installed is written beside the environment.
OPENSTACK_PACKAGES = (
    "keystone",
    "neutron",
    "octavia",
    "ovn-octavia-provider",
    "neutron-lib",
    "ovsdbapp",
    "openstacksdk",
    "python-openstackclient",
    "python-octaviaclient",
    "pymysql",
    "waitress",
)

# Without recommended packages; installing starts no service.
RUNTIME_APT_PACKAGES = (
    "mariadb-server",
    "ethtool",
    "iproute2",
    "util-linux",
    "busybox-static",  # these three go into the test image
    "curl",
    "netcat-openbsd",
)
BUILD_APT_PACKAGES = ("gcc", "libc6-dev", "libseccomp-dev", "pkg-config")  # runc is C and Go

PAUSE_IMAGE = "kuryr.lab/pause:1"
TEST_IMAGE = "kuryr.lab/agnhost:1"
DNS_IMAGE = f"kuryr.lab/coredns:{COREDNS}"
