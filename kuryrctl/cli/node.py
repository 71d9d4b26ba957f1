"""`node agent | install | list | bind | unbind | check | gc`: this node's part, run on the node as root."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kuryrctl.cli.base import Command, Lister, ShowOne, log_as_service
from kuryrctl.cli.columns import Joined, Maybe
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.stopping import told_to_stop
from kuryrctl.core.config import NodeOptions

if TYPE_CHECKING:
    from kuryrctl.node.ovsdb import Attachment

_COLUMNS = ("Pod", "Port", "Interface", "Device", "Data plane", "Addresses", "Sandbox", "Since")


class _OnNode(Command):
    """The options that say where the node's own parts are; over the configuration's section ``node``."""

    takes_cluster: ClassVar[bool] = False
    takes_switch: ClassVar[bool] = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Adds the node's options."""
        parser = super().get_parser(prog_name)
        group = parser.add_argument_group("node")
        group.add_argument("--socket", metavar="PATH", help="the agent's unix socket (default: node.socket)")
        if self.takes_switch:
            group.add_argument("--ovsdb", metavar="ADDRESS", help="Open vSwitch's database (default: node.ovsdb)")
            group.add_argument("--bridge", metavar="NAME", help="the integration bridge (default: node.bridge)")
        return parser

    def here(self, parsed_args: argparse.Namespace) -> NodeOptions:
        """The section ``node`` with what the command line says."""
        configured = self.settings(parsed_args).config.node
        given = vars(parsed_args)
        return NodeOptions(
            socket=given.get("socket") or configured.socket,
            ovsdb=given.get("ovsdb") or configured.ovsdb,
            bridge=given.get("bridge") or configured.bridge,
        )

    def ask(self, parsed_args: argparse.Namespace, command: str, arguments: Any, answer: Any) -> Any:
        """What the agent of this node answers."""
        from kuryrctl.node.commands import ask

        return ask(Path(self.here(parsed_args).socket), command, arguments, answer)


class RunAgent(_OnNode):
    """Run this node's agent: bind pods for the container runtime, keep the node port, report

    It follows the KuryrPorts of its node and holds no OpenStack credential. It may be restarted at any time: what is
    bound stays bound. Ends on SIGTERM.
    """

    takes_cluster = True
    takes_switch = True
    examples = """\
  kuryrctl node agent
  kuryrctl node agent --node node1 --socket /run/kuryrctl/agent.sock --ovsdb unix:/run/openvswitch/db.sock"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Adds the node's name."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--node", metavar="NAME", help="the Kubernetes node (default: this host's name)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Run until SIGTERM or SIGINT."""
        from kuryrctl.kube import Informer
        from kuryrctl.node.agent import FOLLOWED, Agent, AgentOptions, connected

        log_as_service()
        stop = told_to_stop()
        here, node = self.here(parsed_args), parsed_args.node or socket.gethostname()
        kube = self.settings(parsed_args).kube()
        options = AgentOptions(node, Path(here.socket), here.ovsdb, here.bridge)
        ovsdb = connected(options, stop)
        if ovsdb is None:
            return
        agent = Agent(
            options,
            ovsdb,
            kube,
            lambda out: [Informer(kube, kind, out, node=node) for kind in FOLLOWED],
        )
        try:
            agent.run(stop)
        finally:
            ovsdb.close()
            kube.close()


