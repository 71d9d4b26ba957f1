"""Unit tests are of nobody's cloud: what the shell of whom they run for points at, `lab env` included, is not seen."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def nobodys_shell() -> Iterator[None]:
    """No cloud, cluster or option of ours in the environment, but what is said to the tests themselves."""
    personal = [name for name in os.environ if name.startswith(("OS_", "KUBECONFIG", "KURYRCTL_"))]
    with pytest.MonkeyPatch.context() as patched:
        for name in personal:
            if name != "KURYRCTL_GOLDEN":
                patched.delenv(name)
        yield
