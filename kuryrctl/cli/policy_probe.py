"""Real packets for `policy verify`: between sampled pods, and once more where they did what nobody expects.

Does not know: how it is shown.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import closing
from random import Random
from typing import Final

from msgspec.structs import replace
from rich.console import Console

from kuryrctl.cli.settings import Settings
from kuryrctl.cli.world import Reading, read
from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.policy.explain import Questions
from kuryrctl.core.policy.sampling import Probed, Sample, judged, judged_again, samples
from kuryrctl.core.probe import Attempt, Protocol, Target, longest_s, probes_from
from kuryrctl.kube import Kube

MORE_TRIES: Final = 2
PAUSE_S: Final = 1.0
"""Before another try: by then a rule that was just made is in force at every node."""
TIMEOUT_S: Final = 2.0
PATIENT_S: Final = 5.0
"""The time of a packet that is sent again, among few others: the first one's may have been too short."""
_SPARE_S: Final = 20.0


def probe(settings: Settings, reading: Reading, namespace: str | None, most: int, seed: int) -> list[Probed]:
    """At most so many connections, tried; doubtful ones up to MORE_TRIES times again, in a new reading each time."""
    questions = Questions(reading.cluster, reading.cloud, settings.config)
    chosen = [judged(questions, each) for each in samples(questions, namespace, most, Random(seed))]
    with closing(settings.kube()) as kube:
        probed = _tried(kube, reading.cluster, chosen, TIMEOUT_S)
        for _ in range(MORE_TRIES):
            if not any(each.doubtful for each in probed):
                break
            time.sleep(PAUSE_S)
            probed = _doubtful_tried_again(settings, kube, probed)
    return probed


def _doubtful_tried_again(settings: Settings, kube: Kube, probed: Sequence[Probed]) -> list[Probed]:
    """All of them; of a doubtful one whose pods are no longer there, nothing is known."""
    latest = read(settings)
    questions = Questions(latest.cluster, latest.cloud, settings.config)
    doubtful = {n: judged_again(questions, each) for n, each in enumerate(probed) if each.doubtful}
    there = {n: each for n, each in doubtful.items() if each is not None}
    tried = dict(zip(there, _tried(kube, latest.cluster, list(there.values()), PATIENT_S), strict=True))
    gone = {n: replace(probed[n], attempts=()) for n in doubtful if n not in there}
    return [(tried | gone).get(n, each) for n, each in enumerate(probed)]


def _tried(kube: Kube, cluster: ClusterState, chosen: Sequence[Probed], timeout_s: float) -> list[Probed]:
    """These with one more attempt each, where their agents answered."""
    by_source: dict[str, list[int]] = {}
    for n, each in enumerate(chosen):
        by_source.setdefault(each.flow.source.id, []).append(n)
    run = secrets.token_hex(4)
    probes = []
    for uid, mine in by_source.items():
        targets = [_target(chosen[n].sample) for n in mine]
        probes += probes_from(cluster.pods[uid], targets, run=run, timeout_s=timeout_s)
    doing = f"sending packets from {len(by_source)} pods over {len(chosen)} connections"
    with Console(stderr=True).status(doing):
        wait_s = longest_s(len(chosen), 1, timeout_s) + _SPARE_S
        answers = kube.probes.ask(probes, wait_s) if probes else []
    nothing: tuple[Attempt, ...] = ()
    made = [each for answer in answers for each in (answer.attempts or (nothing,) * len(answer.targets))]
    found = dict(zip((n for mine in by_source.values() for n in mine), made, strict=True))
    return [replace(each, attempts=each.attempts + found[n]) for n, each in enumerate(chosen)]


def _target(sample: Sample) -> Target:
    """Where the connection goes, by its IP version."""
    address = next(text for text in sample.flow.target.addresses if (":" in text) == (sample.flow.family == 6))
    return Target(address, Protocol(sample.flow.protocol), sample.flow.port)
