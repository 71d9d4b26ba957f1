"""Every verb of the CNI in every version that has it, as a runtime calls it, and what each must have done."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from kuryrctl.node.netlink import Netlink
from tests.functional.node import spec
from tests.functional.node.world import Runtime, Sandbox

_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
VERBS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")


class Call(Struct, frozen=True):
    """A verb in a version."""

    verb: str
    version: str

    def __str__(self) -> str:
        return f"{self.verb} {self.version}"

    @property
    def needs_add(self) -> bool:
        """Whether there must be something that was added."""
        return self.verb in ("DEL", "CHECK", "GC")

    @property
    def removes(self) -> bool:
        """Whether nothing of the container is left afterwards."""
        return self.verb in ("DEL", "GC")

    @property
    def adds(self) -> bool:
        return self.verb == "ADD"

    def config(self, runtime: Runtime, added: Any = None) -> str:
        """What is on stdin: with the result of the ADD for CHECK and DEL; a GC finds nothing valid."""
        more: dict[str, Any] = {}
        if self.verb in ("DEL", "CHECK") and added is not None and self.version >= "0.4.0":
            more["prevResult"] = added
        if self.verb == "GC":
            more["cni.dev/valid-attachments"] = []
        return runtime.config(self.version, **more)

    def environment(self, pod: Sandbox) -> dict[str, str]:
        """What the specification asks for."""
        container = pod.environment if self.verb in ("ADD", "DEL", "CHECK") else {}
        return {"CNI_COMMAND": self.verb, **container}


EXISTING = [
    Call(verb, version) for verb in VERBS for version in spec.VERSIONS if version >= _SINCE.get(verb, spec.VERSIONS[0])
]
LACKING = [Call(verb, version) for verb in _SINCE for version in spec.VERSIONS if version < _SINCE[verb]]


def made(runtime: Runtime, call: Call, pod: Sandbox, added: Any = None) -> tuple[int, Any]:
    """Exit code and answer of the call."""
    return runtime.ended(runtime.begin(call.environment(pod)), call.config(runtime, added).encode())


def check_success(call: Call, code: int, answer: Any) -> None:
    """The answer is what the specification says of a success."""
    assert code == 0, answer
    if call.adds:
        spec.check_result(answer, call.version)
    elif call.verb == "VERSION":
        spec.check_versions(answer, call.version)
    else:
        assert answer is None


def check_failure(call: Call, code: int, answer: Any, *codes: int) -> None:
    """The answer is an error object with one of the codes."""
    assert code == 1, answer
    assert spec.check_error(answer, call.version) in codes, answer


def has_interface(pod: Sandbox) -> bool:
    """Whether the container has its eth0."""
    with Netlink(pod.netns) as inside:
        return inside.link("eth0") is not None


def sandbox_of(number: int, netns: str) -> Sandbox:
    """The sandbox of the nth pod that the other tests assign."""
    return Sandbox(f"shop/web-{number}", f"uid-{number}", f"sandbox-{number}", netns)


def without(environment: dict[str, str], key: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != key}


def renamed(pod: Sandbox, container: str) -> Sandbox:
    return msgspec.structs.replace(pod, container=container)
