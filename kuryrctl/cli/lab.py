"""`lab …`: a real cloud and a real cluster on this machine."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from kuryrctl.cli.base import Command, Lister
from kuryrctl.cli.columns import Maybe
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.lab_timings import timings
from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import NODES, Layout


class _LabOptions:
    """The two folders, and nothing of a cluster's configuration: the lab brings its own."""

    takes_config = False
    takes_cluster = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Where the lab lives."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]  # a mixin of commands
        group = parser.add_argument_group("lab")
        group.add_argument("--state", metavar="FOLDER", help="databases, logs, sockets (default: $KURYRCTL_LAB_STATE)")
        group.add_argument("--cache", metavar="FOLDER", help="what was installed (default: $KURYRCTL_LAB_CACHE)")
        return parser

    @staticmethod
    def layout(parsed_args: argparse.Namespace) -> Layout:
        """The lab these options name."""
        return Layout.of(os.environ, parsed_args.state, parsed_args.cache)


class LabUp(_LabOptions, Command):
    """Install what is missing and start the lab: OpenStack, Kubernetes, two nodes

    Does nothing where everything runs, and repairs what an interrupted run or a reboot left. The first run installs.
    """

    examples = """\
  kuryrctl lab up
  kuryrctl lab up --timings
  kuryrctl lab up --binaries ./bin"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Ready-made programs, and timings."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--binaries", metavar="FOLDER", type=Path, help="Kubernetes, containerd, runc, agnhost: do not build them"
        )
        parser.add_argument(
            "--timings",
            action="store_true",
            help="run one pod; print what took how long, and the memory in use, beside the targets",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Say what is missing, install it and start everything; with --timings a table on stdout."""
        from kuryrctl.lab import install, lab
        from kuryrctl.lab.kuryr import FIRST_POD
        from kuryrctl.lab.progress import view

        layout = self.layout(parsed_args)
        lab.refuse_unfit_machines(layout)
        kept = layout.db.exists()
        binaries = parsed_args.binaries.absolute() if parsed_args.binaries else None
        if missing := install.summary(layout, binaries):
            print(f"kuryrctl lab up installs what is missing:\n{missing}", end="", file=sys.stderr, flush=True)
        with _ending_on_sigterm(), view(sys.stderr) as progress:
            extra = (FIRST_POD,) if parsed_args.timings else ()
            lab.up(layout, progress, binaries=binaries, extra=extra)
        if parsed_args.timings:
            for line in timings(layout, progress, kept):
                print(line)
        print(f"the lab is up: {time.monotonic() - progress.began:.1f} s", file=sys.stderr)


