"""The private MariaDB and the content of a new cloud: made completely, or made anew.

A cloud's databases count only once `complete` was written, after everything in them was flushed. Without it, whatever
an interruption left (also in OVN's databases, which must agree with Neutron's) is wiped at the next start.
"""

import base64
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from kuryrctl.lab.layout import MARKER, Layout
from kuryrctl.lab.openstack import config
from kuryrctl.lab.process import run, wait_until, write_atomically
from kuryrctl.lab.stages import Context

INSIDE = Path(__file__).parent / "inside"
SERVICES = ("keystone", "neutron", "octavia")
START_TIMEOUT_S = 120.0
PENDING_TABLES = ("load_balancer", "listener", "pool", "member", "health_monitor")
GIVEN_UP = "set provisioning_status = 'ERROR' where provisioning_status like 'PENDING%'"
PROTOCOL_VERSION = 10  # first byte of MariaDB's greeting, after its 4-byte header


def complete_marker(layout: Layout) -> Path:
    return layout.db / "openstack-complete"


def is_complete(layout: Layout) -> bool:
    """Whether the kept databases hold a whole cloud."""
    return complete_marker(layout).exists()


def secret(layout: Layout) -> str:
    """The password of all users of this cloud; belongs to the databases and is made and wiped with them."""
    path = layout.db / "openstack-secret"
    if not path.exists():
        write_atomically(path, secrets.token_urlsafe(18).encode())
    return path.read_text()


def wipe(layout: Layout) -> None:
    """Remove the cloud's databases; its services must not be running."""
    complete_marker(layout).unlink(missing_ok=True)
    (layout.db / "openstack-secret").unlink(missing_ok=True)
    for name in ("mysql", "mysql.new", "keystone", "ovn"):
        shutil.rmtree(layout.db / name, ignore_errors=True)


def write_keystone_keys(layout: Layout) -> None:
    """Fernet keys 0 (next) and 1 (primary) of both repositories, unless they are there."""
    for repository in ("fernet-keys", "credential-keys"):
        folder = config.keystone_keys(layout) / repository
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("0", "1"):
            if not (folder / name).exists():
                write_atomically(folder / name, base64.urlsafe_b64encode(os.urandom(32)))


def start_mariadb(context: Context) -> None:
    """Start the server on its socket, on new files if there are none."""
    layout, processes = context.layout, context.processes
    if processes.running("mariadb") and _greets(layout):
        return
    folder = config.database_folder(layout)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A starting server deletes the temporary tables it finds in its folder for them, also those of another server.
    # The mark finds an installation that outlives a killed `lab up`.
    env = {"TMPDIR": str(folder), MARKER: str(layout.state)}
    _install_mariadb(layout, env)
    command = [
        "mariadbd",
        "--no-defaults",
        "--user=root",
        f"--datadir={layout.db / 'mysql'}",
        f"--socket={config.database_socket(layout)}",
        f"--pid-file={folder / 'mariadb.pid'}",
        "--skip-networking",
        "--skip-log-bin",
        "--innodb-flush-log-at-trx-commit=2",  # outlives a killed server, not a crashed machine
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=16M",
        "--performance-schema=0",
        "--max-connections=400",
        "--transaction-isolation=READ-COMMITTED",
        "--character-set-server=utf8mb3",
        "--collation-server=utf8mb3_general_ci",
    ]
    processes.start("mariadb", command, env=env)
    wait_until(
        lambda: _greets(layout),
        "MariaDB greets on its socket",
        START_TIMEOUT_S,
        0.02,
        log=layout.log_file("mariadb"),
        alive=lambda: processes.running("mariadb"),
    )
    if not is_complete(layout):
        sql(layout, "\n".join(f"create database if not exists {name};" for name in SERVICES))


def _install_mariadb(layout: Layout, env: Mapping[str, str]) -> None:
    """The server's own tables, made beside and then renamed; of a kept server: nothing."""
    data, new = layout.db / "mysql", layout.db / "mysql.new"
    if data.exists():
        return
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    command = [
        "mariadb-install-db",
        "--no-defaults",
        "--user=root",
        f"--datadir={new}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
    ]
    run(command, env=env, timeout_s=120)
    new.replace(data)


def _greets(layout: Layout) -> bool:
    """Whether a server accepts a connection and says hello; a file left by a dead one refuses."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(config.database_socket(layout)))
            greeting = connection.recv(5)
        except OSError:
            return False
    return len(greeting) == 5 and greeting[4] == PROTOCOL_VERSION


def greets(context: Context) -> bool:
    """The database server's readiness."""
    return _greets(context.layout)


def sql(layout: Layout, statements: str) -> str:
    """Run statements as MariaDB's root; what they print."""
    command = ["mariadb", "--no-defaults", "-uroot", "-S", str(config.database_socket(layout)), "-N", "-B"]
    return run(command, stdin=statements)


def filling(layout: Layout, service: str) -> list[str]:
    """What makes serve.py fill the service's database before it serves; of a complete cloud: nothing."""
    if is_complete(layout):
        return []
    return ["--fill", str(INSIDE / f"{service}_database.py"), str(config.config_file(layout, service))]


def give_up_pending(layout: Layout) -> None:
    """What an Octavia that ended left PENDING becomes ERROR: nobody would finish it, and nobody may delete it."""
    if is_complete(layout):
        sql(layout, "".join(f"update octavia.{table} {GIVEN_UP};" for table in PENDING_TABLES))


def mark_complete(layout: Layout) -> None:
    """Say that the databases hold a whole cloud, once that is so on disk."""
    if is_complete(layout):
        return
    sql(layout, "flush tables; flush engine logs;")
    os.sync()
    write_atomically(complete_marker(layout), b"")
