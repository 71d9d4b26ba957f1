"""Random histories of Services: people, programs, deaths of the engine, Octavia in between. It ends as people say."""

from __future__ import annotations

from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.unit.reconcile.service_site import HTTP, ServiceSite
from tests.walks.mortal import Life
from tests.walks.test_service_crash_walk import TWO, converge, live

NAMES = ("a", "b", "c")
names = st.sampled_from(NAMES)
addresses = st.lists(st.sampled_from(("10.65.0.8", "10.65.0.9", "10.65.0.10")), unique=True, max_size=3)
events = st.one_of(
    st.tuples(
        st.just("serve"),
        names,
        st.sampled_from(("ClusterIP", "LoadBalancer")),
        st.sampled_from((HTTP, TWO)),
        st.sampled_from(("None", "ClientIP")),
    ),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("endpoints"), names, addresses),
    st.tuples(st.just("delete in the cloud"), st.sampled_from(("loadbalancers", "listeners", "pools"))),
    st.tuples(st.just("take tags away")),
    st.tuples(st.just("time passes")),
    st.tuples(st.just("run")),
    st.tuples(st.just("die"), st.integers(1, 6), st.booleans()),
)


class History:
    """A site and what happens to it."""

    def __init__(self) -> None:
        self.site = ServiceSite()
        self.wanted: dict[str, list[str]] = {}

    def apply(self, event: tuple[Any, ...]) -> None:
        word, *given = event
        getattr(self, f"do_{word.replace(' ', '_')}")(*given)

    def do_serve(self, name: str, type_: str, ports: tuple[Any, ...], affinity: str) -> None:
        address = f"10.96.0.{10 + NAMES.index(name)}"
        self.site.service(name, address, type=type_, ports=ports, sessionAffinity=affinity)

    def do_remove(self, name: str) -> None:
        if f"shop/{name}" in self.site.kube.objects("services"):
            self.site.kube.remove("services", "shop", name)

    def do_endpoints(self, name: str, found: list[str]) -> None:
        self.wanted[name] = found
        self.site.endpoints(name, *found)

    def do_delete_in_the_cloud(self, collection: str) -> None:
        for thing in self.site.octavia.objects(collection)[:1]:
            cascade = "?cascade=true" if collection == "loadbalancers" else ""
            self.site.octavia.request("DELETE", f"/{collection}/{thing['id']}{cascade}")

    def do_take_tags_away(self) -> None:
        for thing in self.site.balancers()[:1]:
            self.site.octavia.change("loadbalancers", thing["id"], tags=[])
        for thing in self.site.floating_ips()[:1]:
            self.site.cloud.change("floatingips", thing["id"], tags=[])

    def do_time_passes(self) -> None:
        self.site.octavia.sleep(60)

    def do_run(self) -> None:
        self.site.run(first_rest_s=0.001)

    def do_die(self, last: int, effect: bool) -> None:
        live(self.site, Life(last, effect=effect))

    def check(self) -> None:
        """It settles, and clients reach whom the slices name."""
        converge(self.site)
        for service in self.site.kube.objects("services").values():
            name = service["metadata"]["name"]
            assert self.site.members(service["metadata"]["uid"]) == sorted(
                (address, 8080) for address in self.wanted.get(name, ())
            ), "the slices name no endpoint of the second port"


@settings(max_examples=100, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(events, min_size=3, max_size=16))
def test_whatever_happens_services_end_as_people_say(history: list[tuple[Any, ...]]) -> None:
    world = History()
    for event in history:
        world.apply(event)
    world.check()