class LabDemo(_LabOptions, Command):
    """Show what kuryrctl does, by real commands on the running lab: each claim comes from a command it shows

    Pods of a Deployment on Neutron ports over both nodes, reaching each other and a VM; a dry run; a watch that repairs
    a port somebody deleted; a Service with a floating IP, asked from pods, the VM and outside; a NetworkPolicy that
    allows one of its clients and denies another. All of it, in namespace demo, is removed at the end. Exits with 20 at
    the first claim that is not so.
    """

    examples = """\
  kuryrctl lab up && kuryrctl lab demo"""

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Play it."""
        from kuryrctl.lab import lab
        from kuryrctl.lab.demo import run_demo
        from kuryrctl.lab.narrator import FalseClaim

        layout = self.layout(parsed_args)
        lab.refuse_unfit_machines(layout)
        began = time.monotonic()
        try:
            with _ending_on_sigterm("kuryrctl lab demo begins anew"):
                run_demo(lab.context_of(layout), lambda line: print(line, flush=True))
        except FalseClaim as claim:
            print(f"the demo failed: {claim}", file=sys.stderr)
            return ExitCode.FAILURES
        print(f"the demo took {time.monotonic() - began:.1f} s", file=sys.stderr)
        return ExitCode.OK


class LabDown(_LabOptions, Command):
    """End the lab and leave nothing of it running or configured; databases and installed software stay"""

    examples = """\
  kuryrctl lab down"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """End everything."""
        from kuryrctl.lab import lab
        from kuryrctl.lab.progress import view

        with _ending_on_sigterm(), view(sys.stderr) as progress:
            lab.down(self.layout(parsed_args), progress)
        print(f"the lab is down: {time.monotonic() - progress.began:.1f} s", file=sys.stderr)


class LabTraces(_LabOptions, Command):
    """Print what this machine has of what a lab could leave behind, as JSON, or compare it with an earlier print

    Namespaces, links, addresses, routes, packet filters, mounts, control groups, settings, processes of the lab. With
    --since it prints what came and what went, and exits with 20 when something did.
    """

    examples = """\
  kuryrctl lab traces > before.json
  kuryrctl lab up && kuryrctl lab down && kuryrctl lab traces --since before.json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """What to compare with."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--since", metavar="FILE", type=Path, help="print what differs from this earlier print")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Look, and print or compare."""
        import msgspec

        from kuryrctl.lab.machine import Snapshot, differences, snapshot_of_machine

        now = snapshot_of_machine(self.layout(parsed_args))
        if parsed_args.since is None:
            print(msgspec.json.format(msgspec.json.encode(now)).decode())
            return ExitCode.OK
        try:
            before = msgspec.json.decode(parsed_args.since.read_bytes(), type=Snapshot)
        except (OSError, msgspec.DecodeError) as error:
            raise LabError(f"{parsed_args.since} holds no traces: {error}", hint="kuryrctl lab traces > FILE") from None
        found = differences(before, now)
        for line in found:
            print(line)
        return ExitCode.FAILURES if found else ExitCode.OK


class LabReset(_LabOptions, Command):
    """End the lab and forget its databases, configuration and logs; what is installed stays"""

    examples = """\
  kuryrctl lab reset && kuryrctl lab up"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """End everything, then remove the state folder."""
        from kuryrctl.lab import lab
        from kuryrctl.lab.progress import view

        with _ending_on_sigterm(), view(sys.stderr) as progress:
            lab.reset(self.layout(parsed_args), progress)
        print(f"the lab is down and forgotten: {time.monotonic() - progress.began:.1f} s", file=sys.stderr)


class LabStatus(_LabOptions, Lister):
    """List the lab's components and nodes

    Exits with 0 when everything is ready, with 20 when something is not, also when the lab is down.
    """

    examples = """\
  kuryrctl lab status
  kuryrctl lab status -f json"""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each daemon and each node."""
        from kuryrctl.lab import lab

        status = lab.status(self.layout(parsed_args))
        rows: list[tuple[str, str, Maybe, bool, str]] = [
            ("process", each.name, Maybe(each.pid), each.ready, _why(each.pid, each.ready))
            for each in status.components
        ]
        rows += [("node", each.name, Maybe(None), each.ready, each.message) for each in status.nodes]
        if not all(row[3] for row in rows) or len(status.nodes) < len(NODES):
            self.exit_code = ExitCode.FAILURES
        return ("Kind", "Name", "Pid", "Ready", "Note"), rows


class LabEnv(_LabOptions, Command):
    """Print variables for a shell, with which openstack, kubectl and kuryrctl reach the lab"""

    examples = """\
  eval "$(kuryrctl lab env)\""""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """One export for each variable."""
        from kuryrctl.lab import lab

        for name, value in lab.environment(self.layout(parsed_args), os.environ.get("PATH", "")).items():
            print(f"export {name}={shlex.quote(value)}")


