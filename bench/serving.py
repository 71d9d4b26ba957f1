"""Starting `server` as a process of its own, and what a measured process needs to find it.

Does not know: what is served (measured processes import this module, and must not hold a world of their own).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "project-a"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
OPTIONS: dict[str, Any] = {
    "pod_network": {"cidrs": ["10.128.0.0/9", "fd00:10:128::/64"]},
    "external_network": None,
}
"""kuryrctl's options in every benchmark: room for the addresses of 100,000 pods."""


class Site(Struct, frozen=True):
    """A running server: its address, its process, and a folder with what finds it (`environment`)."""

    url: str
    pid: int
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which kuryrctl and openstacksdk use it; nothing of the caller's cloud or cluster."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "KURYRCTL_CONFIG": str(self.folder / "kuryrctl.yaml"),
            "OS_AUTH_URL": f"{self.url}/identity/v3",
            "OS_USERNAME": "kuryr",
            "OS_PASSWORD": "bench",
            "OS_PROJECT_NAME": PROJECT,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
        }

    def requests(self) -> Counter[str]:
        """How many requests came, by method and path."""
        with urllib.request.urlopen(f"{self.url}/bench/requests") as answer:
            return Counter(json.load(answer))

    def writes(self) -> list[str]:
        """The requests that would have changed a cloud or a cluster."""
        ours = ("GET ", "WATCH ", f"POST {LEASES}", f"PUT {LEASES}", "POST /identity/")
        return [request for request in self.requests() if not request.startswith(ours)]


@contextmanager
def serving(pods: int, *, served: bool = True, all_fields: bool = False, **options: Any) -> Iterator[Site]:
    """A server in its own process, ended with the block. `options` are kuryrctl's; `all_fields`: see `server`."""
    command = [sys.executable, "-m", "bench.server", str(pods)]
    command += ["--served"] * served + ["--all-fields"] * all_fields
    with tempfile.TemporaryDirectory(prefix="kuryrctl-bench-") as name:
        folder = Path(name)
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            with process.stdout:
                url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("the server of the benchmark did not start")
            cluster = {"name": "bench", "cluster": {"server": f"{url}/kube"}}
            context = {"name": "bench", "context": {"cluster": "bench", "user": "bench"}}
            user = {"name": "bench", "user": {"token": "bench"}}
            kubeconfig = {"current-context": "bench", "clusters": [cluster], "contexts": [context], "users": [user]}
            (folder / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **kubeconfig}))
            (folder / "kuryrctl.yaml").write_text(json.dumps({**OPTIONS, **options}))
            yield Site(url, process.pid, folder)
        finally:
            process.terminate()
            process.wait()
