"""Engines that die: one run of a command after the other, each killed once its first changing call is done."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec
import pytest

from kuryrctl.lab import kuryr
from tests.faults.faults import Hook
from tests.faults.proxy import Proxy, Rule
from tests.functional.lab import Lab

CHANGING = "(POST|PUT|DELETE) (?!leases).*"
MOST_DEATHS = 60


class Killed(ConnectionError):
    """The answer does not come: who asked is dead."""


class Victims:
    """`kuryrctl COMMAND`, again and again, its calls led through proxies; it dies before it knows what its call did.

    `proxies` are by the service's name in clouds.yaml: ``network``, ``load_balancer``.
    """

    def __init__(self, lab: Lab, folder: Path, proxies: Mapping[str, Proxy], *command: str) -> None:
        self._lab, self._proxies, self._command = lab, proxies, command
        clouds = msgspec.yaml.decode(lab.layout.clouds_yaml.read_bytes())
        for service, proxy in proxies.items():
            clouds["clouds"][kuryr.ENGINE_CLOUD][f"{service}_endpoint_override"] = proxy.url
        (folder / "clouds.yaml").write_bytes(msgspec.yaml.encode(clouds))
        environment = kuryr.engine_environment(lab.layout)
        self._env = os.environ | environment | {"OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml")}
        self._process: subprocess.Popen[str] | None = None
        self._killer: Proxy

    def until_done(self) -> Iterator[str]:
        """By which kinds of call they died, one after the other."""
        argv = [sys.executable, "-m", "kuryrctl.cli.app", *self._command]
        for _ in range(MOST_DEATHS):
            for proxy in self._proxies.values():
                proxy.add(Rule(Hook(after=partial(self._kill, proxy)), kind=CHANGING, times=1))
            self._process = subprocess.Popen(
                argv, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            with self._process:
                told, _ = self._process.communicate(timeout=180)
            for proxy in self._proxies.values():
                proxy.clear()
            if self._process.returncode == 0:
                return
            assert self._process.returncode == -signal.SIGKILL, told
            lease = f"kuryrctl-{self._lab.cluster_id}"
            self._lab.kubectl("delete", "lease", lease, "-n", "kube-system")
            yield next(call.kind for call in reversed(self._killer.calls) if re.fullmatch(CHANGING, call.kind))
        pytest.fail(f"not done after {MOST_DEATHS} deaths")

    def _kill(self, killer: Proxy) -> None:
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        self._killer = killer
        raise Killed