class LabLogs(_LabOptions, Command):
    """Print the end of a component's log

    Components are those of `lab status`, and install-apt, install-openstack, build-kubernetes and their like.
    """

    examples = """\
  kuryrctl lab logs neutron
  kuryrctl lab logs engine -f"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which log, how much of it, and whether to stay."""
        parser = super().get_parser(prog_name)
        parser.add_argument("component", metavar="COMPONENT")
        _log_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print it."""
        _show_log(self.layout(parsed_args), parsed_args.component, parsed_args)


class LabShell(_LabOptions, Command):
    """Open a shell with the lab's environment, on this machine or inside a node"""

    examples = """\
  kuryrctl lab shell
  kuryrctl lab shell node1
  kuryrctl lab shell node1 -- ip address"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The node, and a command instead of a shell."""
        parser = super().get_parser(prog_name)
        parser.add_argument("node", metavar="NODE", nargs="?", choices=[node.name for node in NODES])
        parser.add_argument("argv", metavar="COMMAND", nargs="*", help="run this instead of a shell")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> NoReturn:
        """Become the shell."""
        from kuryrctl.lab import lab
        from kuryrctl.lab.process import inside

        command = parsed_args.argv or [os.environ.get("SHELL") or "/bin/sh"]
        argv = [*(inside(parsed_args.node) if parsed_args.node else []), *command]
        layout = self.layout(parsed_args)
        environment = {**os.environ, **lab.environment(layout, os.environ.get("PATH", ""))}
        if parsed_args.node:
            # ovs-vsctl and its like then speak to that node's switch.
            folder = str(layout.ovs_run(parsed_args.node))
            environment |= {"OVS_RUNDIR": folder, "OVN_RUNDIR": folder}
        os.execvpe(argv[0], argv, environment)


class LabEngineStart(_LabOptions, Command):
    """Start the lab's engine, unless it runs"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Start it in watch mode."""
        from kuryrctl.lab import kuryr, lab

        layout = self.layout(parsed_args)
        lab.refuse_unfit_machines(layout)
        kuryr.start_engine(lab.context_of(layout))


class LabEngineStop(_LabOptions, Command):
    """Stop the lab's engine: the cluster and the cloud stay as they are"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """End it, with time to finish what it is doing."""
        from kuryrctl.lab import kuryr, lab

        layout = self.layout(parsed_args)
        lab.refuse_unfit_machines(layout)
        kuryr.stop_engine(lab.context_of(layout))


class LabEngineStatus(_LabOptions, Command):
    """Say whether the lab's engine runs; exits with 20 when it does not"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """One line."""
        from kuryrctl.lab import kuryr, lab

        pid = lab.context_of(self.layout(parsed_args)).processes.pid(kuryr.ENGINE)
        print(f"the engine runs as process {pid}" if pid else "the engine does not run")
        if not pid:
            self.exit_code = ExitCode.FAILURES


class LabEngineLogs(_LabOptions, Command):
    """Print the end of the engine's log"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """How much of it, and whether to stay."""
        parser = super().get_parser(prog_name)
        _log_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print it."""
        from kuryrctl.lab import kuryr

        _show_log(self.layout(parsed_args), kuryr.ENGINE, parsed_args)


def _why(pid: int | None, ready: bool) -> str:
    if ready:
        return ""
    return "runs, but does not answer" if pid else "does not run"


def _log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on printing what is added")
    parser.add_argument("-n", "--lines", metavar="N", type=int, default=40, help="how many lines (default: 40)")


def _show_log(layout: Layout, component: str, parsed_args: argparse.Namespace) -> None:
    path = layout.log_file(component)
    if not path.exists():
        known = sorted(file.stem for file in layout.log.glob("*.log"))
        raise LabError(f"there is no log of {component} in {layout.log}", hint=f"one of: {', '.join(known) or 'none'}")
    if parsed_args.follow:
        os.execvp("tail", ["tail", "-n", str(parsed_args.lines), "-F", str(path)])
    with path.open(errors="replace") as log:
        for line in log.readlines()[-parsed_args.lines :]:
            print(line, end="")


class _ending_on_sigterm:  # noqa: N801  used as a function
    """While this lasts, SIGTERM ends the command as Ctrl-C does; either leaves a word on what to do next."""

    def __init__(self, word: str = "kuryrctl lab up goes on from here, kuryrctl lab down removes it") -> None:
        self._word = word

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._raise)

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        signal.signal(signal.SIGTERM, self._before)
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            print(f"interrupted: {self._word}", file=sys.stderr)

    @staticmethod
    def _raise(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt
