"""One site for all tests about policies: its nine pods stay, policies come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.functional.lab import Lab, is_ready
from tests.functional.policy.site import LETTERS, NAMES, Site


@pytest.fixture(scope="package")
def nine(lab: Lab) -> Iterator[Site]:
    """The pods. At the end none of them was ever restarted or lost its readiness: kubelets always reached them."""
    with lab.namespace() as x, lab.namespace() as y, lab.namespace() as z:
        site = Site(lab, (x, y, z))
        try:
            site.populate()
            yield site
            for letter in LETTERS:
                for pod in lab.pods(site.namespaces[letter]):
                    assert is_ready(pod), pod["metadata"]["name"]
                    (status,) = pod["status"]["containerStatuses"]
                    assert status["restartCount"] == 0
            assert lab.get("kuryrprobes", "-A")["items"] == [], "probes were left behind"
        finally:
            site.kube.close()


@pytest.fixture
def site(nine: Site, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[Site]:
    """The site; a test replaces the policies of the one before it, as people do."""
    record_property("policy-case", request.node.name)
    yield nine
    if len(nine.pods) != len(LETTERS) * len(NAMES):
        nine.look()
