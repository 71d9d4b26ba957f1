"""This node's Open vSwitch database: plug, unplug and re-point ports of the integration bridge; know what is plugged.

The rows are the agent's only memory: whom a port serves stands in the interface's external_ids (ovs-vswitchd.conf.db(5)
keeps `iface-id`, `attached-mac`, `iface-status`; the ``kuryr-`` keys are ours), so an agent that starts again knows
everything. Knows nothing of namespaces, Kubernetes or CNI.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from ovs import poller
from ovs.db import idl
from ovsdbapp.backend.ovs_idl import command, connection, idlutils
from ovsdbapp.schema.open_vswitch import impl_idl

from kuryrctl.core.errors import Conflict, NotFound, Owner, Retryable, Unavailable

_COLUMNS: Final = {
    "Bridge": ["name", "ports", "datapath_type"],
    "Port": ["name", "interfaces"],
    "Interface": ["name", "type", "mac", "mtu_request", "ofport", "error", "external_ids"],
}
"""What is replicated: what else ovs-vswitchd writes, statistics above all, would cost a decoding in Python each."""
_INSTALLED: Final = "ovn-installed"
_PORT_ID, _MAC, _STATUS = "iface-id", "attached-mac", "iface-status"
_OWN: Final = {
    "pod_uid": "kuryr-pod-uid",
    "pod": "kuryr-pod",
    "sandbox": "kuryr-sandbox",
    "ifname": "kuryr-ifname",
    "netns": "kuryr-netns",
    "network": "kuryr-network",
    "since": "kuryr-since",
    "node": "kuryr-node",
}
_ADDRESSES: Final = "kuryr-addresses"


class Attachment(Struct, frozen=True):
    """A port of the integration bridge that we plugged: for a pod, or (`node` set) for the node itself.

    `name` is the network device on the bridge; `ifname` the interface in the namespace at path `netns`; `network` the
    name of the CNI network that asked; `since` RFC 3339; `mtu` what is asked of an internal port (bytes); `ofport`
    its OpenFlow number, 0 until ovs-vswitchd took it up; `installed` whether ovn-controller said that the data plane is
    ready; `error` what ovs-vswitchd said.
    """

    name: str
    port_id: str
    mac: str
    addresses: tuple[str, ...] = ()
    pod_uid: str = ""
    pod: str = ""
    sandbox: str = ""
    ifname: str = ""
    netns: str = ""
    network: str = ""
    since: str = ""
    node: str = ""
    mtu: int = 0
    ofport: int = 0
    installed: bool = False
    error: str = ""


class Ovsdb:
    """One connection to the database at `address` (``unix:/PATH``), for the ports of one bridge. Safe for threads.

    It reconnects by itself. Raises Unavailable when the database does not answer within `timeout_s`.
    """

    def __init__(self, address: str, bridge: str, *, timeout_s: float = 10.0) -> None:
        self.bridge = bridge
        self.address = address
        self._timeout_s = timeout_s
        try:
            helper = idlutils.get_schema_helper(address, "Open_vSwitch")
            for table, columns in _COLUMNS.items():
                helper.register_columns(table, columns)
            self._installed = _Installed()
            self._idl = _Idl(address, helper, self._installed)
            self._connection = connection.Connection(self._idl, timeout=timeout_s)
            # The library keeps the connection in a class attribute: without a class of its own a second database of the
            # process would silently be the first one.
            own_class = type("OwnOvsdbIdl", (impl_idl.OvsdbIdl,), {"_ovsdb_connection": None})
            self._api = own_class(self._connection)
        except Exception as error:
            raise _unavailable(address, error) from error

    def close(self) -> None:
        """End the connection and its thread."""
        self._connection.stop(timeout=5)

    # --- reading ---
    def attachments(self) -> list[Attachment]:
        """Everything that we plugged into the bridge."""
        with self._connection.lock:
            return [known for row in self._interfaces() if (known := self._idl.attachment_of(row)) is not None]

    def attachment(self, name: str) -> Attachment | None:
        """What we plugged as `name`, or None."""
        return next((known for known in self.attachments() if known.name == name), None)

    def userspace_datapath(self) -> bool:
        """Whether the bridge's datapath runs in ovs-vswitchd (``netdev``). NotFound without the bridge."""
        with self._connection.lock:
            return bool(_bridge(self._idl, self.bridge).datapath_type == "netdev")

    # --- changing ---
    def plug(self, wanted: Attachment) -> None:
        """Make `wanted` a port of the bridge. Conflict when its name is taken by a port that is not ours."""
        self._commit(_Plug(self._api, self.bridge, wanted))

    def plug_and_wait(self, wanted: Attachment, timeout_s: float) -> None:
        """Plug, and wait until the data plane is ready. Retryable (code NODE-NOT-INSTALLED) when it never is."""
        with self._installed.waiting(wanted.name) as ready:
            self.plug(wanted)
            self._wait(wanted, ready, timeout_s)

    def repoint(self, name: str, port_id: str, timeout_s: float) -> None:
        """Have the interface serve another port, and wait until the data plane is ready for it."""
        current = self.attachment(name)
        if current is None:
            raise NotFound(f"{name} is not plugged into {self.bridge}", code="NODE-NOT-PLUGGED", owner=Owner.NODE)
        with self._installed.waiting(name) as ready:
            self._commit(_Repoint(self._api, name, port_id))
            self._wait(current, ready, timeout_s)

    def set_mtu(self, name: str, mtu: int) -> None:
        """Ask for another MTU of an internal port."""
        self._commit(self._api.db_set("Interface", name, ("mtu_request", mtu)))

    def unplug(self, known: Attachment) -> bool:
        """Without the port, if it still serves the same sandbox and pod as `known`; whether it did."""
        done: bool = self._commit(_Unplug(self._api, self.bridge, known))
        return done

    # --- the connection ---
    def _wait(self, wanted: Attachment, ready: threading.Event, timeout_s: float) -> None:
        """By event; the row is asked at the end, for an interface that was ready before it was plugged again."""
        if ready.wait(timeout_s):
            return
        found = self.attachment(wanted.name)
        if found is not None and found.installed:
            return
        message, hint = _not_ready(found)
        raise Retryable(
            f"the data plane of port {wanted.port_id} ({wanted.name}) was not ready within {timeout_s:g} s: {message}",
            code="NODE-NOT-INSTALLED",
            owner=Owner.NODE,
            hint=hint,
        )

    def _commit(self, change: Any) -> Any:
        """The result of a transaction of one command. It does not wait for ovs-vswitchd: that would serialise plugs.

        It runs in the caller's thread: to hand it to the connection's and back took as long as the transaction itself.
        """
        deadline = time.monotonic() + self._timeout_s
        with self._connection.lock:
            while True:
                seen = self._idl.change_seqno
                todo = self._ended(change, deadline)
                status = todo.commit()
                if status in (todo.SUCCESS, todo.UNCHANGED):
                    return change.result
                if status != todo.TRY_AGAIN:
                    raise _unavailable(self.address, RuntimeError(todo.get_error()))
                self._serve_until(lambda seen=seen: self._idl.change_seqno != seen, deadline)  # type: ignore[misc]  # binds

    def _ended(self, change: Any, deadline: float) -> idl.Transaction:
        """The transaction of a command, with its outcome. The library raises RuntimeError for a row that is gone."""
        todo = idl.Transaction(self._idl)
        try:
            change.run_idl(todo)
            self._serve_until(lambda: todo.commit() != todo.INCOMPLETE, deadline)
        except RuntimeError as error:
            raise _unavailable(self.address, error) from error
        finally:
            todo.abort()  # where it did not end: else it would block every later one
        return todo

    def _serve_until(self, done: Callable[[], bool], deadline: float) -> None:
        """Do the connection's work, under its lock, until it is so; Unavailable when the time is over."""
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise _unavailable(self.address, TimeoutError(f"no answer within {self._timeout_s:g} s"))
            waiting = poller.Poller()
            self._idl.wait(waiting)
            waiting.timer_wait(int(left * 1000) + 1)
            waiting.block()
            self._idl.run()

    def _interfaces(self) -> list[Any]:
        return list(self._idl.tables["Interface"].rows.values())


