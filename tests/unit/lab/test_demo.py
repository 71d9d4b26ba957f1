"""The demo judges its claims by what commands print, and leaves nothing behind; its programs here only play theirs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuryrctl.lab.demo import play
from kuryrctl.lab.demo_objects import REMOVE, Pod
from kuryrctl.lab.demo_service import denied, in_sync, serves, show_policy, show_service
from kuryrctl.lab.narrator import FalseClaim, Narrator, Told

PODS = [
    Pod(f"hello-{number}", f"node{number}", (f"10.65.0.{number}", f"fd00::{number}"), str(number), "0")
    for number in (1, 2)
]
SERVICES = """\
+---------+------------+--------------+---------+-----------+
| Service | VIPs       | Floating IPs | Members | Condition |
+---------+------------+--------------+---------+-----------+
| hello   | 10.96.22.7 | 172.24.4.198 | 4/4     | ok        |
+---------+------------+--------------+---------+-----------+
"""
POLICIES = """\
+-----------+--------------+----------+------+--------+-------+---------+
| Namespace | Policy       | Isolates | Pods | Groups | Rules | State   |
+-----------+--------------+----------+------+--------+-------+---------+
| demo      | friends-only | ingress  |    4 |      1 |     3 | in sync |
+-----------+--------------+----------+------+--------+-------+---------+
"""
PROGRAM = """\
#!/bin/sh
cd "$STAGE"
said="${0##*/} $*"
printf '%s\\n' "$said" >> calls
time_out() { echo 'curl: (28) Connection timed out'; exit 28; }
case "$said" in
"$BROKEN"*) exit 7 ;;
"kubectl apply -f -") touch policy ;;
"kubectl delete networkpolicy"*) rm policy ;;
"kuryrctl policy list"*) printf %s "$POLICIES" ;;
"kuryrctl policy explain"*) echo "denied: no rule allows it; isolated by demo/friends-only" ;;
"kuryrctl service list"*) printf %s "$SERVICES" ;;
"kuryrctl service show"*) echo "pod demo/hello-1, pod demo/hello-2" ;;
*curl*"?[1-8]") for each in 1 1 1 1 2 2 2 2; do echo "hello-${OTHERS:-$each}"; done ;;
*stranger*curl*) [ ! -e policy ] || [ -n "$OPEN" ] || time_out; echo hello-1 ;;
*friend*curl*) [ ! -e policy ] || [ -z "$SHUT" ] || time_out; echo hello-2 ;;
*curl*) echo hello-1 ;;
esac
"""
FRIEND, STRANGER = "kubectl exec -n demo friend", "kubectl exec -n demo stranger"


class Stage:
    """A folder with the programs that the demo types; `shown` are its lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown: list[str] = []
        for name in ("kubectl", "kuryrctl", "curl", "ip"):
            (folder / name).write_text(PROGRAM)
            (folder / name).chmod(0o755)

    def narrator(self, **variables: str) -> Narrator:
        env = {"BROKEN": "nothing", "OPEN": "", "SHUT": "", "OTHERS": "", "SERVICES": SERVICES, "POLICIES": POLICIES}
        path = f"{self.folder}:{os.environ['PATH']}"
        return Narrator({"PATH": path, "STAGE": str(self.folder), **env, **variables}, self.show, patience_s=0.1)

    def show(self, line: str) -> None:
        if "rollout status" in line:
            raise KeyboardInterrupt
        self.shown.append(line)

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")  # subprocess looks programs up on its own PATH
    return made


def test_a_service_is_asked_by_pods_the_vm_and_from_outside(stage: Stage) -> None:
    assert show_service(stage.narrator(), PODS) == "http://10.96.22.7/hostname"
    asked = [call.partition(" --noproxy * ")[2] for call in stage.calls() if "curl" in call]
    assert asked == [
        "http://hello/hostname",
        "http://10.96.22.7/hostname",
        "http://10.96.22.7/hostname",
        "http://172.24.4.198/hostname",
        "-H Connection: close -w \\n http://172.24.4.198/hostname?[1-8]",
    ]


