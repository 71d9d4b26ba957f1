"""OpenStackClient with our plugin installed: every other command still works, and starts as fast as it did.

Real processes: a bad plugin breaks all of `openstack`, and only a real start shows it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.repository import ROOT

OPENSTACK = Path(sys.executable).parent / "openstack"
EXAMPLES = ROOT / "examples"
PORTS = [
    {"id": "1", "name": "shop/web-0", "device_owner": "compute:kuryr"},
    {"id": "2", "name": "vf", "device_owner": "compute:kuryr:sriov"},
    {"id": "3", "name": "vm", "device_owner": "compute:nova"},
    {"id": "4", "name": "router", "device_owner": "network:router_interface"},
]


class Cloud(BaseHTTPRequestHandler):
    """A Keystone that lets everybody in, and a Neutron with ports: repeated filters of one field mean any of them."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        endpoint = {"interface": "public", "region_id": "r", "region": "r", "id": "e", "url": self.url}
        token = {
            "methods": ["password"],
            "expires_at": "2999-01-01T00:00:00Z",
            "issued_at": "2000-01-01T00:00:00Z",
            "user": {"id": "u", "name": "demo", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "project-of-demo", "name": "demo", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "m", "name": "member"}],
            "catalog": [{"type": "network", "name": "neutron", "id": "s", "endpoints": [endpoint]}],
        }
        self.answer({"token": token}, status=201)

    @property
    def url(self) -> str:
        return f"http://{self.headers['Host']}"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.rstrip("/") == "/v3":
            links = [{"rel": "self", "href": f"{self.url}/v3/"}]
            self.answer({"version": {"id": "v3.14", "status": "stable", "links": links}})
            return
        if not url.path.endswith("/ports"):
            links = [{"rel": "self", "href": f"{self.url}/v2.0/"}]
            self.answer({"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]})
            return
        owners = parse_qs(url.query).get("device_owner")
        self.answer({"ports": [port for port in PORTS if owners is None or port["device_owner"] in owners]})

    def answer(self, body: object, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-Subject-Token", "token")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Not on the tests' stderr."""


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def openstack(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "KURYRCTL_"))}
    return subprocess.run(
        [OPENSTACK, *words], capture_output=True, text=True, check=False, env=environment, cwd="/", timeout=60
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "kuryr config show"),
        (["--version"], "openstack "),
        (["complete"], "_openstack()"),
        (["command", "list", "--group", "openstack.kuryr.v1", "-f", "value"], "kuryr config show"),
        (["module", "list", "-f", "json"], "openstackclient"),
        (["help", "kuryr", "config", "show"], "KURYRCTL_"),
        (["help", "kuryr", "service", "show"], "first broken link"),
        (["help", "kuryr", "service", "sync"], "--repair"),
    ],
)
def test_openstack_works_with_ours_installed(words, said):
    ran = openstack(*words)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert said in ran.stdout


def test_both_shells_print_the_same_rows():
    ours = subprocess.run(
        [OPENSTACK.parent / "kuryrctl", "config", "show", "-f", "json"], capture_output=True, text=True, check=True
    )
    theirs = openstack("kuryr", "config", "show", "-f", "json")

    assert theirs.stderr == ""
    assert json.loads(theirs.stdout) == json.loads(ours.stdout)


@pytest.mark.parametrize(
    "words",
    [
        ("service", "lint", "-f", str(EXAMPLES / "services.yaml"), "--format", "json"),
        ("service", "list", "--world", str(EXAMPLES / "services.world.json"), "--long", "-f", "json"),
        ("service", "show", "shop/db", "--world", str(EXAMPLES / "services.world.json"), "-f", "json"),
    ],
)
def test_both_shells_say_the_same_and_exit_alike(words):
    ours = subprocess.run([OPENSTACK.parent / "kuryrctl", *words], capture_output=True, text=True, check=False)
    theirs = openstack("kuryr", *words)

    assert (theirs.returncode, theirs.stderr) == (ours.returncode, "")
    assert json.loads(theirs.stdout) == json.loads(ours.stdout)


