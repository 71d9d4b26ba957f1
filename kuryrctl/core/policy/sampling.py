"""Which connections to try with real packets, and what the packets' fate says. Pure: the caller's Random chooses.

A packet can get lost, so one that does not arrive says less than one that does. Does not know: how packets are sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from kuryrctl.core.cluster import Pod
from kuryrctl.core.policy.ends import is_there
from kuryrctl.core.policy.explain import PortChoice, Questions
from kuryrctl.core.policy.flows import FAMILIES, Flow, Verdict
from kuryrctl.core.probe import Attempt, Result

TRIED = ("TCP", "UDP")
DATAGRAMS = 3
"""The most ports of UDP between two pods, of each IP version: Linux says six times in a row that nobody listens, then
once a second (icmp_ratelimit, icmp(7)), and silence looks like a wall."""
PASSED = frozenset({Result.REACHABLE, Result.REFUSED})
STOPPED = frozenset({Result.TIME_OUT, Result.UNREACHABLE})


class Sample(Struct, frozen=True):
    """A connection to try; `silent`: somebody may listen there who does not answer, so that no answer says nothing."""

    flow: Flow
    silent: bool


class Probed(Struct, frozen=True):
    """A connection that was tried, what both judges say of it, and what came of each try, in order."""

    sample: Sample
    policies: Verdict
    groups: Verdict
    attempts: tuple[Attempt, ...] = ()

    @property
    def flow(self) -> Flow:
        """The connection."""
        return self.sample.flow

    @property
    def passed(self) -> bool | None:
        """Whether packets get there; None: that cannot be told."""
        return passed(self.sample, self.attempts)

    @property
    def wrong(self) -> bool:
        """Whether it is known and not as the policies say."""
        return self.passed is not None and self.passed != self.policies.allowed

    @property
    def doubtful(self) -> bool:
        """Whether nobody expected this: neither the policies nor the groups. It is worth another try."""
        return self.wrong and self.passed != self.groups.allowed

    @property
    def arrived(self) -> int:
        """How many of the tries got there."""
        return sum(passed(self.sample, (attempt,)) is True for attempt in self.attempts)


def judged(questions: Questions, sample: Sample) -> Probed:
    """The connection before anything was sent."""
    return Probed(sample, questions.policies.verdict(sample.flow), questions.groups.verdict(sample.flow))


def judged_again(questions: Questions, probed: Probed) -> Probed | None:
    """The same connection in a later world. Its attempts count on as long as the policies say the same.

    None where one of the pods has ended, is about to, or has other addresses: nothing can be told any more.
    """
    flow = probed.flow
    pods = [questions.cluster.pods.get(end.id) for end in (flow.source, flow.target)]
    ends = [questions.ends.pod(pod) for pod in pods if pod is not None and _stays(pod)]
    if [end.addresses for end in ends] != [flow.source.addresses, flow.target.addresses]:
        return None
    source, target = ends
    again = judged(questions, Sample(replace(flow, source=source, target=target), probed.sample.silent))
    same = again.policies.allowed == probed.policies.allowed
    return replace(again, attempts=probed.attempts) if same else again


def samples(questions: Questions, namespace: str | None, most: int, random: Random) -> list[Sample]:
    """At most so many connections between pods: of each two classes of pods first one that is allowed and one that is
    not, then more. Pods of a class have the same namespace, labels, ports and node; one of them is chosen.

    Only pods that have their network and stay: of others, silence says nothing. No more than DATAGRAMS ports of UDP.
    """
    classes: dict[object, list[Pod]] = {}
    for pod in filter(_stays, questions.pods(namespace)):
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
    return list(islice(_few_datagrams(first + more), most))


def passed(sample: Sample, attempts: tuple[Attempt, ...]) -> bool | None:
    """Whether the packets got there; None: that cannot be told."""
    results = {attempt.result for attempt in attempts}
    if results & PASSED:
        return True
    if not results or not results <= STOPPED:
        return None
    return None if sample.silent else False


def _few_datagrams(chosen: Iterable[Sample]) -> Iterator[Sample]:
    sent: Counter[object] = Counter()
    for each in chosen:
        between = (each.flow.source.id, each.flow.target.id, each.flow.family)
        sent[between] += each.flow.protocol == "UDP"
        if each.flow.protocol != "UDP" or sent[between] <= DATAGRAMS:
            yield each


def _stays(pod: Pod) -> bool:
    return bool(pod.ips) and is_there(pod) and not pod.deleting


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
