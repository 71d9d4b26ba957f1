"""One line of the audit log: what was changed in the cloud or the cluster, why, and by which call.

Does not know: the time, who runs, where lines go; the writer adds those.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from kuryrctl.core.kinds import Action


class AuditRecord(Struct, frozen=True, kw_only=True):
    """One mutation that was asked of the other side, whether it succeeded or not.

    `kind` is the Kind of a plan's step; of any other call to Kubernetes it is the plural in its path, and `key` that
    plural with namespace and name. `before` and `after` are the fields that change, as people read them. `status` is
    the HTTP status of the answer (0: no answer came), `request_id` the other side's id of the call
    (``x-openstack-request-id``, ``audit-id``), `error` the code of the fault, empty where there was none. A bulk call
    gives one record for each object.
    """

    action: Action
    kind: str
    key: str
    reason: str
    id: str = ""
    subject: str = ""
    before: Mapping[str, str] = {}
    after: Mapping[str, str] = {}
    call: str = ""
    status: int = 0
    request_id: str = ""
    error: str = ""
