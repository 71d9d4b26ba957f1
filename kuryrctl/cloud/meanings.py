"""What the refusals of each service mean: tables from status, error type and words to our errors.

Sources: ``neutron_lib.api.faults`` (which exception becomes which status; errors have types),
``octavia.common.exceptions`` (errors have no types, only words). Does not know: how an answer is read.
"""

from __future__ import annotations

import re

from msgspec import Struct

from kuryrctl.core.errors import Conflict, Invalid, KuryrError, NotFound, Owner, Quota, Retryable, Unavailable

MAC_IN_USE = "MacAddressInUse"
OVER_QUOTA = "OverQuota"
ADDRESS_TAKEN = frozenset({"IpAddressAlreadyAllocated", "IpAddressInUse"})
NO_ADDRESS = "IpAddressGenerationFailure"
QUOTA_HINT = 'openstack quota set raises it; kuryrctl port list --condition "no pod" finds ports that nobody uses'

PENDING, BALANCER_ADDRESS_TAKEN, BALANCER_QUOTA = "OCT-PENDING", "OCT-ADDRESS-TAKEN", "OCT-QUOTA"
"""Codes of Octavia that decide what is done next."""
_CREDENTIAL_HINT = "kuryrctl cluster credential shows the role and the policy that the engine needs"


class Service(Struct, frozen=True):
    """A service of the cloud: its name for people, whose its faults are, how their codes begin."""

    name: str
    owner: Owner
    prefix: str


NEUTRON = Service("Neutron", Owner.NEUTRON, "NET")
OCTAVIA = Service("Octavia", Owner.OCTAVIA, "OCT")


class Meaning(Struct, frozen=True):
    """What a refusal stands for; `says` replaces the service's own words where ours say more."""

    error: type[KuryrError]
    code: str
    owner: Owner
    hint: str = ""
    says: str = ""


def meaning(service: Service, status: int, type_: str, words: str) -> Meaning:
    """What an error status of a service means; `type_` is Neutron's error type, `words` are the message."""
    if service == OCTAVIA:
        told = next((each for on, said, each in _OCTAVIA if on == status and re.search(said, words)), None)
    else:
        told = next((each for types, each in _NEUTRON if re.fullmatch(types, type_)), None)
    return told or _by_status(service, status)


def _by_status(service: Service, status: int) -> Meaning:
    known = _STATUSES.get(status, (Unavailable, "UNAVAILABLE") if status >= 500 else (Invalid, "INVALID"))
    error, word = known
    if status == 401:
        return Meaning(
            error,
            "KST-TOKEN",
            Owner.KEYSTONE,
            f"openstack token issue; see whether {service.name} reaches Keystone",
            f"{service.name} does not accept the token, although a new one was asked for",
        )
    hint = _CREDENTIAL_HINT if status == 403 else ""
    if status >= 500:
        hint = f"see {service.name}'s log for the request id"
    says = "it was changed after it was read" if status == 412 else ""
    return Meaning(error, f"{service.prefix}-{word}", service.owner, hint, says)


_STATUSES: dict[int, tuple[type[KuryrError], str]] = {
    401: (Unavailable, "TOKEN"),
    403: (Invalid, "FORBIDDEN"),
    404: (NotFound, "NOT-FOUND"),
    409: (Conflict, "CONFLICT"),
    412: (Conflict, "CHANGED"),
    413: (Retryable, "BUSY"),
    429: (Retryable, "BUSY"),
}


def _neutron(error: type[KuryrError], code: str, hint: str = "") -> Meaning:
    return Meaning(error, code, Owner.NEUTRON, hint)


_NEUTRON = (
    (OVER_QUOTA, _neutron(Quota, "NET-QUOTA", QUOTA_HINT)),
    (MAC_IN_USE, _neutron(Conflict, "NET-MAC-TAKEN")),
    (f"{NO_ADDRESS}.*|ExternalIpAddressExhausted", _neutron(Conflict, "NET-NO-ADDRESS")),
    ("|".join(sorted(ADDRESS_TAKEN)), _neutron(Conflict, "NET-ADDRESS-TAKEN")),
    (".*InUse.*|FloatingIPPortAlreadyAssociated", _neutron(Conflict, "NET-IN-USE")),
    (
        "ExternalGatewayForFloatingIPNotFound",
        _neutron(Conflict, "NET-NO-GATEWAY", "kuryrctl cluster init connects the Services' subnet with that network"),
    ),
)


def _octavia(error: type[KuryrError], code: str, hint: str = "") -> Meaning:
    return Meaning(error, code, Owner.OCTAVIA, hint)


_QUOTA_MET = _octavia(Quota, BALANCER_QUOTA, "openstack loadbalancer quota set raises it")
_UNSUPPORTED = _octavia(
    Invalid,
    "OCT-UNSUPPORTED",
    "kuryrctl service lint says what the provider cannot; another may: openstack loadbalancer provider list",
)
_OCTAVIA = (
    (409, "is immutable|Invalid state .* of loadbalancer", _octavia(Retryable, PENDING)),
    (409, "No more IP addresses", _octavia(Conflict, "OCT-NO-ADDRESS")),
    (409, "already in use:|already allocated|IpAddressInUse", _octavia(Conflict, BALANCER_ADDRESS_TAKEN)),
    (409, "is already using|already has", _octavia(Conflict, "OCT-EXISTS")),
    (403, "Quota has been met", _QUOTA_MET),
    (413, "[Qq]uota", _QUOTA_MET),
    (500, "No more IP addresses", _octavia(Conflict, "OCT-NO-ADDRESS")),
    (500, "^Provider '.*' reports error", _octavia(Unavailable, "OCT-PROVIDER", "see the log of Octavia's provider")),
    (501, "does not support", _UNSUPPORTED),
    (501, "was not found", _octavia(Invalid, "OCT-NO-PROVIDER", "openstack loadbalancer provider list")),
    (400, "is not enabled", _octavia(Invalid, "OCT-NO-PROVIDER", "openstack loadbalancer provider list")),
    (503, "busy", _octavia(Retryable, "OCT-BUSY")),
)
