"""`policy verify`: do policies, security groups and, if asked, real packets agree?"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kuryrctl.cli.arguments import count
from kuryrctl.cli.base import Command
from kuryrctl.cli.document import FORMATS, as_text
from kuryrctl.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from kuryrctl.cli.settings import Settings
    from kuryrctl.cli.world import Reading
    from kuryrctl.core.policy.flows import Flow, Verdict
    from kuryrctl.core.policy.sampling import Probed
    from kuryrctl.core.policy.verify import Verification

VERIFY_SCHEMA: Final = "kuryrctl.policy-verify/1"
LOOKS: Final = 3
LOOK_AGAIN_S: Final = 3.0
OUTSIDE: Final = ("198.51.100.1", "2001:db8::1")
"""Addresses that nobody has (RFC 5737, RFC 3849): they stand for everybody outside."""


class PolicyVerify(Command):
    """Compare NetworkPolicies with the cloud's security groups, for every pair of pods and every port that matters

    Two independent judges, one of policies and one of groups, must agree about every connection that a pod may open or
    accept. Where they do not, it looks again twice, 3 s apart: what the engine is just doing is no fault. --probe also
    sends real packets (TCP and UDP) between sampled pods, and compares three ways; it needs the role kuryr-probe.
    Packets get lost on a busy network: a connection whose packets do what neither judge says is tried twice more.

    Exits with 0 when all agree, 20 when some do not.
    """

    takes_world = True
    examples = """\
  kuryrctl policy verify
  kuryrctl policy verify --namespace shop --probe
  kuryrctl policy verify --world world.json -f json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Of whom, and how thoroughly."""
        parser = super().get_parser(prog_name)
        parser.add_argument("-n", "--namespace", metavar="NAME", help="connections from or to pods of this namespace")
        parser.add_argument("--probe", action="store_true", help="send real packets between sampled pods, too")
        parser.add_argument(
            "--samples", metavar="N", type=count, default=200, help="so many connections are tried (default: 200)"
        )
        parser.add_argument("--seed", metavar="N", type=count, help="choose the same ones again")
        parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Judge, perhaps probe, print."""
        from kuryrctl.cli.policy_probe import probe
        from kuryrctl.core.errors import Invalid, Owner

        if parsed_args.probe and parsed_args.world:
            raise Invalid(
                "no packet can be sent in a saved world", code="USAGE", owner=Owner.USER, hint="leave --probe away"
            )
        settings = self.settings(parsed_args)
        reading, verification = _verified(settings, parsed_args.namespace)
        probed: list[Probed] = []
        if parsed_args.probe:
            seed = secrets.randbelow(10**6) if parsed_args.seed is None else parsed_args.seed
            print(f"probing with --seed {seed}", file=self.app.stderr)
            probed = probe(settings, reading, parsed_args.namespace, parsed_args.samples, seed)
        if parsed_args.format != "table":
            _print_document(verification, probed, parsed_args.format)
        else:
            _print_table(verification, probed)
        wrong = any(each.wrong for each in probed)
        return ExitCode.FAILURES if verification.differing or wrong else ExitCode.OK


def _verified(settings: Settings, namespace: str | None) -> tuple[Reading, Verification]:
    from kuryrctl.cli.world import known_namespace, read
    from kuryrctl.core.policy.verify import verify

    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_AGAIN_S)
        reading = read(settings)
        known_namespace(reading.cluster, namespace)
        verification = verify(
            reading.cluster,
            reading.cloud,
            settings.config,
            outside=OUTSIDE,
            namespace=namespace,
        )
        if not verification.differing or settings.world is not None:
            break
    return reading, verification


def _word(allowed: bool | None) -> str:
    return "unknown" if allowed is None else "allowed" if allowed else "denied"


def _why(policies: Verdict, groups: Verdict) -> str:
    """Of the two verdicts the sides that do not agree, in words."""
    from kuryrctl.core.policy.verify import ours

    refusing, allowing = (groups, policies) if ours(policies) else (policies, groups)
    stops = next((str(side) for side in refusing.sides if not side.allowed), "")
    passes = next((str(side) for side in allowing.sides if side.chain), "")
    return f"{stops}; yet {passes}" if passes else stops


def _tries(tried: Probed) -> str:
    return f" (in {tried.arrived} of {len(tried.attempts)} tries)" if len(tried.attempts) > 1 else ""


def _print_table(verification: Verification, probed: Sequence[Probed]) -> None:
    from rich.console import Console
    from rich.text import Text

    from kuryrctl.core.policy.verify import ours

    console = Console(highlight=False)
    console.print(f"{verification.ends} ends, {verification.pairs} sides of connections compared", soft_wrap=True)
    for each in verification.disagreements:
        line = Text(f"{each.flow}: ", "red")
        line.append(f"policies {_word(ours(each.kubernetes))}, security groups {_word(ours(each.groups))}")
        console.print(line, soft_wrap=True)
        console.print(Text(f"  {_why(each.kubernetes, each.groups)}", "dim"), soft_wrap=True)
    if verification.differing > len(verification.disagreements):
        console.print(f"and {verification.differing - len(verification.disagreements)} more that differ")
    known = [each for each in probed if each.passed is not None]
    for tried in probed:
        if tried.wrong:
            line = Text(f"{tried.flow}: packets {'pass' if tried.passed else 'do not pass'}{_tries(tried)}, ", "red")
            line.append(f"policies {_word(tried.policies.allowed)}, security groups {_word(tried.groups.allowed)}")
            console.print(line, soft_wrap=True)
    if probed:
        passed = sum(bool(each.passed) for each in known)
        unknown = len(probed) - len(known)
        told = f"{len(known)} connections tried with packets: {passed} pass, {len(known) - passed} do not"
        told += f"; of {unknown} more nothing can be told" if unknown else ""
        again = sum(len(each.attempts) > 1 for each in probed)
        console.print(told + (f"; {again} tried more than once" if again else ""))
    if not verification.differing and not any(each.wrong for each in probed):
        console.print(Text("all agree", "green"))


def _print_document(verification: Verification, probed: Sequence[Probed], form: str) -> None:

    from kuryrctl.core.policy.verify import ours

    document = {
        "schema": VERIFY_SCHEMA,
        "ends": verification.ends,
        "compared": verification.pairs,
        "differing": verification.differing,
        "disagreements": [
            {
                **_flow(each.flow),
                "policies": ours(each.kubernetes),
                "security_groups": ours(each.groups),
                "why": _why(each.kubernetes, each.groups),
            }
            for each in verification.disagreements
        ],
        "probed": [
            {
                **_flow(each.flow),
                "policies": each.policies.allowed,
                "security_groups": each.groups.allowed,
                "packets": each.passed,
                "tries": len(each.attempts),
                "arrived": each.arrived,
                "agree": not each.wrong,
            }
            for each in probed
        ],
    }
    print(as_text(document, form))


def _flow(flow: Flow) -> dict[str, object]:
    return {
        "from": str(flow.source),
        "to": str(flow.target),
        "family": flow.family,
        "protocol": flow.protocol,
        "port": flow.port,
    }
