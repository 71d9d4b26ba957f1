"""The `ovs` binder: a veth pair from the integration bridge into the pod's namespace; OVN does the rest.

Order matters, and was measured: plug, wait for the data plane (`ovn-installed`), only then let the pod's end send, then
announce. A pod that sends earlier waits a second for its ARP retry; a re-used address that is not announced is a 31 s
black hole. The pod's end is born in its namespace: a move costs 20 ms and serialises.
Knows nothing of Kubernetes or CNI.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address, ip_interface, ip_network

from kuryrctl.core.cluster import Interface
from kuryrctl.core.errors import Conflict, Invalid, KuryrError, NotFound, Owner
from kuryrctl.node import changes, interfaces, namespaces
from kuryrctl.node.binder import BindRequest, Bound, Finding, UnbindRequest, UndoStack, covers, routes_of
from kuryrctl.node.changes import Arp, State, VethEnd
from kuryrctl.node.netlink import Netlink
from kuryrctl.node.ovsdb import Attachment, Ovsdb

NAME_MAX = 15  # IFNAMSIZ - 1 (linux/if.h)
INSTALL_TIMEOUT_S = 20.0
_NOTE = "kuryr:"


class OvsBinder:
    """Binds to one bridge of this node's Open vSwitch. Safe for threads: one at a time for each port and sandbox."""

    def __init__(self, ovsdb: Ovsdb, *, install_timeout_s: float = INSTALL_TIMEOUT_S) -> None:
        self._ovsdb = ovsdb
        self._install_timeout_s = install_timeout_s
        self._locks = _KeyedLocks()

    # --- the four verbs ---
    def validate(self, request: BindRequest) -> None:
        """Values that no kernel accepts are refused before anything is touched."""
        wanted = request.interface
        if not 0 < len(wanted.name.encode()) <= NAME_MAX:
            raise _invalid(request, f'"{wanted.name}" is not an interface name of 1 to {NAME_MAX} bytes')
        if not wanted.addresses:
            raise _invalid(request, "it has no address")
        if not (request.sandbox and request.netns and request.pod_uid):
            raise _invalid(request, "sandbox, namespace and pod uid are needed")
        try:
            for address in wanted.addresses:
                ip_interface(address)
            for route in routes_of(wanted):
                ip_network(route.destination)
                ip_address(route.gateway)
            if len(bytes.fromhex(wanted.mac_address.replace(":", ""))) != 6:
                raise ValueError(f'"{wanted.mac_address}" is not a MAC address')
        except ValueError as error:
            raise _invalid(request, str(error)) from None
        with namespaces.opened(request.netns):
            pass

    def setup(self, request: BindRequest, undo: UndoStack) -> Bound:
        """Bind, or find it bound as wanted. Conflict (NODE-PORT-IN-USE) when another pod has the port."""
        with self._locks.held(f"port {request.interface.port_id}", f"sandbox {request.sandbox}"):
            for known in self._ovsdb.attachments():
                if self._is_same(known, request) and not self.check(request):
                    return _bound(request, known)
                self._make_way(known, request)
            return self._bind(request, undo)

    def teardown(self, request: UnbindRequest) -> bool:
        """Unbind whatever this sandbox has as `ifname`, plugged or half made."""
        with self._locks.held(f"sandbox {request.sandbox}"):
            found = False
            for known in self._ovsdb.attachments():
                if (known.sandbox, known.ifname) == (request.sandbox, request.ifname):
                    with self._locks.held(f"port {known.port_id}"):
                        found |= self.remove(known)
            return found or self._delete_unplugged(_note(request.sandbox, request.ifname))

    def check(self, request: BindRequest) -> list[Finding]:
        """Compare Open vSwitch and the pod's namespace with the request."""
        wanted = request.interface
        place = (request.sandbox, wanted.name)
        known = next((each for each in self._ovsdb.attachments() if (each.sandbox, each.ifname) == place), None)
        if known is None:
            return [Finding("ovs-port", f"port {wanted.port_id} is not plugged for sandbox {request.sandbox}")]
        if known.port_id != wanted.port_id:
            return [Finding("iface-id", f"{known.name} serves port {known.port_id or 'none'}, not {wanted.port_id}")]
        with Netlink() as host:
            end = host.link(known.name)
        if end is None:
            return [Finding("host-link", f"{known.name} does not exist on the node")]
        findings = [] if end.up else [Finding("host-link", f"{known.name} is down")]
        if known.error:
            findings.append(Finding("ovs-port", f"ovs-vswitchd about {known.name}: {known.error}"))
        if not known.installed:
            findings.append(Finding("data-plane", f"ovn-controller has not installed port {wanted.port_id}"))
        try:
            with Netlink(request.netns) as pod:
                return findings + list(_inside(pod, wanted))
        except (NotFound, Invalid) as gone:
            return [*findings, Finding("namespace", gone.message)]

    # --- what the agent needs besides ---
    def remove(self, known: Attachment) -> bool:
        """Unplug and delete the pair, unless another sandbox has the port by now; whether anything was there."""
        with Netlink() as host:
            device = host.link(known.name)  # by index later: the name may be somebody else's by then
            unplugged = self._ovsdb.unplug(known)
            if not unplugged and self._ovsdb.attachment(known.name) is not None:
                return False
            return (device is not None and host.delete_index(device.index)) or unplugged

    def repoint(self, known: Attachment, wanted: Interface) -> None:
        """Have a bound interface serve the port that replaced its own, and announce it again.

        Only for the same MAC and addresses: Invalid (NODE-REASSIGNED) else, since a running pod cannot change them.
        """
        if (known.mac, known.addresses) != (wanted.mac_address, wanted.addresses):
            raise Invalid(
                f"pod {known.pod} runs with {known.mac} {' '.join(known.addresses)}, but its new port {wanted.port_id} "
                f"has {wanted.mac_address} {' '.join(wanted.addresses)}",
                code="NODE-REASSIGNED",
                owner=Owner.USER,
                hint="delete the pod: its successor starts with the new addresses",
            )
        with self._locks.held(f"port {wanted.port_id}", f"sandbox {known.sandbox}"):
            self._ovsdb.repoint(known.name, wanted.port_id, self._install_timeout_s)
            with namespaces.entered(known.netns):
                interfaces.announce(known.ifname, known.mac, known.addresses)

    def stale(self) -> list[Attachment]:
        """What is plugged for pods but has no network device any more: left by a reboot, or by a namespace's end."""
        plugged = [known for known in self._ovsdb.attachments() if not known.node]
        with Netlink() as host:
            there = {link.name for link in host.links()}
        return [known for known in plugged if known.name not in there]

    def half_made(self, is_busy: Callable[[str], bool]) -> list[UnbindRequest]:
        """Pairs that a killed agent made, but never plugged. `is_busy` tells of sandboxes in work."""
        with Netlink() as host:
            noted = [(link.name, link.alias.removeprefix(_NOTE)) for link in host.links() if link.alias[:6] == _NOTE]
        idle = [(name, note) for name, note in noted if not is_busy(note.partition("/")[0])]
        plugged = {known.name for known in self._ovsdb.attachments()}  # read last: what ended meanwhile is in here
        return [UnbindRequest(*note.split("/", 1)) for name, note in idle if name not in plugged]

    # --- the parts ---
    def _is_same(self, known: Attachment, request: BindRequest) -> bool:
        return (known.port_id, known.pod_uid, known.sandbox, known.ifname, known.netns) == (
            request.interface.port_id,
            request.pod_uid,
            request.sandbox,
            request.interface.name,
            request.netns,
        )

    def _make_way(self, known: Attachment, request: BindRequest) -> None:
        """What stands in the way of the request is removed if it is the same pod's, or nobody's; else refused.

        Another network is another runtime: it did not end the pod's earlier sandbox, so that one may be running.
        """
        same_port = known.port_id == request.interface.port_id
        same_place = (known.sandbox, known.ifname) == (request.sandbox, request.interface.name)
        if not (same_port or same_place):
            return
        of_another = known.pod_uid != request.pod_uid or (known.network != request.network and not same_place)
        if same_port and of_another and self._has_device(known):
            raise Conflict(
                f"port {known.port_id} is in use by pod {known.pod or known.node} (uid {known.pod_uid}, "
                f"sandbox {known.sandbox}, network {known.network or 'none'})",
                code="NODE-PORT-IN-USE",
                owner=Owner.NODE,
                hint="kuryrctl node list shows what is plugged on this node",
            )
        self.remove(known)

    def _has_device(self, known: Attachment) -> bool:
        with Netlink() as host:
            return host.link(known.name) is not None

    def _bind(self, request: BindRequest, undo: UndoStack) -> Bound:
        wanted = request.interface
        name = host_link_name(wanted.port_id)
        userspace = self._ovsdb.userspace_datapath()
        planned = _attachment(request, name)
        with Netlink() as host, namespaces.opened(request.netns) as pod_namespace, Netlink(pod_namespace) as pod:
            host.delete(name)  # half made by an agent that was killed
            if pod.link(wanted.name) is not None:
                raise Conflict(
                    f"{request.netns} already has an interface {wanted.name}",
                    code="NODE-IFNAME-TAKEN",
                    owner=Owner.NODE,
                    hint="another CNI plugin configured it, or another sandbox of the pod",
                )
            host.apply(
                changes.add_veth(
                    VethEnd(name, mtu=wanted.mtu, arp=Arp.OFF),
                    VethEnd(wanted.name, pod_namespace, mac=wanted.mac_address, mtu=wanted.mtu),
                ),
                # In the same batch: an agent killed in between would leave a pair that nobody knows.
                changes.note_on_link(name, _note(request.sandbox, wanted.name)),
            )
            undo.push(f"delete {name}", _deleter(name))
            interfaces.keep_silent(name)
            host.apply(changes.set_link_named(name, state=State.UP))
            with namespaces.entered(pod_namespace):
                if userspace:
                    interfaces.checksum_offload_off(wanted.name)
                if _has_ipv6(wanted):
                    interfaces.static_ipv6(wanted.name)
            if userspace:
                interfaces.checksum_offload_off(name)
            undo.push(f"unplug {name}", lambda: self._ovsdb.unplug(planned))
            self._ovsdb.plug_and_wait(planned, self._install_timeout_s)
            index = pod.index_of(wanted.name)
            pod.apply(pod.loopback_up(), *_configuration(index, wanted))
            with namespaces.entered(pod_namespace):
                interfaces.announce(wanted.name, wanted.mac_address, wanted.addresses)
        return _bound(request, planned)

    def _delete_unplugged(self, note: str) -> bool:
        """A pair that was made, but not plugged, is known by the note on its link only."""
        with Netlink() as host:
            return any(host.delete(link.name) for link in host.links() if link.alias == note)