class _Idl(connection.OvsdbIdl):  # type: ignore[misc]  # the library has no types
    """The replica. Reading a column converts it: rows are read once a change."""

    def __init__(self, address: str, helper: Any, installed: _Installed) -> None:
        self._read: dict[UUID, Attachment | None] = {}
        self._installed = installed
        super().__init__(address, helper)

    def notify(self, kind: str, row: Any, updates: Any = None) -> None:
        """Called for each change, in the connection's thread."""
        self._read.pop(row.uuid, None)
        if kind != idl.ROW_DELETE and row._table.name == "Interface":
            self._installed.look_at(row)

    def attachment_of(self, row: Any) -> Attachment | None:
        """What an interface's row means to us; None: it is not ours. Under the connection's lock."""
        if row.uuid not in self._read:
            self._read[row.uuid] = _attachment(row)
        return self._read[row.uuid]


class _Installed:
    """Who waits for which interface to be ready."""

    def __init__(self) -> None:
        self._waiting: dict[str, threading.Event] = {}

    @contextmanager
    def waiting(self, name: str) -> Iterator[threading.Event]:
        """An event that is set when `name` becomes ready. To be entered before the change is committed."""
        ready = self._waiting[name] = threading.Event()
        try:
            yield ready
        finally:
            self._waiting.pop(name, None)

    def look_at(self, row: Any) -> None:
        """An interface is new or changed."""
        ready = self._waiting.get(row.name) if self._waiting else None
        if ready is not None and row.external_ids.get(_INSTALLED) == "true":
            ready.set()


