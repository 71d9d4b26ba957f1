"""Three namespaces with three pods each on the lab, and what real packets say of them: every pair, both IP versions.

A test states its policies and, by a predicate of its own, what they allow; nothing of what kuryrctl thinks of policies
decides what is expected. Only *when* to look is ours: once `core.policy.verify` calls the cloud converged.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from kuryrctl.cli.settings import Settings, load
from kuryrctl.core.cluster import Pod
from kuryrctl.core.policy.verify import verify
from kuryrctl.core.probe import Attempt, Protocol, Result, Target, longest_s, probes_from
from kuryrctl.kube import Kube
from kuryrctl.reconcile.once import networks
from tests.functional.lab import Lab, wait_for

LETTERS, NAMES = "xyz", "abc"
TCP80, TCP81, UDP80, UDP81 = PORTS = (("TCP", 80), ("TCP", 81), ("UDP", 80), ("UDP", 81))
TIMEOUT_S, PATIENT_S = 0.6, 3.0
SETTLED_S = 60.0
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
---
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{pod: {name}, site: nine}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  terminationGracePeriodSeconds: 0
  containers:
  - name: serve
    image: {image}
    imagePullPolicy: Never
    command: [sh, -c, "/agnhost netexec --http-port=80 --udp-port=80 & exec /agnhost netexec --http-port=81 --udp-port=81"]
    ports:
    - {{name: serve-80-tcp, containerPort: 80}}
    - {{name: serve-81-tcp, containerPort: 81}}
    - {{name: serve-80-udp, containerPort: 80, protocol: UDP}}
    - {{name: serve-81-udp, containerPort: 81, protocol: UDP}}
    - {{name: main, containerPort: {main}}}
    readinessProbe: {{httpGet: {{path: /hostname, port: 81}}, periodSeconds: 2, timeoutSeconds: 5}}
---
"""  # noqa: E501


class Flow(NamedTuple):
    """One connection: ends are ``namespace letter/pod``, or another word for who is no pod."""

    source: str
    target: str
    protocol: str
    port: int
    family: int

    @property
    def ns(self) -> tuple[str, str]:
        """The letters of both namespaces, from and to."""
        return self.source[0], self.target[0]

    def back(self) -> Flow:
        """The same connection the other way round."""
        return self._replace(source=self.target, target=self.source)

    def __str__(self) -> str:
        return f"{self.source} -> {self.target} {self.protocol} {self.port} IPv{self.family}"


Allows = Callable[[Flow], bool]


def everything(_: Flow) -> bool:
    """No policy says anything of it."""
    return True


