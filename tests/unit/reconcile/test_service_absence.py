"""What proves that a Service is gone, and what does not: decision 021, for those whom load balancers serve."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kuryrctl.core import names
from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.config import Config
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import service_tags
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.services import Service
from kuryrctl.core.subjects import BALANCER_KINDS
from kuryrctl.reconcile.state import State

WEB = Service("shop", "web", "web", resource_version="100")
NEWER = Service("shop", "web", "newer", resource_version="200")
OLDER = Service("shop", "web", "older", resource_version="50")
Happens = Callable[[State], object]


def balancer(uid: str) -> LoadBalancer:
    tags = service_tags("kuryr", uid, "4")
    return LoadBalancer(f"lb-{uid}", project_id="p", description=names.description(tags), tags=tags)


def cluster(*services: Service) -> ClusterState:
    return ClusterState(services={each.full_name: each for each in services}, complete=frozenset({Kind.SERVICE}))


def event(service: Service, *, deleted: bool = False) -> Happens:
    return lambda state: state.take_change(service, deleted=deleted)


def informer(*services: Service) -> Happens:
    return lambda state: state.take_list(Kind.SERVICE, services)


def full_turn(*services: Service) -> Happens:
    return lambda state: state.take_relist(cluster(*services), state.mark())


def first_lists(*services: Service) -> Happens:
    def happens(state: State) -> None:
        state.take_cluster(cluster(*services))
        state.prove_absent(state.absent_owners())

    return happens


def known() -> State:
    """Load balancers of the Services web, newer and older, of which the cluster told nothing yet."""
    state = State(Config(external_network=None))
    found = {each.id: each for each in map(balancer, ("web", "newer", "older"))}
    complete = BALANCER_KINDS | {Kind.FLOATING_IP, Kind.PORT}
    state.take_cloud(CloudState(project_id="p", load_balancers=found, complete=frozenset(complete)), state.mark())
    return state


@pytest.mark.parametrize(
    ("history", "gone"),
    [
        pytest.param([event(WEB)], set(), id="it is there"),
        pytest.param([event(WEB), event(WEB, deleted=True)], {"web"}, id="its deletion was seen"),
        pytest.param([event(WEB, deleted=True)], {"web"}, id="only its deletion was seen"),
        pytest.param([first_lists(WEB)], {"newer", "older"}, id="the first lists"),
        pytest.param([full_turn(WEB)], {"newer", "older"}, id="a full turn that agrees with what events told"),
        pytest.param([event(WEB), full_turn()], {"newer", "older"}, id="one full turn against what events told"),
        pytest.param([event(WEB), full_turn(), full_turn()], {"web", "newer", "older"}, id="two of them"),
        pytest.param([event(WEB), full_turn(), full_turn(WEB), full_turn()], {"newer", "older"}, id="not in a row"),
        pytest.param([event(WEB), event(NEWER)], {"web"}, id="a newer one with its name"),
        pytest.param([event(WEB), full_turn(NEWER)], {"web", "older"}, id="a full turn that names a newer one"),
        pytest.param([event(WEB), event(OLDER)], set(), id="an older one with its name"),
        pytest.param([event(WEB), informer()], set(), id="an informer's list"),
        pytest.param([informer(WEB), informer()], set(), id="another list of an informer"),
    ],
)
def test_whose_absence_is_proven(history: list[Happens], gone: set[str]) -> None:
    state = known()
    for happens in history:
        happens(state)
    assert state.absences.gone == gone


@pytest.mark.parametrize("late", [event(WEB), informer(WEB), full_turn(WEB)], ids=["event", "list", "full turn"])
def test_who_is_gone_never_comes_back(late: Happens) -> None:
    state = known()
    state.take_change(WEB, deleted=True)
    late(state)
    assert state.balancing.services == {}
    assert state.cluster().services == {}
    assert "web" in state.absences.gone


def test_a_deletion_that_was_seen_is_no_absence_to_be_limited() -> None:
    state = known()
    state.take_change(WEB, deleted=False)
    state.take_change(NEWER, deleted=False)
    assert state.absences.witnessed == {"web"}
    state.take_change(NEWER, deleted=True)
    assert state.absences.witnessed == {"web", "newer"}


def test_a_proof_that_nothing_asks_for_is_forgotten_after_two_observations() -> None:
    state = known()
    state.take_change(WEB, deleted=True)
    complete = frozenset(BALANCER_KINDS | {Kind.FLOATING_IP, Kind.PORT})
    for _ in range(2):
        state.take_cloud(CloudState(project_id="p", complete=complete), state.mark())
    assert state.absences.gone == set()


def test_what_changed_since_an_observation_began_is_not_taken_back() -> None:
    state = known()
    mark = state.mark()
    key = "load-balancer/service/web/4"
    deleted = Step(action=Action.DELETE, kind=Kind.LOAD_BALANCER, key=key, reason="its Service is gone", id="lb-web")
    state.fold(Outcome(deleted))
    found = {each.id: each for each in map(balancer, ("web", "newer"))}
    complete = frozenset(BALANCER_KINDS | {Kind.FLOATING_IP, Kind.PORT})
    state.take_cloud(CloudState(project_id="p", load_balancers=found, complete=complete), mark)
    assert state.balancing.index.served() == {"newer"}


def test_load_balancers_that_were_not_listed_stay_as_they_were_known() -> None:
    state = known()
    state.take_cloud(CloudState(project_id="p", complete=frozenset({Kind.PORT})), state.mark())
    assert state.balancing.index.served() == {"web", "newer", "older"}