class InstallEntry(_OnNode, Lister):
    """Put the CNI entry and its configuration where the container runtime looks

    Both appear by a rename; a second run changes nothing. The entry needs only the node's Python, which is checked.
    """

    examples = """\
  kuryrctl node install
  kuryrctl node install --root /host --python /usr/bin/python3 --cni-version 1.0.0"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Adds the folders."""
        parser = super().get_parser(prog_name)
        add = parser.add_argument
        add("--bin-dir", metavar="DIR", type=Path, default=Path("/opt/cni/bin"), help="default: %(default)s")
        add("--conf-dir", metavar="DIR", type=Path, default=Path("/etc/cni/net.d"), help="default: %(default)s")
        add("--python", metavar="FILE", type=Path, default=Path("/usr/bin/python3"), help="default: %(default)s")
        add("--network", metavar="NAME", default="kuryr", help="name of the CNI network (default: %(default)s)")
        add("--cni-version", metavar="VERSION", default="1.1.0", help="lower for older runtimes (default: %(default)s)")
        add("--root", metavar="DIR", type=Path, default=Path("/"), help="where the node's file system is mounted")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each file."""
        from kuryrctl.node.install import InstallOptions, install

        options = InstallOptions(
            bin_dir=parsed_args.bin_dir,
            conf_dir=parsed_args.conf_dir,
            socket=Path(self.here(parsed_args).socket),
            python=parsed_args.python,
            network=parsed_args.network,
            cni_version=parsed_args.cni_version,
            root=parsed_args.root,
        )
        rows = [(str(done.path), "written" if done.changed else "unchanged") for done in install(options)]
        return ("File", "Result"), rows


class ListPlugged(_OnNode, Lister):
    """List what is plugged into this node's integration bridge, for which pod

    The agent answers; with --direct Open vSwitch's database is read, also without an agent.
    """

    takes_switch = True
    examples = """\
  kuryrctl node list
  kuryrctl node list --direct -f json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Adds --direct."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--direct", action="store_true", help="read Open vSwitch's database, do not ask the agent")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each interface."""
        from kuryrctl.node.ovsdb import Attachment, Ovsdb

        if not parsed_args.direct:
            return _COLUMNS, _rows(self.ask(parsed_args, "list", None, list[Attachment]))
        here = self.here(parsed_args)
        ovsdb = Ovsdb(here.ovsdb, here.bridge)
        try:
            return _COLUMNS, _rows(ovsdb.attachments())
        finally:
            ovsdb.close()


class BindPod(_OnNode, ShowOne):
    """Bind a pod's assigned port into a network namespace, as the CNI entry does

    The engine must have assigned it (kubectl get kuryrports). For repairs and experiments: the container runtime binds
    pods by itself.
    """

    examples = """\
  kuryrctl node bind shop/web-0 /run/netns/test"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Adds what to bind where."""
        parser = super().get_parser(prog_name)
        parser.add_argument("pod", metavar="NAMESPACE/POD")
        parser.add_argument("netns", metavar="NETNS", help="path of the network namespace")
        parser.add_argument("--sandbox", metavar="ID", help="container id to bind under (default: made of the pod)")
        parser.add_argument("--ifname", metavar="NAME", default="eth0", help="default: %(default)s")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """What was bound."""
        from kuryrctl.node.commands import BindArguments, BoundByHand

        sandbox = parsed_args.sandbox or f"by-hand-{parsed_args.pod.replace('/', '-')}"
        wanted = BindArguments(parsed_args.pod, parsed_args.netns, sandbox, parsed_args.ifname)
        bound: BoundByHand = self.ask(parsed_args, "bind", wanted, BoundByHand)
        return (
            ("Pod", "Port", "Interface", "Device", "Addresses", "Sandbox"),
            (bound.pod, bound.port_id, parsed_args.ifname, bound.host_link, Joined(bound.addresses), sandbox),
        )


class UnbindSandbox(_OnNode):
    """Take away what a sandbox has on this node, as a CNI DEL does; of the missing: success"""

    examples = """\
  kuryrctl node unbind by-hand-shop-web-0"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Adds which one."""
        parser = super().get_parser(prog_name)
        parser.add_argument("sandbox", metavar="SANDBOX", help="container id, as kuryrctl node list shows it")
        parser.add_argument("--ifname", metavar="NAME", default="eth0", help="default: %(default)s")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Say whether there was anything."""
        from kuryrctl.node.commands import SandboxArguments

        wanted = SandboxArguments(parsed_args.sandbox, parsed_args.ifname)
        done = self.ask(parsed_args, "unbind", wanted, bool)
        print(f"{parsed_args.sandbox}: {'unbound' if done else 'nothing was bound'}", file=self.app.stderr)


class CheckBound(_OnNode, Lister):
    """Compare what is bound on this node with what was assigned; exits with 20 when something differs"""

    examples = """\
  kuryrctl node check
  kuryrctl node check SANDBOX -f json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Adds which one."""
        parser = super().get_parser(prog_name)
        parser.add_argument("sandbox", metavar="SANDBOX", nargs="?", default="", help="default: all of this node")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each finding."""
        from kuryrctl.node.commands import Checked, SandboxArguments

        checked: list[Checked] = self.ask(parsed_args, "check", SandboxArguments(parsed_args.sandbox), list[Checked])
        rows = [
            (one.attachment.pod, one.attachment.ifname, one.attachment.name, finding.part, finding.message)
            for one in checked
            for finding in one.findings
        ]
        if rows:
            self.exit_code = ExitCode.FAILURES
        return ("Pod", "Interface", "Device", "Part", "Finding"), rows


class CollectGarbage(_OnNode, Lister):
    """Remove from this node what serves no sandbox any more

    Without --keep only what is certain: ports whose device is gone, pairs that were never plugged, deletions that found
    no agent. With --keep also every sandbox of the CNI network that is not named.
    """

    examples = """\
  kuryrctl node gc
  kuryrctl node gc --network kuryr --keep SANDBOX --keep SANDBOX"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Adds what to keep."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--keep", metavar="SANDBOX", action="append", help="may be repeated")
        parser.add_argument("--network", metavar="NAME", default="kuryr", help="default: %(default)s")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each thing that was removed."""
        from kuryrctl.node.commands import GcArguments
        from kuryrctl.node.ovsdb import Attachment

        keep = tuple(parsed_args.keep) if parsed_args.keep else None
        removed = self.ask(parsed_args, "gc", GcArguments(keep, parsed_args.network), list[Attachment])
        return _COLUMNS, _rows(removed)


def _rows(plugged: Iterable[Attachment]) -> list[Sequence[Any]]:
    return [
        (
            Maybe(each.pod or None),
            each.port_id,
            each.ifname,
            each.name,
            "ready" if each.installed else (each.error or "waiting"),
            Joined(each.addresses),
            Maybe(each.sandbox or None),
            Maybe(each.since or None),
        )
        for each in sorted(plugged, key=lambda each: (each.pod, each.ifname))
    ]
