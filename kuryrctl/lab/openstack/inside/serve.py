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
import socketserver
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType

# What both filling and serving need. None of these parses a configuration when it is imported.
SHARED = {
    "keystone": ("keystone.server.wsgi", "keystone.cmd.bootstrap", "keystone.common.sql.upgrades"),
    "neutron": ("neutron.server.api", "neutron.db.migration.models.head"),
    "octavia": ("octavia.api.app", "octavia.db.models", "octavia.cmd.driver_agent"),
}
MENDING_S = 30
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


def mend_ovn() -> None:
    """Keep making in OVN what Neutron has in its database and OVN has not: it was killed between the two.

    By the very function of Neutron's maintenance worker, a process of its own that looks every five minutes, and
    leaves alone what is younger than a minute.
    """
    from neutron.plugins.ml2.drivers.ovn.mech_driver.ovsdb import maintenance
    from neutron_lib.plugins import directory
    from oslo_db.exception import DBError

    class OnlyNeutron(maintenance.DBInconsistenciesPeriodics):  # type: ignore[misc]  # untyped upstream
        """Needs no lock of OVN's to be the only one."""

        has_lock = True

    def mend() -> None:
        upkeep = OnlyNeutron(directory.get_plugin().mechanism_manager.mech_drivers["ovn"].obj._ovn_client)
        while True:
            try:
                upkeep.check_for_inconsistencies()
            except DBError:  # the next look is soon
                traceback.print_exc()
            time.sleep(MENDING_S)

    threading.Thread(target=mend, daemon=True).start()


def load_policies(service: str) -> None:
    """Load the service's policies before its threads serve.

    Keystone and Neutron load them with the first request, and show them half loaded to a second one heard meanwhile.
    """
    if service == "neutron":
        importlib.import_module("neutron.policy").init()
    if service == "keystone":
        rules = importlib.import_module("keystone.common.rbac_enforcer.policy")._ENFORCER
        rules.suppress_deprecation_warnings = True  # as within a request
        rules._enforcer.load_rules(True)


def octavia_sockets() -> list[str]:
    """The sockets on which the driver agent hears the drivers, in the order of DriverLibrary's arguments."""
    return [f"{os.environ['OCTAVIA_SOCKETS']}/{name}.sock" for name in ("status", "stats", "get")]


class StatusServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Hears the drivers in threads.

    Octavia's own server forks for every status of every object, and each fork connects to the database and maps its
    tables anew. On a busy machine drivers stop waiting after 5 s, and load balancers stay PENDING.
    """

    daemon_threads = True
    request_queue_size = 128


def hear_after_the_api() -> None:
    """Let a driver's word on a load balancer wait until the API has committed what it wrote.

    The API calls the driver inside the transaction that says PENDING_UPDATE. A driver that is done before the commit
    is heard too early: the agent reads ACTIVE, sees nothing to change, and PENDING_UPDATE is then committed and stays.
    That transaction locks the load balancer's row at its begin, and writes those of listeners and pools at its end.
    Octavia's own server never meets this, because it forks for every word, which takes longer than the commit.
    """
    from octavia.api.drivers.driver_agent import driver_updater

    update = driver_updater.DriverUpdater.update_loadbalancer_status

    def update_loadbalancer_status(self, status):  # type: ignore[no-untyped-def]  # untyped upstream
        ids = [each["id"] for each in status.get("loadbalancers", ())]
        row = self.loadbalancer_repo.model_class.id
        with self.db_session.begin():
            self.db_session.query(row).filter(row.in_(ids)).with_for_update().all()
        return update(self, status)

    driver_updater.DriverUpdater.update_loadbalancer_status = update_loadbalancer_status


def start_octavia_agent(config_file: str) -> None:
    """Run Octavia's driver agent in a fork, and return once its sockets are there: the API needs them from the start.

    The OVN provider ignores the configured paths of these sockets, so its defaults are changed, here and there. API and
    agent live and die together: half an Octavia accepts load balancers that never become ACTIVE.
    """
    from octavia.api.drivers.driver_agent import driver_listener
    from octavia.cmd import driver_agent
    from octavia_lib.api.drivers import driver_lib

    driver_listener.ForkingUDSServer = StatusServer
    hear_after_the_api()
    driver_lib.DriverLibrary.__init__.__defaults__ = tuple(octavia_sockets())
    for path in octavia_sockets():
        Path(path).unlink(missing_ok=True)
    agent = os.fork()
    if agent == 0:
        log = os.open(os.environ["OCTAVIA_AGENT_LOG"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["octavia-driver-agent", "--config-file", config_file]
        sys.exit(driver_agent.main())
    threading.Thread(target=end_with, args=(agent,), daemon=True).start()
    while not all(Path(path).exists() for path in octavia_sockets()):
        time.sleep(0.02)


def end_with(child: int) -> None:
    """End this process as soon as that child has ended."""
    _, status = os.waitpid(child, 0)
    print(f"the driver agent ended with {os.waitstatus_to_exitcode(status)}", file=sys.stderr, flush=True)
    os._exit(1)


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
        start_octavia_agent(options[options.index("--config-file") + 1])
    application = getattr(importlib.import_module(module), attribute)
    load_policies(service)
    if service == "neutron":
        mend_ovn()

    import waitress

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    waitress.serve(
        application, host="127.0.0.1", port=int(port), threads=int(threads), ident=None,
        channel_timeout=CHANNEL_TIMEOUT_S, clear_untrusted_proxy_headers=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
