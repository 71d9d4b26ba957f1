"""Services on the lab, from their creation in Kubernetes to the first answer at the VIP, against bare load balancers.

Ours: a Service with two pods behind it; the watching engine makes its load balancer. Bare: the same tree by one fully
populated ``POST /lbaas/loadbalancers``, with the engine's credential, at an address that Neutron chooses. Then a member
more and a member less: by an EndpointSlice, and by one bare ``PUT /lbaas/pools/ID/members``. Last, many Services at
once. The lab's VM asks by HTTP, every 10 ms anew. Clock, not CPU time; the sides take turns. Calls that change
something in Octavia are counted in the engine's audit log, refused ones as well. Needs a running lab where nobody else
works.
"""

from __future__ import annotations

import json
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.balancers import PATIENT_S, Balancers, Body
from bench.beam import Beam
from bench.command import main
from bench.measure import in_turns
from bench.result import Measure, Result
from kuryrctl.cli.settings import Settings, load
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Kube
from kuryrctl.kube.resources import RESOURCES
from kuryrctl.kube.transport import JSON, MERGE_PATCH
from tests.functional.lab import Lab, addresses
from tests.functional.services.wire import VM

GOAL_RATIO: Final = 1.5
GOAL_CALLS: Final = 1.0
SOON_S: Final = 0.25
PORT, TARGET = 80, 8080
WEB, FIRST, SCALED = "web", "first", "scaled"
HTTP: Final = b"GET /hostname HTTP/1.0\r\n\r\n"
ANYBODY: Final = "200 OK"
OCTAVIA: Final = (Kind.LOAD_BALANCER, Kind.LISTENER, Kind.POOL, Kind.MEMBER, Kind.HEALTH_MONITOR)
Sides = dict[str, Callable[[], dict[str, float]]]
"""What is compared; each gives milliseconds."""


def run(size: int, repeat: int) -> Result:
    """`repeat` load balancers on each side, then `size` Services at once. Raises AssertionError where no lab is up,
    TimeoutError or AssertionError where something does not take effect."""
    alone = [f"alone-{number}" for number in range(repeat)]
    together = [f"together-{number}" for number in range(size)]
    with site() as here:
        names = iter(alone)
        new = in_turns({"ours": lambda: here.service(next(names)), "bare": here.balancer}, repeat)
        with here.members() as sides:
            calls_before = here.calls(SCALED)
            scaled = in_turns(sides, repeat)
            calls_scaled = here.calls(SCALED) - calls_before
        together_s = here.all_answer(together)
        calls_alone, calls_together = here.calls(*alone), here.calls(*together)
    ours, bare = median(new["ours"]), median(new["bare"])
    measures = [
        Measure("a Service to its answer / a bare load balancer to its", ours / bare, "", GOAL_RATIO),
        Measure("calls for a new Service", calls_alone / repeat, "", GOAL_CALLS),
        Measure("calls for a member more or less", calls_scaled / (2 * repeat), "", GOAL_CALLS),
        Measure("ours: answers after", ours, "ms"),
        Measure("bare: answers after", bare, "ms"),
    ]
    measures += [Measure(what, median(runs), "ms") for what, runs in scaled.items()]
    measures.append(Measure(f"{size} Services together until all answer", together_s, "s"))
    measures.append(Measure("calls for each of them", calls_together / max(size, 1), ""))
    return Result("service", size, repeat, ours / bare, measures[0].name, tuple(measures))


def median(runs: list[Mapping[str, float]]) -> float:
    """The milliseconds in the middle."""
    return statistics.median(each["ms"] for each in runs)


@contextmanager
def site() -> Iterator[Site]:
    """A namespace of its own. It and all load balancers are gone afterwards, also when SIGTERM ends this."""
    lab = Lab()
    config, origins = load(None, lab.env, {})
    kube = Settings(config, origins, lab.env["OS_CLOUD"], kubeconfig=lab.env["KUBECONFIG"]).kube()
    others = signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench.service was ended"))
    try:
        with lab.namespace() as namespace:
            balancers = Balancers(lab, namespace)
            try:
                yield Site(lab, kube, namespace, balancers)
            finally:
                lab.kubectl("delete", "service", "--all", "-n", namespace)
                balancers.sweep()
    finally:
        signal.signal(signal.SIGTERM, others)
        kube.close()


