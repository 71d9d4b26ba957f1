"""What a Service's tree is made of: links, each a layer with one named state.

The same words in ``service list``, ``service show`` and ``status``. Does not know: how a state is found out, how it is
printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from kuryrctl.core.errors import Owner


class Layer(StrEnum):
    """What a link is."""

    SERVICE = "service"
    LOAD_BALANCER = "load balancer"
    FLOATING_IP = "floating IP"
    LISTENER = "listener"
    POOL = "pool"
    HEALTH_MONITOR = "health monitor"
    MEMBER = "member"
    POD = "pod"
    PORT = "port"
    STATUS = "status"


class State(StrEnum):
    """What is right or wrong with one link by itself, its neighbours not counted."""

    OK = "ok"
    PENDING = "pending"
    """Octavia is at work on it, or on its load balancer."""
    MISSING = "missing"
    DIFFERENT = "different"
    """It is there, and not as it should be."""
    SURPLUS = "surplus"
    """It is there, and nothing asks for it."""
    ERROR = "error"
    """Octavia calls it ERROR."""
    STUCK = "stuck"
    """It has been PENDING for longer than any change takes."""
    OFFLINE = "offline"
    """Octavia says that nothing answers there."""
    EMPTY = "empty"
    """Nobody is there to answer: no endpoint is ready."""
    FAULTY = "faulty"
    """Not Octavia's: the pod, its port or its node."""


class Link(Struct, frozen=True):
    """One link; `below` is what a packet reaches through it. Empty strings: there is none.

    `id` is the cloud's, the two statuses are Octavia's words. `owner` and `hint` are given where the link is broken.
    """

    layer: Layer
    name: str
    id: str = ""
    state: State = State.OK
    detail: str = ""
    provisioning_status: str = ""
    operating_status: str = ""
    owner: Owner | None = None
    hint: str = ""
    below: tuple[Link, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether a packet stops here, or goes where it should not."""
        return self.state not in (State.OK, State.PENDING)

    def walk(self) -> Iterator[Link]:
        """This link and all below it, the way a packet takes."""
        yield self
        for link in self.below:
            yield from link.walk()

    @property
    def first_broken(self) -> Link | None:
        """The first broken link, None: the Service works as far as can be seen."""
        return next((link for link in self.walk() if link.broken), None)
