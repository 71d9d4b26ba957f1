"""The difference for one Service: the world before, the plan as people read it, and nothing left to do after it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.balancers import FloatingIP, HealthMonitor, Listener, LoadBalancer, Member, Pool
from kuryrctl.core.diff_services import Remedy
from kuryrctl.core.kinds import Kind
from kuryrctl.core.ownership import service_tags
from kuryrctl.core.services import ServicePort
from tests.unit.core.balancing import Scene, floating_ip, our_description, service, slice_

ONE = Scene().converged()
OUTSIDE = Scene(service=service(type="LoadBalancer"))
PUBLISHED = OUTSIDE.converged()
MONITORED = Scene(service=service(annotations={"loadbalancer.openstack.org/enable-health-monitor": "true"})).converged()


def with_tree(scene: Scene, **changed: Any) -> Scene:
    """The scene after somebody changed its load balancer by hand."""
    (balancer,) = scene.balancers
    return replace(scene, balancers=(replace(balancer, **changed),))


def with_pool(scene: Scene, **changed: Any) -> Scene:
    (pool,) = scene.balancers[0].pools
    return with_tree(scene, pools=(replace(pool, **changed),))


def with_listener(scene: Scene, **changed: Any) -> Scene:
    (listener,) = scene.balancers[0].listeners
    return with_tree(scene, listeners=(replace(listener, **changed),))


def with_floating_ip(scene: Scene, **changed: Any) -> Scene:
    (found,) = scene.floating_ips
    return replace(scene, floating_ips=(replace(found, **changed),))


LB, LISTENER, POOL = "load-balancer/service/u1/4", "listener/service/u1/4/tcp-80", "pool/service/u1/4/tcp-80"
MEMBERS, FLOATING = "member/service/u1/4/tcp-80", "floating-ip/service/u1/4"
CASES: dict[str, tuple[Scene, list[str]]] = {
    "a new Service is one step": (
        Scene(),
        [f"create {LB}  (Service shop/web has no load balancer for 10.96.0.5)"],
    ),
    "a dual-stack one has a load balancer for each address": (
        Scene(service=service(cluster_ips=("10.96.0.5", "fd00:10:96::5"))),
        [
            f"create {LB}  (Service shop/web has no load balancer for 10.96.0.5)",
            "create load-balancer/service/u1/6  (Service shop/web has no load balancer for fd00:10:96::5)",
        ],
    ),
    "one of type LoadBalancer has a floating IP as well": (
        OUTSIDE,
        [
            f"create {LB}  (Service shop/web has no load balancer for 10.96.0.5)",
            f"create {FLOATING}  (Service shop/web has no floating IP)",
        ],
    ),
    "its status tells the address once that leads there": (
        replace(PUBLISHED.changed(ingress=())),
        ["update service/u1  (the status of Service shop/web tells no address, it should tell 203.0.113.7)"],
    ),
    "a status that somebody has changed": (
        PUBLISHED.changed(ingress=("198.51.100.1",)),
        ["update service/u1  (the status of Service shop/web tells 198.51.100.1, it should tell 203.0.113.7)"],
    ),
    "one more member is one step on the members alone": (
        replace(ONE, slices=(slice_("10.65.0.8", "10.65.0.9", "10.65.0.10"),)),
        [f"update {MEMBERS}  (the pool for TCP 80 of Service shop/web lacks 10.65.0.10:8080)"],
    ),
    "so is a rollout": (
        replace(ONE, slices=(slice_("10.65.0.9", "10.65.0.10"),)),
        [
            f"update {MEMBERS}  (the pool for TCP 80 of Service shop/web lacks 10.65.0.10:8080,"
            " should not have 10.65.0.8:8080)"
        ],
    ),
    "and no endpoint at all": (
        replace(ONE, slices=()),
        [f"update {MEMBERS}  (the pool for TCP 80 of Service shop/web should not have 10.65.0.8:8080, 10.65.0.9:8080)"],
    ),
    "many members are not told one by one": (
        replace(ONE, slices=(slice_(*(f"10.65.0.{number}" for number in range(8, 18))),)),
        [
            f"update {MEMBERS}  (the pool for TCP 80 of Service shop/web lacks"
            " 10.65.0.10:8080, 10.65.0.11:8080, 10.65.0.12:8080, 10.65.0.13:8080 and 4 more)"
        ],
    ),
    "a member that somebody has switched off, or weighed": (
        with_pool(
            ONE,
            members=(Member("m1", "10.65.0.8", 8080, admin_state_up=False), Member("m2", "10.65.0.9", 8080, weight=0)),
        ),
        [
            f"update {MEMBERS}  (the pool for TCP 80 of Service shop/web"
            " should weigh anew 10.65.0.8:8080, 10.65.0.9:8080)"
        ],
    ),
    "one more port is a listener with its pool": (
        ONE.changed(ports=(ServicePort(80, target_port=8080), ServicePort(53, "UDP", "dns"))),
        [
            "create listener/service/u1/4/udp-53  (nothing listens on 10.96.0.5 for UDP 53 of Service shop/web)",
        ],
    ),
    "another port: what is new comes first": (
        ONE.changed(ports=(ServicePort(81, target_port=8080),)),
        [
            "create listener/service/u1/4/tcp-81  (nothing listens on 10.96.0.5 for TCP 81 of Service shop/web)",
            f"delete {LISTENER}  (Service shop/web has no port TCP 80)",
        ],
    ),
    "a listener that somebody has deleted": (
        with_tree(ONE, listeners=()),
        [f"create {LISTENER}  (nothing listens on 10.96.0.5 for TCP 80 of Service shop/web)"],
    ),
    "a pool that somebody has deleted": (
        with_listener(with_tree(ONE, pools=()), default_pool_id=None),
        [f"create {POOL}  (the listener for TCP 80 of Service shop/web leads to no pool of ours)"],
    ),
    "a listener that somebody has led to a pool of theirs": (
        with_listener(
            with_tree(ONE, pools=(*ONE.balancers[0].pools, Pool("theirs", "TCP", "SOURCE_IP_PORT", "theirs"))),
            default_pool_id="theirs",
        ),
        [
            f"create {POOL}  (the listener for TCP 80 of Service shop/web leads to no pool of ours)",
            "delete pool/service/u1/4/theirs  (no listener of Service shop/web leads to this pool: theirs)",
        ],
    ),
    "a listener and a pool that nobody asks for": (
        with_tree(
            ONE,
            listeners=(*ONE.balancers[0].listeners, Listener("l9", "UDP", 99, default_pool_id="p9")),
            pools=(*ONE.balancers[0].pools, Pool("p9", "UDP", "SOURCE_IP_PORT"), Pool("p8", "TCP", "SOURCE_IP_PORT")),
        ),
        [
            "delete listener/service/u1/4/udp-99  (Service shop/web has no port UDP 99)",
            "delete pool/service/u1/4/p8  (no listener of Service shop/web leads to this pool: p8)",
        ],
    ),
    "whatever is switched off is switched on": (
        with_pool(with_listener(with_tree(ONE, admin_state_up=False), admin_state_up=False), admin_state_up=False),
        [
            f"update {LB}  (the load balancer of Service shop/web is switched off)",
            f"update {LISTENER}  (the listener tcp-80 of Service shop/web differs: admin_state_up false -> true)",
            f"update {POOL}  (the pool tcp-80 of Service shop/web differs: admin_state_up false -> true)",
        ],
    ),
    "session affinity is another algorithm, which OVN cannot change": (
        ONE.changed(session_affinity="ClientIP"),
        [
            f"delete {LB}/lb1  (the session affinity of Service shop/web changes, and ovn can change that only by a new"
            " load balancer: 10.96.0.5 does not answer until that is done)",
            f"create {LB}  (the session affinity of Service shop/web changes, and ovn can change that only by a new"
            " load balancer: 10.96.0.5 does not answer until that is done)",
        ],
    ),
    "and so is a Service without it again": (
        Scene(service=service(session_affinity="ClientIP")).converged().changed(session_affinity="None"),
        [
            f"delete {LB}/lb1  (the session affinity of Service shop/web changes, and ovn can change that only by a new"
            " load balancer: 10.96.0.5 does not answer until that is done)",
            f"create {LB}  (the session affinity of Service shop/web changes, and ovn can change that only by a new"
            " load balancer: 10.96.0.5 does not answer until that is done)",
        ],
    ),
    "with Amphora it is an update": (
        Scene().with_config(provider="amphora").converged().changed(session_affinity="ClientIP"),
        [f"update {POOL}  (the pool tcp-80 of Service shop/web differs: session_persistence not set -> SOURCE_IP)"],
    ),
    "another time-out of affinity is an update, where it counts": (
        Scene(service=service(session_affinity="ClientIP", ports=(ServicePort(53, "UDP"),)))
        .converged()
        .changed(affinity_timeout_s=60),
        [
            "update pool/service/u1/4/udp-53  (the pool udp-53 of Service shop/web differs:"
            " session_persistence SOURCE_IP 10800 s -> SOURCE_IP 60 s)"
        ],
    ),
    "a health monitor is asked for": (
        ONE.changed(annotations={"loadbalancer.openstack.org/enable-health-monitor": "true"}),
        ["create health-monitor/service/u1/4/tcp-80  (nothing watches the members for TCP 80 of Service shop/web)"],
    ),
    "and no more": (
        MONITORED.changed(annotations={}),
        [
            "delete health-monitor/service/u1/4/tcp-80"
            "  (nobody asks for a health monitor for TCP 80 of Service shop/web)"
        ],
    ),
    "a health monitor that somebody has changed": (
        with_pool(MONITORED, health_monitor=HealthMonitor("m", "TCP", 60, 3, 1)),
        ["update health-monitor/service/u1/4/tcp-80  (the monitor tcp-80 of Service shop/web differs: delay 60 -> 5)"],
    ),
    "one that lacks its tags is adopted": (
        with_tree(ONE, tags=()),
        [f"adopt {LB}  (it was made for Service shop/web, but lacks our tags)"],
    ),
    "a floating IP that lacks its tags": (
        with_floating_ip(PUBLISHED, tags=()),
        [f"adopt {FLOATING}  (it was made for Service shop/web, but lacks our tags)"],
    ),
    "a floating IP that leads elsewhere": (
        with_floating_ip(PUBLISHED, port_id="vm"),
        [
            f"update {FLOATING}  (floating IP 203.0.113.7 of Service shop/web differs: port vm -> vip-lb1)",
            "update service/u1  (the status of Service shop/web tells 203.0.113.7, it should tell none)",
        ],
    ),
    "a load balancer in ERROR is only told of": (with_tree(ONE, provisioning_status="ERROR"), []),
    "unless somebody asks for its repair": (
        replace(with_tree(PUBLISHED, provisioning_status="ERROR"), remedy=Remedy.RECREATE),
        [
            f"delete {LB}/lb1  (Octavia has given up the load balancer of Service shop/web, so it is made anew:"
            " 10.96.0.5 does not answer until that is done)",
            f"create {LB}  (Octavia has given up the load balancer of Service shop/web, so it is made anew:"
            " 10.96.0.5 does not answer until that is done)",
            f"update {FLOATING}  (floating IP 203.0.113.7 of Service shop/web differs:"
            " port vip-lb1 -> the new load balancer's)",
        ],
    ),
    "one listener in ERROR is a reason, too": (
        replace(with_listener(ONE, provisioning_status="ERROR"), remedy=Remedy.RECREATE),
        [
            f"delete {LB}/lb1  (Octavia has given up listener tcp-80 of Service shop/web, so it is made anew:"
            " 10.96.0.5 does not answer until that is done)",
            f"create {LB}  (Octavia has given up listener tcp-80 of Service shop/web, so it is made anew:"
            " 10.96.0.5 does not answer until that is done)",
        ],
    ),
    "the repair of what works does nothing": (replace(ONE, remedy=Remedy.RECREATE), []),
    "another provider states its outage": (
        ONE.with_config(provider="amphora"),
        [
            f"delete {LB}/lb1  (the provider of Service shop/web changes from ovn to amphora:"
            " 10.96.0.5 does not answer until that is done)",
            f"create {LB}  (the provider of Service shop/web changes from ovn to amphora:"
            " 10.96.0.5 does not answer until that is done)",
        ],
    ),
    "Octavia's other name of a provider is no change": (
        with_tree(Scene().with_config(provider="amphora").converged(), provider="octavia"),
        [],
    ),
    "a Service that got another address": (
        ONE.changed(cluster_ips=("10.96.0.6",)),
        [
            f"delete {LB}/lb1  (Service shop/web has 10.96.0.6, not this address)",
            f"create {LB}  (Service shop/web has no load balancer for 10.96.0.6)",
        ],
    ),
    "a Service that has lost an address": (
        Scene(service=service(cluster_ips=("10.96.0.5", "fd00:10:96::5")))
        .converged()
        .changed(cluster_ips=("10.96.0.5",)),
        ["delete load-balancer/service/u1/6  (Service shop/web asks for no such load balancer any more: 6)"],
    ),
    "a pending one with a difference is planned all the same": (
        with_tree(replace(ONE, slices=()), provisioning_status="PENDING_UPDATE"),
        [f"update {MEMBERS}  (the pool for TCP 80 of Service shop/web should not have 10.65.0.8:8080, 10.65.0.9:8080)"],
    ),
    "a Service that became internal gives its floating IP back": (
        PUBLISHED.changed(type="ClusterIP"),
        [
            f"delete {FLOATING}  (Service shop/web asks for no floating IP any more)",
            "update service/u1  (the status of Service shop/web tells 203.0.113.7, it should tell none)",
        ],
    ),
    "source ranges that nobody enforces close it, and lose no address": (
        PUBLISHED.changed(source_ranges=("198.51.100.0/24",)),
        [
            f"update {FLOATING}  (floating IP 203.0.113.7 of Service shop/web differs: port vip-lb1 -> none)",
            "update service/u1  (the status of Service shop/web tells 203.0.113.7, it should tell none)",
        ],
    ),
    "another class is somebody else's": (
        PUBLISHED.changed(load_balancer_class="metallb"),
        [f"delete {FLOATING}  (Service shop/web asks for no floating IP any more)"],
    ),
    "a Service that is gone takes everything along": (
        replace(PUBLISHED, service=None),
        [
            f"delete {FLOATING}  (its Service is gone)",
            f"delete {LB}  (its Service is gone: kuryr/shop/web)",
        ],
    ),
    "nothing goes without proof": (replace(PUBLISHED, service=None, gone=False), []),
    "a Service without ClusterIP": (
        ONE.changed(type="ExternalName", cluster_ips=()),
        [f"delete {LB}  (Service shop/web asks for no such load balancer any more: 4)"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_plan_for_a_service(name: str) -> None:
    scene, expected = CASES[name]
    assert scene.plan() == expected
    assert scene.after().converged().plan() == []


def test_a_converged_service_has_no_plan() -> None:
    for scene in (ONE, PUBLISHED, MONITORED):
        assert scene.plan() == []


# Doubles, and what is not ours --------------------------------------------------------------------------------------


def test_a_double_is_deleted_with_the_one_that_is_used_left_alone() -> None:
    (used,) = ONE.balancers
    scene = replace(ONE, balancers=(used, replace(used, id="lb9", vip_port_id="other")))

    assert scene.plan() == [f"delete {LB}/lb9  (a second load balancer of Service shop/web)"]
    assert scene.after() == ONE


def test_one_that_copied_our_marks_is_left_alone() -> None:
    (used,) = ONE.balancers
    theirs = replace(used, id="lb9", vip_address="192.168.7.7", vip_subnet_id="theirs")
    scene = replace(ONE, balancers=(used, theirs))

    assert scene.plan() == []
    assert scene.findings() == [
        "load balancer lb9 says that it serves Service shop/web, but its address 192.168.7.7 is on subnet theirs, not"
        " on one for Services; kuryrctl leaves it alone"
    ]


def test_one_that_is_going_is_waited_for_by_the_creation_of_its_successor() -> None:
    scene = with_tree(ONE, provisioning_status="PENDING_DELETE")
    assert scene.plan() == [f"create {LB}  (Service shop/web has no load balancer for 10.96.0.5)"]


def test_one_in_error_is_told() -> None:
    assert with_tree(ONE, provisioning_status="ERROR").findings() == [
        "load balancer lb1 of Service shop/web is in ERROR: Octavia has given it up and refuses changes; next: kuryrctl"
        " service sync --repair makes it anew"
    ]


def test_what_is_kept_for_lack_of_proof_is_told() -> None:
    assert replace(PUBLISHED, service=None, gone=False).findings() == [
        "floating-ip fip2 (203.0.113.7): no Service is seen that it serves; kept until that is proven",
        "load-balancer lb1 (kuryr/shop/web): no Service is seen that it serves; kept until that is proven",
    ]


# Floating IPs -------------------------------------------------------------------------------------------------------

ALLOWED = {"allow": {"shop": ["203.0.113.0/24"]}}


def test_a_users_own_floating_ip_is_used_and_never_made_or_deleted() -> None:
    scene = replace(OUTSIDE.changed(load_balancer_ip="203.0.113.9").with_config(**ALLOWED))
    scene = replace(scene, floating_ips=(floating_ip("203.0.113.9"),))
    assert scene.plan()[1:] == [
        f"update {FLOATING}  (floating IP 203.0.113.9 of Service shop/web differs:"
        " port none -> the new load balancer's)"
    ]

    done = scene.converged()
    assert done.service is not None
    assert (done.service.ingress, done.floating_ips[0].tags) == (("203.0.113.9",), ())

    freed = done.changed(type="ClusterIP")
    assert freed.plan() == [
        f"update {FLOATING}/id-203.0.113.9  (203.0.113.9: Service shop/web asks for it no more)",
        "update service/u1  (the status of Service shop/web tells 203.0.113.9, it should tell none)",
    ]
    assert freed.steps()[1].needs == (f"{FLOATING}/id-203.0.113.9",)
    assert [each.port_id for each in freed.converged().floating_ips] == [None]

    gone = replace(done, service=None).converged()
    assert (gone.balancers, [each.port_id for each in gone.floating_ips]) == ((), [None])


def test_a_floating_ip_that_a_user_put_there_by_hand_is_left_alone() -> None:
    scene = replace(ONE, floating_ips=(floating_ip("203.0.113.9", port_id="vip-lb1"),))
    assert scene.plan() == []


def test_an_address_that_is_asked_for_and_free_is_made() -> None:
    scene = OUTSIDE.changed(load_balancer_ip="203.0.113.9").with_config(**ALLOWED).converged()
    (made,) = scene.floating_ips
    assert (made.floating_ip_address, made.port_id) == ("203.0.113.9", "vip-lb1")

    other = scene.changed(load_balancer_ip="203.0.113.10")
    assert other.plan() == [
        f"delete {FLOATING}/fip2  (Service shop/web asks for 203.0.113.10, not for 203.0.113.9)",
        f"create {FLOATING}  (Service shop/web has no floating IP)",
        "update service/u1  (the status of Service shop/web tells 203.0.113.9, it should tell none)",
    ]
    assert other.steps()[1].needs == (f"{FLOATING}/fip2",)
    assert other.converged().plan() == []


def test_one_that_is_to_be_kept_outlives_its_service() -> None:
    keep = {"loadbalancer.openstack.org/keep-floatingip": "true"}
    scene = PUBLISHED.changed(annotations=keep)
    assert scene.plan() == [
        f"update {FLOATING}  (floating IP 203.0.113.7 of Service shop/web differs: keep false -> true)"
    ]
    kept = scene.converged()

    assert kept.changed(annotations={}).plan() == [
        f"update {FLOATING}  (floating IP 203.0.113.7 of Service shop/web differs: keep true -> false)"
    ]
    gone = replace(kept, service=None)
    assert gone.plan() == [f"delete {LB}  (its Service is gone: kuryr/shop/web)"]
    assert [(each.port_id, names.KEEP in each.tags) for each in gone.converged().floating_ips] == [(None, True)]
    internal = kept.changed(type="ClusterIP").converged()
    assert [(each.port_id, names.KEEP in each.tags) for each in internal.floating_ips] == [(None, True)]


def test_a_second_floating_ip_of_ours_goes() -> None:
    double = FloatingIP(
        "fip9", "203.0.113.8", "public", "project", tags=service_tags("kuryr", "u1", "4"), description=our_description()
    )
    scene = replace(PUBLISHED, floating_ips=(double, *PUBLISHED.floating_ips))
    assert scene.plan() == [f"delete {FLOATING}/fip9  (a second floating IP of Service shop/web)"]


@pytest.mark.parametrize(
    ("theirs", "note"),
    [
        (floating_ip("203.0.113.9", port_id="vm"), "floating IP 203.0.113.9 is in use: it leads to port vm"),
        (
            floating_ip(
                "203.0.113.9",
                tags=service_tags("kuryr", "other", "4"),
                description=names.description(service_tags("kuryr", "other", "4")),
            ),
            "floating IP 203.0.113.9 is another Service's",
        ),
    ],
)
def test_a_floating_ip_that_is_in_use_is_not_taken(theirs: FloatingIP, note: str) -> None:
    scene = OUTSIDE.changed(load_balancer_ip="203.0.113.9").with_config(**ALLOWED)
    scene = replace(scene, floating_ips=(theirs,))
    assert scene.findings() == [f"SVC-FLOATING-IP: {note}"]
    assert [step.kind for step in scene.steps()] == [Kind.LOAD_BALANCER]


# Provider network ---------------------------------------------------------------------------------------------------


def test_a_vip_on_the_provider_network_is_one_more_load_balancer() -> None:
    scene = OUTSIDE.with_config(external="provider-network")
    assert scene.plan() == [
        f"create {LB}  (Service shop/web has no load balancer for 10.96.0.5)",
        "create load-balancer/service/u1/external-4"
        "  (Service shop/web has no load balancer for its address on the provider network)",
    ]
    done = scene.converged()
    assert done.service is not None
    assert done.service.ingress == ("203.0.113.50",)
    assert done.changed(type="ClusterIP").plan() == [
        "delete load-balancer/service/u1/external-4"
        "  (Service shop/web asks for no such load balancer any more: external-4)",
        "update service/u1  (the status of Service shop/web tells 203.0.113.50, it should tell none)",
    ]


# Order --------------------------------------------------------------------------------------------------------------


def test_the_steps_of_one_load_balancer_are_a_chain() -> None:
    scene = ONE.changed(ports=(ServicePort(81, target_port=8080), ServicePort(82, "UDP")))
    chain = scene.steps()
    assert [step.after for step in chain] == [(), *((step.key,) for step in chain[:-1])]


def test_load_balancers_of_one_service_do_not_wait_for_each_other() -> None:
    scene = Scene(service=service(cluster_ips=("10.96.0.5", "fd00:10:96::5")))
    assert [step.after for step in scene.steps()] == [(), ()]


def test_a_floating_ip_needs_a_load_balancer_that_is_still_to_be_made() -> None:
    assert OUTSIDE.steps()[1].needs == (LB,)
    assert [step.needs for step in with_floating_ip(PUBLISHED, port_id=None).steps()[:1]] == [()]


def test_a_load_balancer_that_takes_an_address_over_needs_the_deletion_of_the_old_one() -> None:
    old, new = ONE.with_config(provider="amphora").steps()
    assert new.needs == (old.key,)


def test_what_opens_a_port_needs_the_rules_to_go_that_would_let_it_out() -> None:
    rule = "security-group-rule/policy-egress/p/r1"
    created = replace(Scene(), closing=(rule,)).steps()
    members = replace(ONE, closing=(rule,), slices=(slice_("10.65.0.10"),)).steps()
    listener = replace(ONE.changed(ports=(ServicePort(81),)), closing=(rule,)).steps()
    assert [step.needs for step in (*created, *members, *listener)] == [(rule,), (rule,), (rule,), ()]


def test_an_address_that_a_service_before_had_is_freed_first() -> None:
    before = replace(ONE, balancers=tuple(replace(each, **made_for("u0")) for each in ONE.balancers))
    (step,) = before.steps()
    assert (step.key, step.after, step.needs) == (LB, ("load-balancer/service/u0/4",), ())


def made_for(uid: str) -> dict[str, Any]:
    """The marks of what was made for another Service."""
    tags = service_tags("kuryr", uid, "4")
    return {"tags": tags, "description": names.description(tags)}


def test_a_load_balancer_of_nobody_is_not_seen() -> None:
    assert replace(ONE, balancers=(*ONE.balancers, LoadBalancer("other", vip_address="10.96.0.9"))).plan() == []


PORT = "port/pod/p1"
RANGES = OUTSIDE.changed(source_ranges=("198.51.100.0/24",))


def test_nothing_leads_to_a_service_with_source_ranges_before_its_members_keep_others_out() -> None:
    guarded = replace(RANGES, unguarded="", guarding=(PORT,))
    balancer, floating = guarded.steps()
    assert (balancer.needs, floating.needs) == ((), (LB, PORT))

    outside = guarded.with_config(external="provider-network")
    assert [step.needs for step in outside.steps()] == [(), (PORT,)]


def test_nor_does_a_member_come_before_its_port_keeps_others_out() -> None:
    done = replace(RANGES, unguarded="").converged()
    more = replace(done, slices=(slice_("10.65.0.8", "10.65.0.9", "10.65.0.10"),), guarding=(PORT,))
    assert [step.needs for step in more.steps()] == [(PORT,)]
    inside = replace(more, floating_ips=()).changed(type="ClusterIP", ingress=())
    assert [step.needs for step in inside.steps()] == [()]


def test_a_service_whose_ranges_are_enforced_no_more_is_closed() -> None:
    done = replace(RANGES, unguarded="").converged()
    closed = replace(done, unguarded="a policy lets others in to that port of pod shop/web")
    assert [(step.kind, step.changes[0].after) for step in closed.steps()] == [
        (Kind.FLOATING_IP, ""),
        (Kind.SERVICE, ""),
    ]
    assert closed.findings() == [
        "SVC-RANGES: no external address, because its source ranges cannot be enforced: a policy lets others in to that"
        " port of pod shop/web"
    ]
    assert closed.converged().balancers == done.balancers
