"""Makes, changes and deletes load balancers and what is below them: one step of a plan, whatever calls that takes.

A load balancer is one call with everything below it. What is below is changed part by part, because Octavia admits one
change at a time: each is made when nothing of the load balancer is pending, and waited for.
Does not know: the order of plans, when a step is worth it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from msgspec import Struct

from kuryrctl.cloud import octavia_wire, wire
from kuryrctl.cloud.balancer_quota import refusal
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.left_vips import LeftVips
from kuryrctl.cloud.meanings import BALANCER_ADDRESS_TAKEN, OCTAVIA, PENDING
from kuryrctl.cloud.octavia_wire import BALANCERS, BalancerTree, Status
from kuryrctl.cloud.recording import Log
from kuryrctl.cloud.trees import Trees
from kuryrctl.cloud.waiting import Waiter, with_statuses
from kuryrctl.cloud.wire import Body
from kuryrctl.core import names
from kuryrctl.core.balancers import BalancerHead, LoadBalancer
from kuryrctl.core.errors import Conflict, KuryrError, Owner
from kuryrctl.core.plan import Step
from kuryrctl.core.specs import Key, LoadBalancerSpec

ATTEMPTS = 3
"""How often a change is tried that found its load balancer immutable again: somebody was quicker."""
CERTAIN = frozenset({400, 403, 404, 501})
"""Statuses of a refusal after which Octavia is at work on nothing."""
FORGOTTEN_S = 600.0
"""So old is the port of a VIP that no creation is at work on any more; a call of Octavia's API takes seconds."""


class Change(Struct, frozen=True):
    """A call that changes something of a load balancer. `touched`: the id of that, where no answer tells it."""

    method: str
    path: str
    body: Body | None = None
    touched: str = ""


