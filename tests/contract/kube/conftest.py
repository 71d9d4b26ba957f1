"""The clusters on which the cases run: the fake always, the one of $KUBECONFIG with --lab."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from kuryrctl.kube import Kube, connect
from tests.contract.kube.world import NODE_B, FakeWorld, RealWorld, World, eventually


@pytest.fixture(scope="session")
def cluster() -> Iterator[Kube]:
    """The real one, its engine stopped: it would delete the objects of cases, as nobody's."""
    kube = connect()
    command = shutil.which("kuryrctl")
    engine = bool(command) and subprocess.run([str(command), "lab", "engine", "status"], check=False).returncode == 0
    if engine:
        subprocess.run([str(command), "lab", "engine", "stop"], check=True)
    kube.install()
    eventually(lambda: _policies_enforced(kube))
    yield kube
    kube.close()
    if engine:
        subprocess.run([str(command), "lab", "engine", "start"], check=True)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.lab)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A cluster with a namespace for this case."""
    made: World = FakeWorld() if request.param == "fake" else RealWorld(request.getfixturevalue("cluster"))
    yield made
    made.close()


@pytest.fixture
def real(cluster: Kube) -> Iterator[RealWorld]:
    """A real cluster with a namespace for this case; for tests with the mark lab."""
    made = RealWorld(cluster)
    yield made
    made.close()


def _policies_enforced(kube: Kube) -> bool:
    """A policy works some time after it was written: until then an administrator may report as an agent."""
    path = f"/apis/kuryr.openstack.org/v1/kuryrnodes/{NODE_B}"
    body = {"apiVersion": "kuryr.openstack.org/v1", "kind": "KuryrNode", "metadata": {"name": NODE_B}, "spec": {}}
    transport = kube.api.transport
    transport.request("POST", path.rpartition("/")[0], body=msgspec.json.encode(body))
    answer = transport.request(
        "PATCH", f"{path}/status", body=b'{"status":{"version":"0"}}', content_type="application/merge-patch+json"
    )
    transport.request("DELETE", path)
    return answer.status == 403
