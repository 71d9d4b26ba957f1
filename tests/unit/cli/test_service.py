"""`service list`, `show`, `sync` and `failover` on a site where the engine has run: broken links and exit codes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kuryrctl.cli.files import read_world
from kuryrctl.cli.policy_sync import PolicySync
from kuryrctl.cli.reconcile import Reconcile
from kuryrctl.cli.service_failover import ServiceFailover
from kuryrctl.cli.service_list import ServiceList, ServiceShow
from kuryrctl.cli.service_sync import ServiceSync
from kuryrctl.cli.settings import Settings
from kuryrctl.cli.status import Status
from kuryrctl.cli.world_file import WorldSave, WorldShow
from kuryrctl.cloud import OpenStack
from kuryrctl.core.config import ServiceOptions
from tests.fakes.octavia import FakeOctavia
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import Site


class Shop:
    """A site with a Service of two pods, in sync; what tests change is what people could change."""

    def __init__(self, provider: str = "ovn") -> None:
        self.site = Site()
        self.config = replace(self.site.config, services=ServiceOptions(provider=provider))
        for number in range(2):
            self.site.kube.add_pod("shop", f"web-{number}", node="node1", uid=f"w{number}", labels={"app": "web"})
        self.site.run()
        self._plug()
        self.octavia = FakeOctavia(self.site.cloud)
        spec = {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "selector": {"app": "web"}}
        self.serve("web", ports=[{"port": 80, "targetPort": 8080}], **spec)
        self.endpoints("web", *(self.site.port_of(f"w{number}").fixed_ips[0].ip_address for number in range(2)))

    def _plug(self) -> None:
        """As the node's agent and Neutron say it of pods that run."""
        for name, held in self.site.kube.objects("kuryrports").items():
            self.site.kube.apply(
                "kuryrports", "shop", name.rpartition("/")[2], spec=held["spec"], status={"bound": True}
            )
        for port in self.site.ports():
            self.site.cloud.change("ports", port.id, status="ACTIVE")

    @property
    def settings(self) -> Fakes:
        return Fakes(self.config, {}, neutron=lambda: self.site.cloud, api=lambda: self.site.kube)

    def serve(self, name: str, **spec: Any) -> None:
        self.uid = self.site.kube.apply("services", "shop", name, spec=spec)

    def endpoints(self, name: str, *addresses: str, ready: bool = True) -> None:
        self.site.kube.apply(
            "endpointslices",
            "shop",
            f"{name}-1",
            metadata={"labels": {"kubernetes.io/service-name": name}},
            addressType="IPv4",
            ports=[{"name": "", "port": 8080, "protocol": "TCP"}],
            endpoints=[
                {
                    "addresses": [address],
                    "conditions": {"ready": ready},
                    "targetRef": {"kind": "Pod", "name": f"{name}-{number}", "uid": f"w{number}"},
                }
                for number, address in enumerate(addresses)
            ],
        )

    def sync(self) -> int:
        return run(ServiceSync, self.settings)

    def balancer(self) -> Any:
        (found,) = self.octavia.objects("loadbalancers")
        return found

    def lose_a_member(self) -> str:
        member = self.octavia.objects("members")[0]
        (pool,) = self.octavia.objects("pools")
        answer = self.octavia.request("DELETE", f"/pools/{pool['id']}/members/{member['id']}")
        assert answer.status == 204, answer
        self.octavia.sleep(60)
        return f"{member['address']}:{member['protocol_port']}"


@pytest.fixture
def shop(capsys: pytest.CaptureFixture[str]) -> Shop:
    made = Shop()
    assert made.sync() == 0
    capsys.readouterr()
    return made


