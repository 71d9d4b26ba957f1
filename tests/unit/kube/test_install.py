"""Our manifests: applied once and again, never over what is not ours, and taken away without a rest."""

from __future__ import annotations

import pytest
import yaml

from kuryrctl.core.errors import Conflict
from kuryrctl.kube import Kube, manifest_text
from kuryrctl.kube.api import Api
from kuryrctl.kube.install import manifests
from kuryrctl.kube.transport import MERGE_PATCH
from tests.contract.kube.world import refusal
from tests.fakes.kube import FakeKube

ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


def test_what_is_missing_is_found_then_nothing() -> None:
    kube = Kube(FakeKube())
    assert {finding.problem for finding in kube.installed()} == {"does not exist"}

    assert len(kube.install()) == len(manifests())

    assert kube.installed() == []


def test_what_somebody_changed_is_found_and_put_right() -> None:
    fake = FakeKube()
    kube = Kube(fake)
    kube.install()
    Api(fake).call(
        "PATCH", f"{ROLES}/kuryr-agent", "widen", body={"rules": [{"verbs": ["*"]}]}, content_type=MERGE_PATCH
    )

    (finding,) = kube.installed()
    assert (finding.object, finding.problem) == ("ClusterRole kuryr-agent", "differs from what this version installs")
    kube.install()
    assert kube.installed() == []


def test_an_object_of_that_name_that_is_not_ours_is_not_touched() -> None:
    fake = FakeKube()
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "kuryr-engine"}}
    Api(fake).call("POST", ROLES, "make a stranger's role", body=role | {"rules": []})
    kube = Kube(fake)

    error = refusal(kube.install)

    assert isinstance(error, Conflict)
    assert error.code == "KUBE-NOT-OURS"
    kube.uninstall()
    assert list(fake.objects("clusterroles")) == ["kuryr-engine"]


def test_a_namespace_that_was_there_is_used_and_kept() -> None:
    fake = FakeKube()
    fake.add_namespace("kuryr")
    kube = Kube(fake)

    assert "Namespace kuryr" not in kube.install()
    assert kube.installed() == []
    kube.uninstall()

    assert "kuryr" in fake.objects("namespaces")
    assert fake.objects("serviceaccounts") == {}


def test_uninstalling_leaves_nothing_and_twice_is_nothing() -> None:
    fake = FakeKube()
    before = fake.names()
    kube = Kube(fake)
    kube.install()

    kube.uninstall()

    assert fake.names() == before
    assert kube.uninstall() == []


def test_the_manifests_are_one_yaml_stream_for_people() -> None:
    documents = [body for body in yaml.safe_load_all(manifest_text()) if body]

    assert documents == [manifest.body for manifest in manifests()]
    assert all(body["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kuryrctl" for body in documents)


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_nothing_is_added_to_the_roles_that_people_get(role: str) -> None:
    assert f"aggregate-to-{role}" not in manifest_text()
