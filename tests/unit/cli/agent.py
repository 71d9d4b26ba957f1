"""The agents of all nodes, played: they answer KuryrProbes without sending anything."""

from __future__ import annotations

import threading
from contextlib import suppress

from msgspec.structs import replace

from kuryrctl.core.errors import Conflict, NotFound
from kuryrctl.core.kinds import Kind
from kuryrctl.core.probe import Attempt, KuryrProbe, Result, Target
from kuryrctl.kube import Kube
from tests.fakes.kube import FakeKube

REACHABLE = Attempt(Result.REACHABLE, round_trip_ms=1.25)


class Agent(threading.Thread):
    """Answers every probe as `answers` says by address, or with `error`."""

    def __init__(self, fake: FakeKube) -> None:
        super().__init__(daemon=True)
        self.kube = Kube(fake)
        self.answers: dict[str, Attempt] = {}
        self.error = ""
        self.asked: list[KuryrProbe] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.01):
            for probe in self.kube.list_kind(Kind.KURYR_PROBE).items:
                assert isinstance(probe, KuryrProbe)
                if not probe.finished_at:
                    self.asked.append(probe)
                    self.answer(probe)

    def answer(self, probe: KuryrProbe) -> None:
        attempts = tuple((self.attempt(probe, target),) * probe.count for target in probe.targets)
        now = "2026-11-23T00:00:00Z"
        answered = replace(probe, attempts=() if self.error else attempts, error=self.error)
        with suppress(NotFound, Conflict):  # as the real one: whoever asked has gone
            self.kube.probes.report(replace(answered, started_at=now, finished_at=now))

    def attempt(self, probe: KuryrProbe, target: Target) -> Attempt:
        """What comes of trying this target from the probe's pod."""
        return self.answers.get(target.address, REACHABLE)
