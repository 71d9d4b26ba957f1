"""Running a command as a shell would, on the fake cluster and the fake cloud of a site."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from kuryrctl.cli.base import _Common
from kuryrctl.cli.settings import Settings
from kuryrctl.cloud import OpenStack
from kuryrctl.kube import Kube
from tests.fakes.kube import FakeKube
from tests.fakes.neutron import FakeNeutron
from tests.fakes.octavia import FakeOctavia


@dataclass(frozen=True)
class Fakes(Settings):
    """Settings that connect to the fakes. `neutron` is a function: what it raises is what connecting raises."""

    neutron: Callable[[], FakeNeutron] = FakeNeutron
    api: Callable[[], FakeKube] = FakeKube

    def cloud(self, audit: Any = None) -> OpenStack:
        neutron = self.neutron()
        octavia = FakeOctavia(neutron)
        return OpenStack(neutron, octavia, audit=audit, clock=octavia.clock, sleep=octavia.sleep)

    def kube(self, on_mutation: Any = None) -> Kube:
        return Kube(self.api(), on_mutation=on_mutation)


def run(command: type[_Common], settings: Settings, *words: str) -> int:
    """The exit code of one run; raises SystemExit where argparse refuses the words."""

    class Fitted(command):  # type: ignore[valid-type,misc]  # a class made at run time
        def settings(self, parsed_args: Any) -> Settings:
            return settings

    app = SimpleNamespace(options=SimpleNamespace(debug=False, cloud=None), stdout=sys.stdout, stderr=sys.stderr)
    fitted = Fitted(app, None)
    code: int = fitted.run(fitted.get_parser("kuryrctl").parse_args(list(words)))
    return code