@pytest.mark.parametrize(
    ("variables", "claim"),
    [
        ({"SERVICES": SERVICES.replace("4/4", "3/4")}, "each of the 4 pods is a member"),
        ({"BROKEN": "kuryrctl service show"}, "no link is broken"),
        ({"BROKEN": FRIEND}, "the Service answers a pod, by the Service's name"),
        ({"BROKEN": STRANGER}, "the Service answers another pod"),
        ({"BROKEN": "ip netns exec"}, "the Service answers the VM"),
        ({"OTHERS": "2"}, "several pods share 8 requests"),
        ({"OTHERS": "3"}, "several pods share 8 requests"),
    ],
)
def test_a_service_that_does_not_serve_is_a_false_claim(stage: Stage, variables: dict[str, str], claim: str) -> None:
    with pytest.raises(FalseClaim, match=claim):
        show_service(stage.narrator(**variables), PODS)


def test_a_policy_divides_two_clients_and_goes_again(stage: Stage) -> None:
    show_policy(stage.narrator(), PODS, "http://10.96.22.7/hostname")
    assert "  ok    the stranger is denied: nothing comes back" in stage.shown
    assert "  ok    the friend is answered" in stage.shown
    assert stage.calls()[-1].startswith(STRANGER)
    assert not (stage.folder / "policy").exists()


@pytest.mark.parametrize(
    ("variables", "claim"),
    [
        ({"OPEN": "1"}, "the stranger is denied"),
        ({"SHUT": "1"}, "^the friend is answered"),
        ({"BROKEN": STRANGER}, "the stranger is denied"),
        ({"BROKEN": FRIEND}, "^the friend is answered"),
        ({"BROKEN": "kuryrctl policy explain"}, "it is said by which policy"),
        ({"POLICIES": POLICIES.replace("in sync", "1 rule to create")}, "the cloud holds the policy"),
    ],
)
def test_a_policy_that_does_not_divide_is_a_false_claim(stage: Stage, variables: dict[str, str], claim: str) -> None:
    with pytest.raises(FalseClaim, match=claim):
        show_policy(stage.narrator(**variables), PODS, "http://10.96.22.7/hostname")


def test_a_request_is_denied_only_by_silence() -> None:
    assert denied(Told(28, "curl: (28) Connection timed out"))
    assert not denied(Told(0, "hello-1"))
    assert not denied(Told(1, 'pods "stranger" not found'))
    assert not denied(Told(7, "curl: (7) Failed to connect"))


@pytest.mark.parametrize(
    ("was", "is_"), [("4/4", "3/4"), ("| ok  ", "| drift"), ("172.24.4.198", "            "), ("| hello ", "  hello ")]
)
def test_a_service_serves_with_all_its_members_and_addresses(was: str, is_: str) -> None:
    assert serves(Told(0, SERVICES))
    assert not serves(Told(0, SERVICES.replace(was, is_)))
    assert not serves(Told(1, SERVICES))


def test_the_policy_is_in_sync_when_the_cloud_holds_it() -> None:
    assert in_sync(Told(0, POLICIES))
    assert not in_sync(Told(0, "\n"))
    assert not in_sync(Told(0, POLICIES.replace("in sync", "1 rule to create")))


@pytest.mark.parametrize(
    ("broken", "ends"), [("kubectl rollout status", KeyboardInterrupt), ("kubectl apply", FalseClaim)]
)
def test_nothing_stays_of_a_demo_that_ends_early(stage: Stage, broken: str, ends: type[BaseException]) -> None:
    with pytest.raises(ends):
        play(stage.narrator(BROKEN=broken), ["10.65.0.9"])
    assert stage.calls()[-1] == f"{REMOVE} --wait=false"