class Site:
    """Two pods that answer, and what leads to them."""

    def __init__(self, lab: Lab, kube: Kube, namespace: str, balancers: Balancers) -> None:
        self._lab, self._kube, self._namespace, self._balancers = lab, kube, namespace, balancers
        lab.deploy(namespace, WEB, 2)
        self._pods = lab.wait_ready(namespace, 2, PATIENT_S)
        vip = self._created(FIRST, {"app": WEB})
        answered(vip)
        self._tree = balancers.like(vip)
        self.balancer()

    def service(self, name: str) -> dict[str, float]:
        """From a Service's creation to the first answer."""
        return opened(lambda: self._created(name, {"app": WEB}))

    def balancer(self) -> dict[str, float]:
        """From a bare load balancer's creation to the first answer."""
        return opened(lambda: str(self._balancers.create(self._tree)["vip_address"]))

    @contextmanager
    def members(self) -> Iterator[Sides]:
        """A Service and a bare load balancer that have one member: first each gets another, and then loses it."""
        balancer = self._balancers.create(self._tree)
        vip, bare_vip, pool = self._created(SCALED, {}), str(balancer["vip_address"]), balancer["pools"][0]["id"]
        self._call("POST", Kind.ENDPOINT_SLICE, "", self._slice(self._pods[:1]))
        both = self._balancers.members(pool)
        one = [each for each in both if each["address"] == _address(self._pods[0])]

        def by_slice(pods: list[Body]) -> None:
            self._call("PATCH", Kind.ENDPOINT_SLICE, SCALED, self._slice(pods))

        def by_put(members: list[Body]) -> None:
            self._balancers.set_members(pool, members)

        by_put(one)
        first, other = (str(pod["metadata"]["name"]) for pod in self._pods)
        answered(vip, first)
        answered(bare_vip, first)
        with asking(vip, other) as ours, asking(bare_vip, other) as bare:
            yield {
                "ours: a member more answers after": lambda: {"ms": ours.opened_ms(lambda: by_slice(self._pods))},
                "bare: a member more answers after": lambda: {"ms": bare.opened_ms(lambda: by_put(both))},
                "ours: a member less is silent after": lambda: {"ms": ours.closed_ms(lambda: by_slice(self._pods[:1]))},
                "bare: a member less is silent after": lambda: {"ms": bare.closed_ms(lambda: by_put(one))},
            }

    def all_answer(self, names: list[str]) -> float:
        """Seconds from the creation of so many Services until all answer."""
        start = time.monotonic()
        silent = {self._created(name, {"app": WEB}) for name in names}
        with ThreadPoolExecutor(8) as pool:
            while silent:
                assert time.monotonic() - start < PATIENT_S, f"no answer from {sorted(silent)}"
                asked = sorted(silent)
                answers = pool.map(lambda vip: VM.reaches(vip, PORT, SOON_S), asked)
                silent -= {vip for vip, answered in zip(asked, answers, strict=True) if answered}
        return time.monotonic() - start

    def calls(self, *names: str) -> int:
        """How often the engine asked Octavia to change something of these Services; a bulk call counts once. Raises
        AssertionError where the lab's engine asked for nothing: then another one, with a log of its own, is at work."""
        subjects = {f"Service {self._namespace}/{name}" for name in names}
        records = map(json.loads, self._lab.audit_log().splitlines())
        about = [each for each in records if each["kind"] in OCTAVIA and each["subject"] in subjects]
        assert about or not names, "not the lab's engine made these Services' load balancers: who does?"
        return len({each["request_id"] for each in about})

    def _created(self, name: str, selector: Mapping[str, str]) -> str:
        """The VIP of a new Service."""
        spec = {"selector": selector, "ports": [{"port": PORT, "targetPort": TARGET}]}
        made = json.loads(self._call("POST", Kind.SERVICE, "", {"metadata": {"name": name}, "spec": spec}))
        return str(made["spec"]["clusterIP"])

    def _slice(self, pods: list[Body]) -> Body:
        """The endpoints of `SCALED`: these pods."""
        return {
            "metadata": {"name": SCALED, "labels": {"kubernetes.io/service-name": SCALED}},
            "addressType": "IPv4",
            "ports": [{"port": TARGET}],
            "endpoints": [{"addresses": [_address(pod)], "targetRef": _reference(pod)} for pod in pods],
        }

    def _call(self, method: str, kind: Kind, name: str, body: Body) -> bytes:
        path = RESOURCES[kind].path(name, self._namespace)
        type_ = MERGE_PATCH if method == "PATCH" else JSON
        return self._kube.api.call(method, path, f"{method} {path}", body=body, content_type=type_).body


def opened(create: Callable[[], str]) -> dict[str, float]:
    """Milliseconds from the call that creates something, and gives its VIP, to the first answer there."""
    start = time.monotonic()
    return {"ms": (answered(create()) - start) * 1e3}


def answered(address: str, awaited: str = ANYBODY) -> float:
    """When the first question was asked that was answered (monotonic seconds)."""
    with asking(address, awaited) as beam:
        return beam.opened_s(0.0, PATIENT_S)


def asking(address: str, awaited: str) -> Beam:
    """The VM, which asks who answers there."""
    return Beam(Path(VM.netns), address, PORT, kind=socket.SOCK_STREAM, question=HTTP, awaited=awaited.encode())


def _address(pod: Body) -> str:
    return next(text for text in addresses(pod) if ":" not in text)


def _reference(pod: Body) -> Body:
    return {"kind": "Pod", **{field: pod["metadata"][field] for field in ("namespace", "name", "uid")}}


if __name__ == "__main__":
    main(run, "Services on the lab against bare load balancers", size=50, repeat=5)
