"""What one state of policies lets through, packet by packet: all 81 pairs of pods, both IP versions.

Each case is a sentence, the policies, and the same thing said once more by a predicate over connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from tests.functional.policy.site import PORTS, TCP80, TCP81, UDP80, UDP81, Allows, Site, everything

DENY_IN = "{podSelector: {}, policyTypes: [Ingress]}"
DENY_OUT = "{podSelector: {}, policyTypes: [Egress]}"
DENY_BOTH = "{podSelector: {}, policyTypes: [Ingress, Egress]}"
A = "podSelector: {matchLabels: {pod: a}}"
B = "podSelector: {matchLabels: {pod: b}}"
FROM_Y = "namespaceSelector: {matchLabels: {letter: ns-y}}"
FROM_Z = "namespaceSelector: {matchLabels: {letter: ns-z}}"


class Case(NamedTuple):
    """`ports` that are tried; none: TCP 80 and 81."""

    sentence: str
    policies: Mapping[str, str]
    allows: Allows
    ports: tuple[tuple[str, int], ...] = ()


CASES = [
    Case("without policies everybody reaches everybody", {}, everything, PORTS),
    Case("ingress is denied to all pods of x", {"x/deny": DENY_IN}, lambda f: f.ns[1] != "x", PORTS),
    Case("egress is denied to all pods of x", {"x/deny": DENY_OUT}, lambda f: f.ns[0] != "x", PORTS),
    Case("both are denied to all pods of x", {"x/deny": DENY_BOTH}, lambda f: "x" not in f.ns),
    Case(
        "a rule without peers allows all, whatever another policy denies",
        {"x/deny": DENY_BOTH, "x/open-in": "{podSelector: {}, ingress: [{}]}"},
        lambda f: f.ns[0] != "x",
    ),
    Case(
        "empty lists of peers and ports are everybody and everything",
        {"x/in": "{podSelector: {}, ingress: [{from: [], ports: []}]}"},
        everything,
        (TCP80, UDP81),
    ),
    Case(
        "pods of the same namespace by label",
        {"x/a": f"{{{A}, ingress: [{{from: [{{{B}}}]}}]}}"},
        lambda f: f.target != "x/a" or f.source == "x/b",
        (TCP80, UDP80),
    ),
    Case(
        "an empty pod selector is the own namespace",
        {"x/own": "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"},
        lambda f: f.ns[1] != "x" or f.ns[0] == "x",
    ),
    Case(
        "a namespace by its label",
        {"x/a": f"{{{A}, ingress: [{{from: [{{{FROM_Y}}}]}}]}}"},
        lambda f: f.target != "x/a" or f.ns[0] == "y",
    ),
    Case(
        "a namespace by its name",
        {"x/a": f"{{{A}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: $y}}}}}}]}}]}}"},  # noqa: E501
        lambda f: f.target != "x/a" or f.ns[0] == "y",
        (TCP80,),
    ),
    Case(
        "all namespaces of the cluster",
        {"x/a": f"{{{A}, ingress: [{{from: [{{namespaceSelector: {{}}}}], ports: [{{port: 80}}]}}]}}"},
        lambda f: f.target != "x/a" or f.port == 80,
    ),
    Case(
        "both selectors in one peer: the pods that both match",
        {"x/a": f"{{{A}, ingress: [{{from: [{{{FROM_Y}, {B}}}]}}]}}"},
        lambda f: f.target != "x/a" or f.source == "y/b",
    ),
    Case(
        "both selectors as two peers: the pods that one of them matches",
        {"x/a": f"{{{A}, ingress: [{{from: [{{{FROM_Y}}}, {{{B}}}]}}]}}"},
        lambda f: f.target != "x/a" or f.ns[0] == "y" or f.source == "x/b",
    ),
    Case(
        "match expressions on namespaces and pods",
        {
            "x/a": f"{{{A}, ingress: [{{from: [{{"
            "namespaceSelector: {matchExpressions: [{key: letter, operator: NotIn, values: [ns-x]},"
            " {key: site, operator: Exists}]},"
            " podSelector: {matchExpressions: [{key: pod, operator: In, values: [b, c]}]}}]}]}"
        },
        lambda f: f.target != "x/a" or (f.ns[0] in "yz" and f.source[2] in "bc"),
    ),
    Case(
        "match expressions on the selected pods",
        {"x/not-c": "{podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [c]}]}, ingress: []}"},
        lambda f: f.target not in ("x/a", "x/b"),
    ),
    Case(
        "several policies of a pod allow what any of them does",
        {
            "x/deny": DENY_IN,
            "x/from-y": f"{{{A}, ingress: [{{from: [{{{FROM_Y}}}], ports: [{{port: 80}}]}}]}}",
            "x/from-z": f"{{{A}, ingress: [{{from: [{{{FROM_Z}}}], ports: [{{port: 81}}]}}]}}",
        },
        lambda f: f.ns[1] != "x" or (f.target == "x/a" and (f.ns[0], f.port) in (("y", 80), ("z", 81))),
    ),
    Case(
        "policies that select overlapping pods",
        {
            "x/ab": "{podSelector: {matchExpressions: [{key: pod, operator: In, values: [a, b]}]},"
            f" ingress: [{{from: [{{{FROM_Y}}}], ports: [{{port: 80}}]}}]}}",
            "x/bc": "{podSelector: {matchExpressions: [{key: pod, operator: In, values: [b, c]}]},"
            f" ingress: [{{from: [{{{FROM_Z}}}], ports: [{{port: 81}}]}}]}}",
        },
        lambda f: (
            f.ns[1] != "x"
            or (f.target in ("x/a", "x/b") and (f.ns[0], f.port) == ("y", 80))
            or (f.target in ("x/b", "x/c") and (f.ns[0], f.port) == ("z", 81))
        ),
    ),
    Case(
        "several rules and several ports, each with its own peers",
        {
            "x/a": f"{{{A}, ingress: [{{from: [{{{FROM_Y}}}], ports: [{{port: 80}}, {{port: 81, protocol: UDP}}]}},"
            f" {{from: [{{{FROM_Z}}}], ports: [{{port: 81}}]}}]}}"
        },
        lambda f: (
            f.target != "x/a"
            or (f.ns[0], f.protocol, f.port) in (("y", "TCP", 80), ("y", "UDP", 81), ("z", "TCP", 81))
        ),
        PORTS,
    ),
    Case(
        "a protocol without a port is all of it",
        {"x/udp": "{podSelector: {}, ingress: [{ports: [{protocol: UDP}]}]}"},
        lambda f: f.ns[1] != "x" or f.protocol == "UDP",
        PORTS,
    ),
    Case(
        "a range of ports",
        {
            "x/range": "{podSelector: {}, ingress: [{ports: [{port: 81, endPort: 90}]}]}",
            "y/range": "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 81, protocol: UDP}]}]}",
        },
        lambda f: f.ns[1] == "z" or ((f.protocol, f.port) == TCP81 if f.ns[1] == "x" else f.protocol == "UDP"),
        PORTS,
    ),
    Case(
        "a named port, ingress",
        {
            "x/name": "{podSelector: {}, ingress: [{ports: [{port: serve-81-tcp}]}]}",
            "y/name": "{podSelector: {}, ingress: [{ports: [{port: serve-80-udp, protocol: UDP}]}]}",
        },
        lambda f: f.ns[1] == "z" or (f.protocol, f.port) == (TCP81 if f.ns[1] == "x" else UDP80),
        PORTS,
    ),
    Case(
        "a named port that has another number on other pods, ingress",
        {"x/main": "{podSelector: {}, ingress: [{ports: [{port: main}]}]}"},
        lambda f: f.ns[1] != "x" or f.port == (80 if f.target == "x/a" else 81),
    ),
    Case(
        "a named port that has another number on other pods, egress",
        {"x/main": f"{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{{{FROM_Y}}}], ports: [{{port: main}}]}}]}}"},  # noqa: E501
        lambda f: f.ns[0] != "x" or (f.ns[1] == "y" and f.port == (80 if f.target == "y/a" else 81)),
    ),
    Case(
        "a named port of the wrong protocol, and one that nobody has, open nothing",
        {
            "x/wrong": "{podSelector: {}, ingress: [{ports: [{port: serve-81-tcp, protocol: UDP}]}]}",
            "y/nobody": "{podSelector: {}, ingress: [{ports: [{port: serve-99-tcp}]}]}",
        },
        lambda f: f.ns[1] == "z",
        PORTS,
    ),
    Case(
        "a named port, egress, to nobody in particular: every pod that has it",
        {"x/out": "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: serve-80-tcp}]}]}"},
        lambda f: f.ns[0] != "x" or f.port == 80,
    ),
    Case(
        "egress to namespaces and pods by label, one port",
        {
            "x/out": f"{{{A}, policyTypes: [Egress], egress: [{{to: [{{{FROM_Y}, {B}}}, {{{FROM_Z}}}],"
            " ports: [{port: 80}]}]}"
        },
        lambda f: f.source != "x/a" or (f.port == 80 and (f.target == "y/b" or f.ns[1] == "z")),
    ),
    Case(
        "egress and ingress must both allow it",
        {
            "x/out": f"{{{A}, policyTypes: [Egress], egress: [{{to: [{{{FROM_Y}}}], ports: [{{port: 80}}]}}]}}",
            "y/in": f"{{{B}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{letter: ns-x}}}}, {A}}}],"
            " ports: [{port: 81}]}]}",
            "y/in-c": "{podSelector: {matchLabels: {pod: c}},"
            f" ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{letter: ns-x}}}}, {A}}}]}}]}}",
        },
        lambda f: (
            (f.source != "x/a" or (f.ns[1] == "y" and f.port == 80))
            and (f.target != "y/b" or (f.source == "x/a" and f.port == 81))
            and (f.target != "y/c" or f.source == "x/a")
        ),
    ),
    Case(
        "egress for DNS only, while another policy restricts ingress: neither opens what is the other's",
        {
            "x/dns": "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 80, protocol: UDP}]}]}",
            "x/in": f"{{podSelector: {{}}, policyTypes: [Ingress], ingress: [{{from: [{{{FROM_Y}}}], ports: [{{port: 81}}]}}]}}",  # noqa: E501
        },
        lambda f: (
            (f.ns[0] != "x" or (f.protocol, f.port) == UDP80)
            and (f.ns[1] != "x" or (f.ns[0] == "y" and (f.protocol, f.port) == TCP81))
        ),
        PORTS,
    ),
    Case(
        "rules of a direction that policyTypes leaves out count for nothing",
        {
            "x/out": f"{{podSelector: {{}}, policyTypes: [Egress], ingress: [{{from: [{{{FROM_Y}}}]}}],"
            f" egress: [{{to: [{{{FROM_Z}}}]}}]}}",
            "y/in": f"{{podSelector: {{}}, policyTypes: [Ingress], egress: [{{to: [{{{FROM_Z}}}]}}]}}",
        },
        lambda f: f.ns[1] != "y" and (f.ns[0] != "x" or f.ns[1] == "z"),
    ),
    Case(
        "without policyTypes, egress rules isolate both directions",
        {"x/both": f"{{podSelector: {{}}, egress: [{{to: [{{{FROM_Z}}}]}}]}}"},
        lambda f: f.ns[1] != "x" and (f.ns[0] != "x" or f.ns[1] == "z"),
    ),
    Case(
        "a policy for SCTP alone isolates from all else",
        {"x/sctp": "{podSelector: {}, ingress: [{ports: [{port: 80, protocol: SCTP}]}]}"},
        lambda f: f.ns[1] != "x",
        (TCP80, UDP80),
    ),
    Case(
        "one policy with both directions",
        {
            "x/a": f"{{{A}, ingress: [{{from: [{{{FROM_Y}}}]}}],"
            f" egress: [{{to: [{{{FROM_Z}}}], ports: [{{port: 81}}]}}]}}"
        },
        lambda f: (f.target != "x/a" or f.ns[0] == "y") and (f.source != "x/a" or (f.ns[1] == "z" and f.port == 81)),
    ),
    Case(
        "all is denied in all namespaces, and one thing allowed",
        {
            **{f"{letter}/deny": DENY_BOTH for letter in "xyz"},
            "x/out": f"{{{A}, policyTypes: [Egress], egress: [{{to: [{{{FROM_Y}, {B}}}], ports: [{{port: 80}}]}}]}}",
            "y/in": f"{{{B}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{letter: ns-x}}}}, {A}}}]}}]}}",
        },
        lambda f: (f.source, f.target, f.port) == ("x/a", "y/b", 80),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_what_policies_allow(site: Site, case: Case) -> None:
    names = {f"${letter}": namespace for letter, namespace in site.namespaces.items()}
    specs = dict(case.policies)
    for letter, namespace in names.items():
        specs = {name: spec.replace(letter, namespace) for name, spec in specs.items()}
    site.check(specs, case.allows, *(case.ports or (TCP80, TCP81)))
