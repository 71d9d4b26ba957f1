"""Which connections to try with real packets, and what a packet's fate says. Pure: the caller's Random chooses.

Does not know: how packets are sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from msgspec import Struct

from kuryrctl.core.cluster import Pod
from kuryrctl.core.policy.explain import PortChoice, Questions
from kuryrctl.core.policy.flows import FAMILIES, Flow
from kuryrctl.core.probe import Attempt, Result

TRIED = ("TCP", "UDP")
PASSED = frozenset({Result.REACHABLE, Result.REFUSED})
STOPPED = frozenset({Result.TIME_OUT, Result.UNREACHABLE})


class Sample(Struct, frozen=True):
    """A connection to try; `silent`: somebody may listen there who does not answer, so that no answer says nothing."""

    flow: Flow
    silent: bool


def samples(questions: Questions, namespace: str | None, most: int, random: Random) -> list[Sample]:
    """At most so many connections between pods: of each two classes of pods first one that is allowed and one that is
    not, then more. Pods of a class have the same namespace, labels, ports and node; one of them is chosen."""
    classes: dict[object, list[Pod]] = {}
    for pod in questions.pods(namespace):
        classes.setdefault((pod.namespace, frozenset(pod.labels.items()), pod.ports, pod.node), []).append(pod)
    first: list[Sample] = []
    more: list[Sample] = []
    for sources in classes.values():
        for targets in classes.values():
            source, target = random.choice(sources), random.choice(targets)
            if source.uid == target.uid:
                continue
            found = list(_between(questions, source, target))
            random.shuffle(found)
            for wanted in (True, False):
                matching = [each for each in found if questions.policies.verdict(each.flow).allowed is wanted]
                first += matching[:1]
                more += matching[1:]
    random.shuffle(first)
    random.shuffle(more)
    return (first + more)[:most]


def passed(sample: Sample, attempts: tuple[Attempt, ...]) -> bool | None:
    """Whether the packets got there; None: that cannot be told."""
    results = {attempt.result for attempt in attempts}
    if results & PASSED:
        return True
    if not results or not results <= STOPPED:
        return None
    return None if sample.silent else False


def _between(questions: Questions, source: Pod, target: Pod) -> Iterator[Sample]:
    one, other = questions.ends.pod(source), questions.ends.pod(target)
    declared = {PortChoice(port.protocol, port.port) for port in target.ports}
    for choice in questions.choices((one,), (other,)):
        if choice.protocol not in TRIED:
            continue
        for family in FAMILIES:
            if one.block(family) and other.block(family):
                silent = choice.protocol == "UDP" and choice in declared
                yield Sample(Flow(one, other, family, choice.protocol, choice.port), silent)