class _KeyedLocks:
    """One lock for each key, while somebody wants it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.RLock, int]] = {}

    @contextmanager
    def held(self, *keys: str) -> Iterator[None]:
        """Hold the locks of the keys, always taken in the same order."""
        taken: list[str] = []
        try:
            for key in sorted(set(keys), reverse=True):  # sandbox before port, as teardown needs it
                with self._guard:
                    lock, users = self._locks.get(key) or (threading.RLock(), 0)
                    self._locks[key] = (lock, users + 1)
                lock.acquire()
                taken.append(key)
            yield
        finally:
            for key in reversed(taken):
                with self._guard:
                    lock, users = self._locks.pop(key)
                    if users > 1:
                        self._locks[key] = (lock, users - 1)
                lock.release()


def host_link_name(port_id: str) -> str:
    """The device of a port on the bridge, as every OVN deployment names it: ``tap`` and 11 characters of the id."""
    return f"tap{port_id[:11]}"


def _configuration(index: int, wanted: Interface) -> Iterator[changes.Change]:
    for address in wanted.addresses:
        yield changes.add_address(index, address)
    yield changes.set_link(index, state=State.UP)
    for route in routes_of(wanted):
        on_link = not covers(wanted, route.gateway)
        yield changes.add_route(route.destination, index=index, gateway=route.gateway, on_link=on_link)


def _inside(pod: Netlink, wanted: Interface) -> Iterator[Finding]:
    link = pod.link(wanted.name)
    if link is None:
        yield Finding("interface", f"{wanted.name} does not exist in the pod")
        return
    if not link.up:
        yield Finding("interface", f"{wanted.name} is down in the pod")
    if link.mtu != wanted.mtu:
        yield Finding("mtu", f"{wanted.name} has MTU {link.mtu}, not {wanted.mtu}")
    if link.mac != wanted.mac_address:
        yield Finding("mac", f"{wanted.name} has MAC {link.mac}, not {wanted.mac_address}")
    there = {address.address for address in pod.addresses(link.index)}
    for missing in sorted({str(ip_interface(address)) for address in wanted.addresses} - there):
        yield Finding("address", f"{wanted.name} lacks {missing}")
    routes = {(route.destination, route.gateway) for route in pod.routes() if route.index == link.index}
    for route in routes_of(wanted):
        if (str(ip_network(route.destination)), str(ip_address(route.gateway))) not in routes:
            yield Finding("route", f"the pod lacks the route {route.destination} via {route.gateway}")


def _attachment(request: BindRequest, name: str) -> Attachment:
    return Attachment(
        name=name,
        port_id=request.interface.port_id,
        mac=request.interface.mac_address,
        addresses=request.interface.addresses,
        pod_uid=request.pod_uid,
        pod=request.pod,
        sandbox=request.sandbox,
        ifname=request.interface.name,
        netns=request.netns,
        network=request.network,
        since=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _bound(request: BindRequest, known: Attachment) -> Bound:
    return Bound(request=request, host_link=known.name, since=known.since)


def _deleter(name: str) -> Callable[[], object]:
    def delete() -> None:
        with Netlink() as host:
            host.delete(name)

    return delete


def _note(sandbox: str, ifname: str) -> str:
    return f"{_NOTE}{sandbox}/{ifname}"


def _has_ipv6(interface: Interface) -> bool:
    return any(":" in address for address in interface.addresses)


def _invalid(request: BindRequest, what: str) -> KuryrError:
    return Invalid(
        f"the interface of pod {request.pod} cannot be made: {what}",
        code="NODE-BIND-INVALID",
        owner=Owner.KURYRCTL,
        hint=f"kubectl get kuryrport -n {request.pod.replace('/', ' ')} -o yaml shows what was assigned",
    )