def test_errors_and_exit_codes_are_the_same_in_openstack():
    ran = openstack("kuryr", "config", "show", "--cluster-id", "Not A Name")

    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith('kuryrctl: option --cluster-id: cluster_id: "Not A Name" is not a name')


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        ("kuryr", ["shop/web-0", "vf"]),
        ("compute:kuryr", ["shop/web-0"]),
        ("compute:nova", ["vm"]),
        (None, ["shop/web-0", "vf", "vm", "router"]),
    ],
)
def test_port_list_knows_kuryr_as_device_owner(cloud, owner, names):
    filters = [] if owner is None else ["--device-owner", owner]
    ran = openstack(
        "--os-auth-type", "none", "--os-endpoint", cloud, "port", "list", *filters, "-f", "json"
    )  # fmt: skip

    assert (ran.returncode, ran.stderr) == (0, "")
    rows = json.loads(ran.stdout)
    assert [row["Name"] for row in rows] == names
    assert set(rows[0]) == {"ID", "Name", "MAC Address", "Fixed IP Addresses", "Status"}


ASK = """
import sys
from kuryrctl.cli.base import Command

class Ask(Command):
    "Say which project the cloud lets us into"
    def take_action(self, parsed_args):
        print(self.settings(parsed_args).cloud().project_id)
"""
IN_OPENSTACK = """
from openstackclient.shell import OpenStackShell
shell = OpenStackShell()
"""
IN_OURS = """
from kuryrctl.cli.shell import Shell
shell = Shell("kuryrctl")
"""
RUN = """
shell.command_manager.add_command("kuryr ask", Ask)
sys.exit(shell.run([*sys.argv[1:], "kuryr", "ask"]))
"""
CREDENTIAL = {"username": "demo", "password": "x", "project_name": "demo"}
DOMAINS = {"user_domain_id": "default", "project_domain_id": "default"}


def ask(shell: str, *options: str, command: str = ASK, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that asks the cloud, in a shell that knows of no cloud but what is given."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/", **variables}
    return subprocess.run(
        [sys.executable, "-c", command + shell + RUN, *options],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60,
    )


def test_in_openstack_the_cloud_is_what_its_options_name(cloud):
    named = {"auth_url": f"{cloud}/v3", **DOMAINS, **CREDENTIAL}
    ran = ask(IN_OPENSTACK, *(f"--os-{name.replace('_', '-')}={value}" for name, value in named.items()))

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "project-of-demo\n", "")


def test_in_our_shell_the_cloud_is_what_the_variables_name(cloud):
    named = {"auth_url": f"{cloud}/v3", **DOMAINS, **CREDENTIAL}
    ran = ask(IN_OURS, **{f"OS_{name.upper()}": value for name, value in named.items()})

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "project-of-demo\n", "")


@pytest.mark.parametrize(
    ("shell", "options"), [(IN_OPENSTACK, []), (IN_OURS, []), (IN_OURS, ["--os-cloud", "nowhere"])]
)
def test_without_a_cloud_a_person_gets_one_sentence_and_what_to_do(shell, options):
    ran = ask(shell, *options)

    sentence, *rest = ran.stderr.splitlines()
    assert (ran.returncode, ran.stdout) == (2, "")
    assert sentence.startswith("kuryrctl: ")
    assert "[user, " in sentence
    assert [line.partition(":")[0] for line in rest] == ["  next"]


SERVE = """
import logging
import sys
from kuryrctl.cli.base import Command, log_as_service
from kuryrctl.core.audit import AuditRecord
from kuryrctl.core.kinds import Action
from kuryrctl.reconcile import AuditLog

class Ask(Command):
    "Log as an engine does, and change something"
    def take_action(self, parsed_args):
        log_as_service()
        for name in ("kuryrctl.test", "theirs"):
            for level in (logging.DEBUG, logging.INFO, logging.WARNING):
                logging.getLogger(name).log(level, "%s", name)
        AuditLog(None, "me")(AuditRecord(action=Action.DELETE, kind="port", key="k", reason="r"))
"""


@pytest.mark.parametrize(
    ("shell", "options", "said"),
    [
        (IN_OPENSTACK, [], ["INFO kuryrctl.test", "WARNING kuryrctl.test", "WARNING theirs"]),
        (IN_OURS, [], ["INFO kuryrctl.test", "WARNING kuryrctl.test", "WARNING theirs"]),
        (IN_OPENSTACK, ["-q"], []),
        (IN_OURS, ["-q"], ["WARNING kuryrctl.test", "WARNING theirs"]),
    ],
)
def test_an_engine_says_the_same_in_both_shells_and_its_audit_lines_are_never_silenced(shell, options, said):
    ran = ask(shell, *options, command=SERVE)

    *messages, audit = ran.stderr.splitlines()
    assert (ran.returncode, ran.stdout) == (0, "")
    assert [" ".join(message.split()[2:]) for message in messages] == said
    assert json.loads(audit)["action"] == "delete"