def asked(shop: Shop, capsys: pytest.CaptureFixture[str], command: Any, *words: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = run(command, shop.settings, "-f", "json", *words)
    return code, json.loads(capsys.readouterr().out)


def test_a_service_in_sync_is_ok_and_typed(shop, capsys) -> None:
    code, (row,) = asked(shop, capsys, ServiceList)
    assert code == 0
    assert row == {
        "Namespace": "shop", "Service": "web", "Type": "ClusterIP", "VIPs": ["10.96.0.9"], "Floating IPs": [],
        "Load Balancers": [shop.balancer()["id"]], "Members": {"ready": 2, "total": 2}, "Provisioning": "ACTIVE",
        "Operating": "ONLINE", "Condition": "ok",
    }  # fmt: skip


def test_show_prints_the_tree_down_to_the_ports(shop, capsys) -> None:
    code, document = asked(shop, capsys, ServiceShow, "shop/web")
    assert (code, document["schema"], document["first_broken"]) == (0, "kuryrctl.service/1", None)
    layers = []
    links = [document["tree"]]
    while links:
        layers.append(links[0]["layer"])
        links = links[0]["below"]
    assert layers == ["service", "load balancer", "listener", "pool", "member", "pod", "port"]


def test_a_member_that_somebody_deleted_is_the_first_broken_link_until_sync_repairs_it(shop, capsys) -> None:
    lost = shop.lose_a_member()

    code, document = asked(shop, capsys, ServiceShow, "shop/web")
    assert code == 20
    broken = document["first_broken"]
    assert (broken["layer"], broken["name"], broken["owner"]) == ("member", lost, "kuryrctl")
    assert (document["condition"], document["members_ready"]) == ("drift", 1)
    assert asked(shop, capsys, ServiceSync, "--dry-run")[0] == 21

    assert shop.sync() == 0
    assert asked(shop, capsys, ServiceShow, "shop/web")[0] == 0
    assert asked(shop, capsys, ServiceSync, "--dry-run")[0] == 0


def test_lists_are_filtered_by_namespace_and_condition(shop, capsys) -> None:
    assert asked(shop, capsys, ServiceList, "--namespace", "bank") == (0, [])
    assert asked(shop, capsys, ServiceList, "--condition", "no-endpoints") == (0, [])
    assert len(asked(shop, capsys, ServiceList, "--condition", "ok", "--namespace", "shop")[1]) == 1


def test_a_condition_that_is_none_is_refused_with_those_that_are(shop, capsys) -> None:
    with pytest.raises(SystemExit):
        run(ServiceList, shop.settings, "--condition", "broken")
    assert "no load balancer" in capsys.readouterr().err


def test_a_service_that_does_not_exist_is_one_sentence(shop, capsys) -> None:
    assert run(ServiceShow, shop.settings, "shop/nothing") == 1
    assert "there is no Service shop/nothing" in capsys.readouterr().err


def test_without_ready_endpoints_it_says_so(shop, capsys) -> None:
    shop.endpoints("web", "10.65.0.11", ready=False)
    assert shop.sync() == 0
    code, document = asked(shop, capsys, ServiceShow, "shop/web")
    assert (code, document["condition"], document["first_broken"]["owner"]) == (20, "no endpoints", "user")


def test_a_load_balancer_whose_service_is_gone_is_listed_until_sync_deletes_it(shop, capsys) -> None:
    shop.site.kube.remove("services", "shop", "web")
    _, (row,) = asked(shop, capsys, ServiceList)
    assert (row["Service"], row["Condition"]) == ("web", "no service")
    assert asked(shop, capsys, ServiceShow, "shop/web")[0] == 20
    assert shop.sync() == 0
    assert asked(shop, capsys, ServiceList) == (0, [])
    assert shop.octavia.objects("loadbalancers") == []


def test_one_that_only_looks_like_ours_is_listed_and_left_alone(shop, capsys) -> None:
    lost = shop.balancer()["id"]
    shop.octavia.change("loadbalancers", lost, description="somebody else's")
    _, rows = asked(shop, capsys, ServiceList)
    assert [(row["Condition"], row["Load Balancers"]) for row in rows] == [
        ("no load balancer", []), ("foreign", [lost]),
    ]  # fmt: skip
    shop.sync()
    assert lost in [each["id"] for each in shop.octavia.objects("loadbalancers")]


def test_what_it_asks_for_in_vain_is_a_warning(shop, capsys) -> None:
    shop.serve(
        "web", clusterIP="10.96.0.9", clusterIPs=["10.96.0.9"], ports=[{"port": 80}], externalIPs=["198.51.100.7"]
    )
    assert shop.sync() == 0
    code, document = asked(shop, capsys, ServiceShow, "shop/web")
    assert (code, document["condition"]) == (10, "limited")
    assert [note["code"] for note in document["notes"]] == ["SVC-EXTERNAL-IPS"]


def test_a_load_balancer_in_error_is_told_and_made_anew_only_with_repair(shop, capsys) -> None:
    lost = shop.balancer()["id"]
    shop.octavia.change("loadbalancers", lost, provisioning_status="ERROR")

    code, document = asked(shop, capsys, ServiceShow, "shop/web")
    assert (code, document["condition"], document["first_broken"]["owner"]) == (20, "error", "octavia")
    assert shop.sync() == 20
    assert run(ServiceSync, shop.settings, "--dry-run", "--namespace", "shop") == 20
    assert run(ServiceSync, shop.settings, "--dry-run", "--namespace", "bank") == 0
    assert run(Reconcile, shop.settings) == 20
    assert run(PolicySync, shop.settings) == 0
    assert shop.balancer()["id"] == lost

    capsys.readouterr()
    assert run(ServiceSync, shop.settings, "--repair", "--dry-run") == 21
    assert "does not answer until that is done" in capsys.readouterr().out
    assert shop.balancer()["id"] == lost

    assert run(ServiceSync, shop.settings, "--repair") == 0
    assert "plan: 1 to create, 1 to delete" in capsys.readouterr().out
    assert shop.balancer()["id"] != lost
    assert asked(shop, capsys, ServiceShow, "shop/web")[0] == 0


def test_repair_is_no_watch(shop, capsys) -> None:
    assert run(ServiceSync, shop.settings, "--repair", "--watch") == 2
    assert "--repair" in capsys.readouterr().err


def test_sync_leaves_pods_alone(shop, capsys) -> None:
    shop.site.delete_port(shop.site.port_of("w0").id)
    assert asked(shop, capsys, ServiceSync, "--dry-run") == (0, {
        **asked(shop, capsys, ServiceSync, "--dry-run")[1], "converged": True, "steps": [],
    })  # fmt: skip


# -- a cloud without Octavia


class WithoutOctavia(Fakes):
    def cloud(self, audit: Any = None) -> OpenStack:
        return OpenStack(self.neutron(), None, audit=audit)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (ServiceList, ()),
        (ServiceShow, ("shop/web",)),
        (ServiceSync, ("--dry-run",)),
        (ServiceSync, ()),
        (ServiceSync, ("--repair",)),
        (ServiceFailover, ("shop/web", "--yes")),
    ],
)
def test_without_octavia_every_command_says_so_in_one_sentence(shop, capsys, command, words) -> None:
    site = shop.site
    settings = WithoutOctavia(shop.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    assert run(command, settings, *words) == 1
    said = capsys.readouterr()
    assert said.err.count("kuryrctl: ") == 1
    assert "[octavia, OCT-NONE]" in said.err


# -- failover


def test_ovn_has_nothing_to_fail_over(shop, capsys) -> None:
    assert run(ServiceFailover, shop.settings, "shop/web", "--yes") == 1
    said = capsys.readouterr().err
    assert "flows on every node" in said
    assert "next: kuryrctl service show" in said


@pytest.fixture
def amphora(capsys: pytest.CaptureFixture[str]) -> Shop:
    made = Shop("amphora")
    assert made.sync() == 0
    capsys.readouterr()
    return made


def test_amphora_fails_over_what_is_ours(amphora, capsys) -> None:
    assert run(ServiceFailover, amphora.settings, "shop/web", "--yes") == 0
    said, id_ = capsys.readouterr(), amphora.balancer()["id"]
    assert said.out == f"failed over: load balancer {id_} (10.96.0.9): ACTIVE\n"
    (audited,) = [line for line in said.err.splitlines() if "failover" in line]
    assert json.loads(audited)["call"] == f"PUT /loadbalancers/{id_}/failover"


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("", 2)])
def test_a_person_is_asked_first(amphora, capsys, monkeypatch, answer: str, code: int) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert run(ServiceFailover, amphora.settings, "shop/web") == code
    assert "Fail over" in capsys.readouterr().err


