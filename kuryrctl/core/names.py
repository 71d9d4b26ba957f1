"""Names, tags and MAC addresses: how an object of ours is recognised, and by whom it cannot be made twice.

Tags are at most 255 characters (Neutron, tagging API), so they carry uids, never ``namespace/name``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

DEVICE_OWNER = "compute:kuryr"
NAME_MAX = 255
_CLUSTER, _ROLE, _UID, _GUARD = "kuryr:cluster=", "kuryr:kind=", "kuryr:uid=", "kuryr:guard="
_MADE = "Made by kuryrctl"
KEEP = "kuryr:keep=yes"
"""The tag on what outlives the object that it serves, because its user asked for that."""


def tags(cluster_id: str, role: str, uid: str = "") -> tuple[str, ...]:
    """The tags of an object of ours, sorted. `role` is what the object is for, `uid` whom it serves."""
    made = [_CLUSTER + cluster_id, _ROLE + role]
    if uid:
        made.append(_UID + uid)
    return tuple(sorted(made))


def cluster_tag(cluster_id: str) -> str:
    """The tag that every object of the cluster carries: what lists of the cloud are filtered by."""
    return _CLUSTER + cluster_id


def cluster_of(tags_: Iterable[str]) -> str:
    """The cluster id that the tags name; empty: none, so not ours."""
    return _value(tags_, _CLUSTER)


def role_of(tags_: Iterable[str]) -> str:
    """The role that the tags name; empty: none."""
    return _value(tags_, _ROLE)


def uid_of(tags_: Iterable[str]) -> str:
    """The uid that the tags name; empty: none."""
    return _value(tags_, _UID)


def guard_tag(cluster_id: str, kube_system_uid: str) -> str:
    """The tag on the pod network that binds a cluster id to one Kubernetes cluster (uid of its kube-system)."""
    return f"{_GUARD}{cluster_id}:{kube_system_uid}"


def guard_of(tags_: Iterable[str], cluster_id: str) -> str:
    """The kube-system uid that the guard tag of this cluster id names; empty: no guard yet."""
    return _value(tags_, f"{_GUARD}{cluster_id}:")


def description(tags_: Iterable[str]) -> str:
    """The description of an object that is created without tags: who finds it untagged can tell whose it is.

    The same for the same cluster, role and uid for ever; guard tags and tags of others do not count.
    """
    ours = sorted(tag for tag in tags_ if tag.startswith((_CLUSTER, _ROLE, _UID)))
    return " ".join((f"{_MADE}:", *ours))


def described(description_: str) -> tuple[str, ...]:
    """The tags that such a description names; none where it is another one."""
    made, _, ours = description_.partition(": ")
    return tuple(ours.split(" ")) if made == _MADE else ()


def mac_address(cluster_id: str, *owner: str) -> str:
    """A locally administered unicast MAC, the same for the same owner for ever (IEEE 802: second bit set, first clear).

    Neutron refuses a second port with the same MAC on a network (409 MacAddressInUse), which makes creation safe
    against time-outs and a second writer.
    """
    digest = hashlib.sha256("/".join((cluster_id, *owner)).encode()).digest()
    return bytes(((digest[0] & 0xFC) | 0x02, *digest[1:6])).hex(":")


def shortened(name: str, limit: int = NAME_MAX) -> str:
    """The name, or its beginning and a hash of all of it where it is longer than `limit` characters."""
    if len(name) <= limit:
        return name
    return f"{name[: limit - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _value(tags_: Iterable[str], prefix: str) -> str:
    for tag in tags_:
        if tag.startswith(prefix):
            return tag[len(prefix) :]
    return ""
