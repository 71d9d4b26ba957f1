"""`reach`: from inside a pod, does an address answer?"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from kuryrctl.cli.arguments import count
from kuryrctl.cli.base import Lister
from kuryrctl.cli.columns import Maybe
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.errors import Invalid, KuryrError, NotFound, Owner, Unavailable

if TYPE_CHECKING:
    from kuryrctl.core.probe import KuryrProbe, Protocol, Target
    from kuryrctl.kube.probes import Probes

COLUMNS: Final = (
    "From", "To", "Address", "Protocol", "Port", "Attempt", "Result", "Round Trip (ms)", "MTU", "Detail",
)  # fmt: skip
_PROTOCOLS: Final = ("tcp", "udp", "icmp")
_SPARE_S: Final = 10.0
"""For the way of question and answer, beside what the attempts take."""


class Reach(Lister):
    """Try from inside a pod whether another pod or an address answers, and how

    The agent of the pod's node sends real packets from the pod's network namespace; nothing is needed inside the pod.
    A pod with addresses of both families is tried at both. UDP is reachable only where the peer answers what it gets.
    Who may do this is decided in Kubernetes: role kuryr-probe, bound in the namespace of the pod (docs/user-guide.md).

    Exits with 0 when every attempt was answered, 20 when not, 124 when the agent did not answer in time.
    """

    examples = """\
  kuryrctl reach --from shop/web-0 --to shop/db-0 --port 5432 --probe
  kuryrctl reach --from shop/web-0 --to 10.65.0.10 --port 53/udp --payload "echo hello" --probe
  kuryrctl reach --from shop/web-0 --to shop/db-0 --size 1442 --probe   # ICMP, one packet, never cut: does it fit?"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """From where, to where, with what."""
        parser = super().get_parser(prog_name)
        add = parser.add_argument
        add("--from", dest="source", metavar="[NAMESPACE/]POD", required=True, help="the pod that tries")
        add("--to", dest="target", metavar="NAMESPACE/POD|ADDRESS", required=True, help="whom it tries to reach")
        add("--port", metavar="PORT[/PROTOCOL]", help="without one, an ICMP echo is sent")
        add("--protocol", choices=_PROTOCOLS, help="default: tcp with a port, icmp without")
        add("--size", metavar="BYTES", type=_between(64, 65535), help="ICMP: the whole IP packet, which is never cut")
        add("--payload", metavar="TEXT", help='UDP: what is sent (default: "echo kuryr", which agnhost answers)')
        add("--count", metavar="N", type=_between(1, 10), default=1, help="attempts for each address (default: 1)")
        add("--timeout", metavar="SECONDS", type=_timeout, default=2.0, help="for each attempt (default: 2)")
        add("--wait", metavar="SECONDS", type=count, help="for the agent's answer (default: the attempts' time and 10)")
        add("--probe", action="store_true", help="send packets: the only way to tell so far, and so required")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each attempt."""
        from kuryrctl.core.probe import Result, longest_s, probes_from

        if not parsed_args.probe:
            raise _usage("without --probe nothing is sent, and nothing can be told yet", "add --probe")
        tried = _tried(parsed_args)
        kube = self.settings(parsed_args).kube()
        try:
            source = kube.probes.pod(*_pod(parsed_args.source))
            targets = [_at(tried, address) for address in _addresses(kube.probes, parsed_args.target)]
            longest = longest_s(len(targets), parsed_args.count, parsed_args.timeout)
            wait_s = longest + _SPARE_S if parsed_args.wait is None else float(parsed_args.wait)
            probes = probes_from(
                source,
                targets,
                run=secrets.token_hex(4),
                count=parsed_args.count,
                timeout_s=parsed_args.timeout,
                ttl_s=wait_s + _SPARE_S,
            )
            answers = kube.probes.ask(probes, wait_s)
            for answer in answers:
                _demand(kube.probes, answer, wait_s)
        finally:
            kube.close()
        rows = list(_rows(answers, source.full_name, parsed_args.target))
        if any(row[COLUMNS.index("Result")] != Result.REACHABLE.value for row in rows):
            self.exit_code = ExitCode.FAILURES
        return COLUMNS, rows


def _rows(answers: Iterable[KuryrProbe], source: str, target: str) -> Iterable[Sequence[Any]]:
    for answer in answers:
        for tried, attempts in zip(answer.targets, answer.attempts, strict=True):
            for number, attempt in enumerate(attempts, 1):
                yield (
                    source,
                    target,
                    tried.address,
                    tried.protocol.value,
                    Maybe(tried.port or None),
                    number,
                    attempt.result.value,
                    Maybe(attempt.round_trip_ms),
                    Maybe(attempt.mtu_bytes or None),
                    Maybe(attempt.detail or None),
                )


def _tried(parsed_args: argparse.Namespace) -> Target:
    """What is sent, to an address that is filled in later."""
    from kuryrctl.core.probe import PAYLOAD, Protocol, Target

    number, _, named = (parsed_args.port or "").partition("/")
    chosen = named.lower() or parsed_args.protocol or ("tcp" if number else "icmp")
    if chosen not in _PROTOCOLS or parsed_args.protocol not in (None, chosen):
        against = f", and --protocol says {parsed_args.protocol}" if chosen in _PROTOCOLS else ""
        raise _usage(f"--port {parsed_args.port}{against}: which protocol?", "give tcp, udp or icmp, once")
    protocol = Protocol(chosen.upper())
    if protocol is Protocol.ICMP and parsed_args.port:
        raise _usage("ICMP has no ports", "leave --port away, or give another --protocol")
    if parsed_args.size and protocol is not Protocol.ICMP:
        raise _usage(f"--size is for ICMP, not for {protocol}", "leave --size away, or --port")
    if parsed_args.payload is not None and protocol is not Protocol.UDP:
        raise _usage(f"--payload is for UDP, not for {protocol}", "leave --payload away, or give --port PORT/udp")
    payload = PAYLOAD if parsed_args.payload is None else parsed_args.payload
    return Target("", protocol, _port(number, protocol), parsed_args.size or 0, bool(parsed_args.size), payload)


def _port(text: str, protocol: Protocol) -> int:
    if protocol == "ICMP":
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise _usage(f'"{text}" is no port of {protocol}', "give --port 1..65535")
    return int(text)


def _at(tried: Target, address: str) -> Target:
    from msgspec.structs import replace

    return replace(tried, address=address)


def _addresses(probes: Probes, target: str) -> Sequence[str]:
    """The addresses of `--to`: itself, or all of the pod's."""
    try:
        return [str(ip_address(target))]
    except ValueError:
        pass
    if "/" not in target:
        raise _usage(f'--to "{target}" is neither an address nor a pod', "a pod is named NAMESPACE/POD")
    pod = probes.pod(*_pod(target))
    if not pod.ips:
        raise NotFound(
            f"pod {pod.full_name} has no address yet (phase {pod.phase})",
            code="PROBE-NO-ADDRESS",
            owner=Owner.USER,
            hint=f"kuryrctl port show {pod.full_name} says what it waits for",
        )
    return pod.ips


