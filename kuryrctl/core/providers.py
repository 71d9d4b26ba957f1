"""What the providers of Octavia can do: data, in one place.

Sources: ovn-octavia-provider 11 (``driver.py``, ``common/constants.py``) and its documentation's list of limitations;
Octavia 19 (``api/drivers/amphora_driver/v2/driver.py``, ``api/v2/controllers/pool.py``). Amphora's rows
are what Octavia's API validates: no Amphora runs in the lab. Does not know: Services.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from kuryrctl.core.errors import Invalid, Owner

SOURCE_IP: Final = "SOURCE_IP"


class Provider(Struct, frozen=True):
    """One provider.

    `aliases` are other names under which the same driver is known. `algorithm` is what pools are made with;
    `affinity_algorithm`, where it is not empty, those of a Service with affinity: OVN's provider drops the persistence
    of a pool that comes without a time-out (``pool_create`` in its helper.py, 10.0). `changes_algorithm`: whether a
    pool that exists can get another one; OVN's provider says yes and does nothing (``pool_update``), and it never takes
    an ``affinity_timeout`` back.
    `persistence_timeouts` are the protocols whose session persistence may have a time-out of its own: Octavia refuses
    one for others (400), where affinity lasts `affinity_lasts`; none is longer than `persistence_most_s` (OVN:
    ``affinity_timeout`` in ovn-nb(5)). `monitors` are the monitor types by protocol.
    `allowed_cidrs`, `listener_timeouts`, `weights`: whether they have an effect. `mixed_families`: whether one pool may
    hold members of both IP versions. `whole_create`: a new load balancer is one call with all that is below it.
    """

    name: str
    protocols: frozenset[str]
    algorithm: str
    affinity_algorithm: str = ""
    changes_algorithm: bool = True
    aliases: frozenset[str] = frozenset()
    persistence: frozenset[str] = frozenset()
    persistence_timeouts: frozenset[str] = frozenset({"UDP", "SCTP"})
    affinity_lasts: str = "as long as the provider decides"
    persistence_most_s: int = 86400
    monitors: Mapping[str, str] = MappingProxyType({})
    allowed_cidrs: bool = False
    listener_timeouts: bool = False
    weights: bool = False
    mixed_families: bool = False
    whole_create: bool = True
    failover: bool = False
    keeps_client_address: bool = False

    def is_named(self, name: str) -> bool:
        """Whether Octavia means this provider by the name."""
        return name == self.name or name in self.aliases


OVN: Final = Provider(
    name="ovn",
    protocols=frozenset({"TCP", "UDP", "SCTP"}),
    algorithm="SOURCE_IP_PORT",
    affinity_algorithm="SOURCE_IP",
    changes_algorithm=False,
    persistence=frozenset({SOURCE_IP}),
    affinity_lasts="until members come or go",
    persistence_most_s=65535,
    monitors=MappingProxyType({"TCP": "TCP", "UDP": "UDP-CONNECT"}),
    keeps_client_address=True,
)
AMPHORA: Final = Provider(
    name="amphora",
    aliases=frozenset({"octavia", "amphorav2"}),
    protocols=frozenset({"TCP", "UDP", "SCTP"}),
    algorithm="ROUND_ROBIN",
    persistence=frozenset({SOURCE_IP}),
    monitors=MappingProxyType({"TCP": "TCP", "UDP": "UDP-CONNECT", "SCTP": "SCTP"}),
    allowed_cidrs=True,
    listener_timeouts=True,
    weights=True,
    mixed_families=True,
    failover=True,
)
PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType({each.name: each for each in (OVN, AMPHORA)})


def provider(name: str) -> Provider:
    """The provider with this name, or known under it. Raises Invalid."""
    found = next((each for each in PROVIDERS.values() if each.is_named(name)), None)
    if found is None:
        raise Invalid(
            f'no provider "{name}" is known: {", ".join(PROVIDERS)}',
            code="SVC-PROVIDER",
            owner=Owner.USER,
            hint="openstack loadbalancer provider list shows those of the cloud",
        )
    return found
