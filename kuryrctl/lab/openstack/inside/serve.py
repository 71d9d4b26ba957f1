"""Serves one OpenStack WSGI application from one process on the loopback.

    serve.py MODULE:ATTRIBUTE PORT THREADS [--fill PROGRAM CONFIG_FILE] [OPTION …]

The remaining options go to the service itself. With `--fill` an empty database is filled first, by a fork of this
process: the service's modules take seconds to import, and are imported once for both.

Every service reads `sys.argv` when its application is imported and exits on an argument it does not know, so this
program's own arguments are taken away first. Neutron answers SIGTERM by leaving its hash ring and living on: the signal
is taken back after the import, so that nobody serves a deleted database.
"""

import atexit
import importlib
import os
import runpy
import signal
import sys
from types import FrameType

# What both filling and serving need. None of these parses a configuration when it is imported.
SHARED = {
    "keystone": ("keystone.server.wsgi", "keystone.cmd.bootstrap", "keystone.common.sql.upgrades"),
    "neutron": ("neutron.server.api", "neutron.db.migration.models.head"),
    "octavia": ("octavia.api.app", "octavia.db.models"),
}
CHANNEL_TIMEOUT_S = 300  # a bulk create of 50 ports takes 16 s of silence


def use_threads() -> None:
    """Keep oslo.service from choosing eventlet, which it does unless told before its first use."""
    from oslo_service import backend

    backend.init_backend(backend.BackendType.THREADING)


def commit_all_conntrack() -> None:
    """Give every logical router the option ct-commit-all.

    OVN 25.03 leaves connections uncommitted in a router's conntrack zone: a pod's connection to an external address
    that is also a load balancer's member hangs after its handshake. Neutron has no setting for the option.
    """
    from neutron.plugins.ml2.drivers.ovn.mech_driver.ovsdb import impl_idl_ovn

    add_router = impl_idl_ovn.OvsdbNbOvnIdl.lr_add

    def lr_add(self, router, may_exist=False, **columns):  # type: ignore[no-untyped-def]  # untyped upstream
        columns["options"] = {**columns.get("options", {}), "ct-commit-all": "true"}
        return add_router(self, router, may_exist=may_exist, **columns)

    impl_idl_ovn.OvsdbNbOvnIdl.lr_add = lr_add


def use_octavia_sockets(folder: str) -> None:
    """Make the OVN provider look for the driver agent's sockets in `folder`; it ignores the configured paths."""
    from octavia_lib.api.drivers import driver_lib

    names = ("status.sock", "stats.sock", "get.sock")
    driver_lib.DriverLibrary.__init__.__defaults__ = tuple(f"{folder}/{name}" for name in names)


def fill(service: str, program: str, config_file: str) -> None:
    """Run the program that fills the service's database, its modules already imported; ends when that fails."""
    for module in SHARED[service]:
        importlib.import_module(module)
    child = os.fork()
    if child == 0:
        sys.argv = [program, config_file]
        runpy.run_path(program, run_name="__main__")
        sys.exit()
    _, status = os.waitpid(child, 0)
    if status != 0:
        sys.exit(f"{program} ended with {os.waitstatus_to_exitcode(status)}")


def leave(signum: int, frame: FrameType | None) -> None:
    """Run the exit hooks (Neutron's leave the hash ring) and go, whatever threads still run."""
    atexit._run_exitfuncs()
    os._exit(0)


def main() -> None:
    target, port, threads, *options = sys.argv[1:]
    module, attribute = target.split(":")
    service = module.split(".")[0]
    use_threads()
    if options[:1] == ["--fill"]:
        fill(service, *options[1:3])
        del options[:3]
    sys.argv = [f"{service}-api", *options]
    if service == "neutron":
        commit_all_conntrack()
    if service == "octavia":
        use_octavia_sockets(os.environ["OCTAVIA_SOCKETS"])
    application = getattr(importlib.import_module(module), attribute)

    import waitress

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    waitress.serve(
        application, host="127.0.0.1", port=int(port), threads=int(threads), ident=None,
        channel_timeout=CHANNEL_TIMEOUT_S, clear_untrusted_proxy_headers=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