def test_nobody_is_asked_where_nobody_is(amphora, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run(ServiceFailover, amphora.settings, "shop/web") == 2
    assert "next: add --yes" in capsys.readouterr().err


def test_a_load_balancer_that_is_not_ours_is_never_failed_over(amphora, capsys) -> None:
    amphora.octavia.change("loadbalancers", amphora.balancer()["id"], description="somebody else's")
    assert run(ServiceFailover, amphora.settings, "shop/web", "--yes") == 1
    assert "has no load balancer of ours" in capsys.readouterr().err


# -- status and worlds


def test_status_counts_services_and_names_what_is_wrong(shop, capsys) -> None:
    shop.lose_a_member()
    code, summary = asked(shop, capsys, Status)
    assert (code, summary["services"]) == (20, {"drift": 1})
    (problem,) = [each for each in summary["problems"] if each["subject"] == "service shop/web"]
    assert problem["message"].startswith("drift: member ")
    assert (problem["owner"], problem["hint"]) == ("kuryrctl", "kuryrctl service show shop/web")


def test_a_cloud_without_octavia_is_no_problem_of_status(shop, capsys) -> None:
    site = shop.site
    settings = WithoutOctavia(shop.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    capsys.readouterr()
    run(Status, settings, "-f", "json")
    summary = json.loads(capsys.readouterr().out)
    assert summary["services"] is None
    (note,) = [each for each in summary["problems"] if each["owner"] == "octavia"]
    assert (note["severity"], note["subject"]) == ("note", "services")


def test_an_octavia_that_does_not_answer_is_one_failure(shop, capsys) -> None:
    shop.octavia.fail_next("GET", "/", 503, times=100)
    _, summary = asked(shop, capsys, Status)
    (failure,) = [each for each in summary["problems"] if each["owner"] == "octavia"]
    assert failure["severity"] == "failure"
    assert (summary["services"], summary["pods"]) == (None, 2)


def test_a_saved_world_answers_as_both_sides_do(shop, capsys, tmp_path: Path) -> None:
    shop.lose_a_member()
    file = tmp_path / "world.json"
    assert run(WorldSave, shop.settings, str(file)) == 0
    offline = Settings.of_world(read_world(str(file)), str(file))
    for command, words in ((ServiceList, ("--long",)), (ServiceShow, ("shop/web",)), (ServiceSync, ("--dry-run",))):
        live = asked(shop, capsys, command, *words)
        world = ("--world", str(file)) if command is ServiceSync else ()
        code = run(command, offline, "-f", "json", *words, *world)
        assert (code, json.loads(capsys.readouterr().out)) == live
    assert run(WorldShow, offline, "-f", "json", str(file)) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["services"], shown["endpoint_slices"], shown["load_balancers"]) == (1, 1, 1)