def _pod(text: str) -> tuple[str, str]:
    namespace, _, name = text.rpartition("/")
    return namespace or "default", name


def _demand(probes: Probes, answer: KuryrProbe, wait_s: float) -> None:
    """Raises where the agent did not answer, or did not try."""
    if answer.error:
        raise KuryrError(
            f"nothing sent from pod {answer.pod_name}: {answer.error}",
            code="PROBE-NOT-RUN",
            owner=Owner.NODE,
            hint=f"kuryrctl port show {answer.pod_name} says how its port is",
        )
    if answer.finished_at:
        return
    heartbeat_s = probes.heartbeat_s(answer.node)
    if heartbeat_s is None:
        sign = "when it last gave a sign of life is not yours to read"
    else:
        sign = f"its last sign of life is {time.time() - heartbeat_s:.0f} s old" if heartbeat_s else "it never gave one"
    raise Unavailable(
        f"the agent of node {answer.node} did not answer within {wait_s:g} s; {sign}",
        code="PROBE-NO-ANSWER",
        owner=Owner.NODE,
        hint=f"see the agent's log on node {answer.node}; after an upgrade, kuryrctl cluster init updates its role",
    )


def _usage(message: str, hint: str) -> Invalid:
    return Invalid(f"reach: {message}", code="REACH-USAGE", owner=Owner.USER, hint=hint)


def _between(least: int, most: int) -> Any:
    """A type for argparse: a whole number between these two."""

    def parse(text: str) -> int:
        value = count(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return value

    return parse


def _timeout(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of seconds') from None
    if not 0.05 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.05 and 10 seconds")
    return value