class _Plug(command.BaseCommand):  # type: ignore[misc]  # the library has no types
    """A port with one interface, or the interface of that name as wanted if it is ours already."""

    def __init__(self, api: Any, bridge: str, wanted: Attachment) -> None:
        super().__init__(api)
        self._bridge, self._wanted = bridge, wanted

    def run_idl(self, txn: idl.Transaction) -> None:
        wanted, tables = self._wanted, self.api.idl.tables
        interface = self.api.lookup("Interface", wanted.name, None)
        if interface is None:
            bridge = _bridge(self.api.idl, self._bridge)
            interface, port = txn.insert(tables["Interface"]), txn.insert(tables["Port"])
            interface.name = port.name = wanted.name
            port.interfaces = [interface]
            bridge.addvalue("ports", port)
        elif _attachment(interface) is None:
            raise Conflict(
                f"Open vSwitch has a port {wanted.name} that kuryrctl did not plug",
                code="NODE-OVS-NAME",
                owner=Owner.NODE,
                hint=f"see ovs-vsctl list Interface {wanted.name}",
            )
        interface.external_ids = _external_ids(wanted)
        if wanted.node:
            # Without a request it gets the least MTU of the bridge's other ports, a new one with each pod.
            interface.type, interface.mac, interface.mtu_request = "internal", wanted.mac, wanted.mtu


class _Repoint(command.BaseCommand):  # type: ignore[misc]  # the library has no types
    """Changes single keys: ovn-controller writes to the same column."""

    def __init__(self, api: Any, name: str, port_id: str) -> None:
        super().__init__(api)
        self._name, self._port_id = name, port_id

    def run_idl(self, txn: idl.Transaction) -> None:
        row = self.api.lookup("Interface", self._name)
        row.delkey("external_ids", _INSTALLED)
        row.setkey("external_ids", _PORT_ID, self._port_id)


class _Unplug(command.BaseCommand):  # type: ignore[misc]  # the library has no types
    """Compares and deletes in one transaction: a late DEL must not take the port of the pod's next sandbox."""

    def __init__(self, api: Any, bridge: str, known: Attachment) -> None:
        super().__init__(api)
        self._bridge, self._known = bridge, known

    def run_idl(self, txn: idl.Transaction) -> None:
        self.result = False
        interface = self.api.lookup("Interface", self._known.name, None)
        found = _attachment(interface) if interface is not None else None
        if found is None or (found.sandbox, found.pod_uid) != (self._known.sandbox, self._known.pod_uid):
            return
        interface.verify("external_ids")
        port = self.api.lookup("Port", self._known.name)
        _bridge(self.api.idl, self._bridge).delvalue("ports", port)
        port.delete()
        interface.delete()
        self.result = True


def _bridge(replica: Any, name: str) -> Any:
    for row in replica.tables["Bridge"].rows.values():
        if row.name == name:
            return row
    raise NotFound(
        f"Open vSwitch has no bridge {name}",
        code="NODE-OVS-BRIDGE",
        owner=Owner.NODE,
        hint="ovn-controller makes it: is it running on this node?",
    )


def _attachment(row: Any) -> Attachment | None:
    """What an interface's row says; None: it is not ours."""
    ids = row.external_ids
    if _OWN["pod_uid"] not in ids and _OWN["node"] not in ids:
        return None
    return Attachment(
        name=row.name,
        port_id=ids.get(_PORT_ID, ""),
        mac=ids.get(_MAC, ""),
        addresses=tuple(ids.get(_ADDRESSES, "").split()),
        mtu=row.mtu_request[0] if row.mtu_request else 0,
        ofport=max(row.ofport[0], 0) if row.ofport else 0,
        installed=ids.get(_INSTALLED) == "true",
        error=row.error[0] if row.error else "",
        **{field: ids.get(key, "") for field, key in _OWN.items()},
    )


def _not_ready(found: Attachment | None) -> tuple[str, str]:
    """Who has not done its part, and what to look at."""
    if found is None:
        return "somebody unplugged it meanwhile", "who else changes the bridge?"
    if found.error:
        return f"ovs-vswitchd says: {found.error}", "see ovs-vswitchd's log"
    if not found.ofport:
        return "ovs-vswitchd has not taken it up", "is ovs-vswitchd running?"
    return (
        "ovn-controller has not installed it",
        "is ovn-controller running here, and is the port bound to this chassis? ovn-sbctl list Port_Binding",
    )


def _external_ids(wanted: Attachment) -> dict[str, str]:
    own = {key: getattr(wanted, field) for field, key in _OWN.items() if getattr(wanted, field)}
    return {
        _PORT_ID: wanted.port_id,
        _MAC: wanted.mac,
        _STATUS: "active",
        _ADDRESSES: " ".join(wanted.addresses),
        **own,
    }


def _unavailable(address: str, error: Exception) -> Unavailable:
    said = str(error).splitlines()[0] if str(error) else repr(error)
    return Unavailable(
        f"Open vSwitch's database at {address} does not answer: {said}",
        code="NODE-OVSDB",
        owner=Owner.NODE,
        hint="is ovsdb-server running, and is this the address of the node's own database?",
    )