class Balancers:
    """Load balancers of one project, one step at a time. Raises Refused and KuryrError; mutations are told to `log`."""

    def __init__(
        self, client: Client, trees: Trees, waiter: Waiter, ids: Mapping[Key, str], log: Log, *, left_vips: LeftVips
    ) -> None:
        self._client = client
        self._left_vips = left_vips
        self._trees = trees
        self._waiter = waiter
        self._ids = ids
        self._log = log

    def create(self, step: Step, spec: LoadBalancerSpec) -> LoadBalancer:
        """The load balancer with everything below it, also where an earlier call has made it: never a second one."""
        call = f"POST {BALANCERS.path}"
        try:
            response = self._client.call("POST", BALANCERS.path, octavia_wire.balancer_body(spec, self._ids))
            made = wire.decode_member(response.body, BALANCERS.singular, BalancerTree, OCTAVIA)
        except (Refused, KuryrError) as fault:
            self._log(step, "", call, fault)
            existing = self._existing(spec, fault)
            if existing is not None:
                return self._tagged(step, self._ready(existing), spec)
            if self._vip_freed(step, spec, fault):
                return self.create(step, spec)
            if isinstance(fault, Refused):
                what = f"load balancer of {step.subject or step.key} not created"
                raise refusal(self._client, fault, what) from fault
            raise
        self._log(step, made.id, call, response)
        tree = octavia_wire.tree_of(made)
        return self._tagged(step, with_statuses(tree, self._waiter.settled(tree, tree.id)), spec)

    def update(self, step: Step, spec: LoadBalancerSpec) -> LoadBalancer:
        """Give it the name, the description and the tags that it lacks, and switch it on; tags of others stay."""
        row = self.ours(step, step.id)
        planned = {change.field for change in step.changes}
        wanted = {"name": spec.name, "description": spec.description}
        changes: Body = {field: value for field, value in wanted.items() if field in planned}
        missing = wire.missing_tags(row.tags, spec.tags)
        if not row.admin_state_up:
            changes["admin_state_up"] = True
        if missing:
            changes["tags"] = sorted({*row.tags, *missing})
        if changes:
            self.change(step, row, Change("PUT", f"{BALANCERS.path}/{row.id}", {BALANCERS.singular: changes}))
        return self._trees.one(row.id)

    def delete(self, step: Step) -> None:
        """Delete it with everything below it, and wait until it is gone. One that is gone is fine."""
        try:
            row = self.ours(step, step.id)
        except Refused as refused:
            if refused.status == 404:
                return
            raise
        if row.provisioning_status != "PENDING_DELETE":
            self._waiter.not_pending(row)
            self.call(step, row.id, Change("DELETE", f"{BALANCERS.path}/{row.id}?cascade=true"))
        self._waiter.gone(row)

    def failover(self, step: Step) -> LoadBalancer:
        """Have its provider make anew what carries it, where the provider can."""
        row = self.ours(step, step.id)
        self._waiter.not_pending(row)
        self.call(step, row.id, Change("PUT", f"{BALANCERS.path}/{row.id}/failover"))
        self._waiter.settled(row)
        return self._trees.one(row.id)

    def ours(self, step: Step, id_: str) -> BalancerHead:
        """The load balancer as it is now, which carries our mark. Raises Refused (404: it is gone), Conflict."""
        row = self._client.get(BALANCERS, id_)
        marks = row.tags if names.cluster_of(row.tags) else names.described(row.description)
        if row.project_id != self._client.project_id or not names.cluster_of(marks):
            raise Conflict(
                f"{step.action} of {step.key} not done: load balancer {row.id} carries no mark of this cluster",
                code="OCT-NOT-OURS",
                owner=Owner.USER,
                hint="it was changed by somebody; the next turn looks again",
            )
        return row

    def change(
        self,
        step: Step,
        balancer: BalancerHead,
        change: Change,
        holds: Callable[[Status], bool] = lambda _: True,
    ) -> bytes:
        """Make one change, before and after which nothing of the load balancer is pending; the answer to it.

        It is waited for until `holds`, and a deletion until what is deleted is gone.
        """
        self._waiter.active(balancer)
        for attempt in range(ATTEMPTS):
            try:
                answer = self.call(step, change.touched or balancer.id, change)
            except Refused as refused:
                if refused.code != PENDING or attempt == ATTEMPTS - 1:
                    raise
                self._waiter.settled(self.ours(step, balancer.id))
            else:
                break
        if change.method == "DELETE":
            holds = partial(self._is_gone, change.path)
        self._waiter.settled(balancer, change.touched or octavia_wire.id_in(answer) or balancer.id, holds)
        return answer

    def call(self, step: Step, id_: str, change: Change) -> bytes:
        """One mutation, told to the log. The deletion of what is gone is fine."""
        call = f"{change.method} {change.path}"
        try:
            response = self._client.call(change.method, change.path, change.body)
        except Refused as refused:
            self._log(step, id_, call, refused)
            if change.method == "DELETE" and refused.status == 404:
                return b""
            raise
        except KuryrError as error:
            self._log(step, id_, call, error)
            raise
        self._log(step, id_, call, response)
        return response.body

    def _is_gone(self, path: str, _: Status | None = None) -> bool:
        try:
            self._client.call("GET", path)
        except Refused as refused:
            if refused.status == 404:
                return True
            raise
        return False

    def _existing(self, spec: LoadBalancerSpec, fault: Refused | KuryrError) -> BalancerHead | None:
        """The load balancer that this creation, or an earlier one, has made all the same."""
        if isinstance(fault, Refused) and not (fault.effect_unknown or fault.status == 409):
            return None
        query = [("project_id", self._client.project_id), ("name", spec.name)]
        named = [row for row in self._client.list(BALANCERS, query) if row.description == spec.description]
        return named[0] if len(named) == 1 else None

    def _vip_freed(self, step: Step, spec: LoadBalancerSpec, fault: Refused | KuryrError) -> bool:
        """Remove what the refused creation has left of the VIP; whether one left earlier was all that it met.

        What has just been refused for anything else had the address, so nobody else has it.
        """
        if not isinstance(fault, Refused) or spec.vip_address is None or not (spec.vip_subnet or spec.vip_subnet_id):
            return False
        taken = fault.code == BALANCER_ADDRESS_TAKEN
        if not taken and fault.status not in CERTAIN:
            return False
        subnet = wire.resolve(self._ids, spec.vip_subnet) if spec.vip_subnet else spec.vip_subnet_id
        least_age_s = FORGOTTEN_S if taken else 0.0
        return self._left_vips.remove(step, subnet, spec.vip_address, self._exists, least_age_s) and taken

    def _exists(self, id_: str) -> bool:
        return not self._is_gone(f"{BALANCERS.path}/{id_}")

    def _ready(self, row: BalancerHead) -> LoadBalancer:
        self._waiter.active(row)
        return self._trees.one(row.id)

    def _tagged(self, step: Step, tree: LoadBalancer, spec: LoadBalancerSpec) -> LoadBalancer:
        """With all its tags: an Octavia before 2.5 drops those of a creation."""
        if not wire.missing_tags(tree.tags, spec.tags):
            return tree
        return self.update(msgspec.structs.replace(step, id=tree.id, changes=()), spec)