class Site:
    """The pods ``x/a`` to ``z/c``, spread over both nodes, and the policies that are in force."""

    def __init__(self, lab: Lab, namespaces: Sequence[str]) -> None:
        self.lab = lab
        self.namespaces = dict(zip(LETTERS, namespaces, strict=True))
        config, origins = load(None, lab.env, {})
        lab.cloud()
        settings = Settings(config, origins, lab.env["OS_CLOUD"], kubeconfig=lab.env["KUBECONFIG"])
        self.kube: Kube = settings.kube()
        self._config, self._neutron = config, settings.cloud()
        self.networks = config.pod_network.cidrs
        self._specs: dict[str, str] = {}
        self.pods: dict[str, Pod] = {}

    def populate(self) -> None:
        """Make the pods; returns once all are Ready."""
        text = ""
        for n, name in enumerate(f"{letter}/{pod}" for letter in LETTERS for pod in NAMES):
            text += self.manifest(name, self.lab.nodes()[n % 2])
        self.lab.kubectl("apply", "-f", "-", stdin=text)
        for letter, namespace in self.namespaces.items():
            self.lab.kubectl("label", "namespace", namespace, f"letter=ns-{letter}", "site=yes")
            self.lab.wait_ready(namespace, len(NAMES), 150)
        self.look()

    def manifest(self, name: str, node: str) -> str:
        """A pod, ``x/a``; its port `main` is 80 where its name is ``a``, else 81."""
        letter, _, pod = name.partition("/")
        main = 80 if pod == "a" else 81
        namespace = self.namespaces[letter]
        return POD.format(name=pod, namespace=namespace, node=node, image=self.lab.image, main=main)

    def look(self) -> None:
        """Read the pods again."""
        cluster, errors = self.kube.observe()
        assert not errors, errors
        letters = {namespace: letter for letter, namespace in self.namespaces.items()}
        mine = (pod for pod in cluster.pods.values() if pod.namespace in letters)
        self.pods = {f"{letters[pod.namespace]}/{pod.name}": pod for pod in mine}

    def address(self, name: str, family: int) -> str:
        return next(text for text in self.pods[name].ips if (":" in text) == (family == 6))

    def cidr(self, name: str, family: int) -> str:
        """The pod's address as a network of its own."""
        return f"{self.address(name, family)}/{32 if family == 4 else 128}"

    def policies(self, specs: Mapping[str, str]) -> None:
        """Exactly these are in force from now on, by ``namespace letter/name``; returns when the cloud has followed."""
        self.change(specs)
        self.settle()

    def change(self, specs: Mapping[str, str]) -> None:
        """Tell Kubernetes so, and wait for nothing."""
        gone = {name: spec for name, spec in self._specs.items() if name not in specs}
        new = {name: spec for name, spec in specs.items() if self._specs.get(name) != spec}
        if new:
            self.lab.kubectl("apply", "-f", "-", stdin=self._documents(new))
        if gone:
            self.lab.kubectl("delete", "--wait=false", "-f", "-", stdin=self._documents(gone))
        self._specs = dict(specs)

    def settle(self) -> None:
        """Wait until policies and groups agree about every connection, and the switches with the groups."""
        last: list[object] = []

        def settled() -> bool:
            cloud = self._neutron.observe(self._config.cluster_id, networks=networks(self._config))
            cluster, errors = self.kube.observe()
            last[:] = [errors, cloud.errors]
            if errors or cloud.errors:
                return False
            found = verify(cluster, cloud, self._config, outside=("198.51.100.1", "2001:db8::1"), explain=3)
            last[:] = [str(each.flow) for each in found.disagreements]
            return not found.differing

        wait_for(settled, SETTLED_S, lambda: last)
        self.lab.installed()

    def check(self, specs: Mapping[str, str], allows: Allows, *ports: tuple[str, int]) -> None:
        """With these policies, packets do what the predicate says, between all pods at these ports (else: both TCP)."""
        self.policies(specs)
        self.expect(allows, *ports)

    def expect(self, allows: Allows, *ports: tuple[str, int]) -> None:
        """Packets do what the predicate says; a pod always reaches itself. What should pass may try twice."""
        flows = list(self.flows(*ports))
        wanted = {flow: flow.source == flow.target or allows(flow) for flow in flows}
        passed = self.probe(flows)
        late = [flow for flow in flows if wanted[flow] and not passed[flow]]
        passed |= self.probe(late, PATIENT_S)
        wrong = [flow for flow in flows if passed[flow] != wanted[flow]]
        told = "\n".join(f"{flow}: {'passes' if passed[flow] else 'does not pass'}" for flow in wrong[:20])
        assert not wrong, f"{len(wrong)} of {len(flows)} connections are not as they should be:\n{told}"

    def flows(self, *ports: tuple[str, int]) -> Iterable[Flow]:
        """Between all pods, at these ports (else: both of TCP), by both IP versions."""
        for source in self.pods:
            for target in self.pods:
                for protocol, port in ports or (TCP80, TCP81):
                    for family in (4, 6):
                        yield Flow(source, target, protocol, port, family)

    def probe(
        self,
        flows: Iterable[Flow],
        timeout_s: float = TIMEOUT_S,
        addresses: Mapping[tuple[str, int], str] | None = None,
    ) -> dict[Flow, bool]:
        """Which of these connections, each from a pod, are answered. `addresses`: of ends that are no pods."""
        known = {(name, family): self.address(name, family) for name in self.pods for family in (4, 6)}
        known |= addresses or {}
        by_source: dict[str, list[Flow]] = {}
        for flow in flows:
            by_source.setdefault(flow.source, []).append(flow)
        run = secrets.token_hex(4)
        probes, order = [], []
        for source, mine in by_source.items():
            targets = [Target(known[flow.target, flow.family], Protocol(flow.protocol), flow.port) for flow in mine]
            probes += probes_from(self.pods[source], targets, run=run, timeout_s=timeout_s)
            order += mine
        if not probes:
            return {}
        answers = self.kube.probes.ask(probes, longest_s(len(order), 1, timeout_s) + 60)
        problems = [answer.error or "no answer" for answer in answers if answer.error or not answer.finished_at]
        assert not problems, problems
        attempts = [attempts for answer in answers for attempts in answer.attempts]
        return {flow: _passed(tried) for flow, tried in zip(order, attempts, strict=True)}

    def _documents(self, specs: Mapping[str, str]) -> str:
        return "".join(
            POLICY.format(name=name[2:], namespace=self.namespaces[name[0]], spec=spec) for name, spec in specs.items()
        )


def _passed(tried: Sequence[Attempt]) -> bool:
    """A server listens at every port that is tried: only its answer counts."""
    (attempt,) = tried
    assert attempt.result in (Result.REACHABLE, Result.TIME_OUT, Result.UNREACHABLE), attempt
    return attempt.result is Result.REACHABLE
