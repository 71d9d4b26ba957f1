"""What Kubernetes does to its clients, as rules: one table, for the fake server and for the real one behind the proxy.

Each entry begins at any moment of a rollout, and ends by itself or when a test clears the rules.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults.faults import (
    Answer,
    Cut,
    Refuse,
    Silence,
    Swallow,
    doubled,
    kubernetes_error,
    lost,
    shortened,
    swapped,
)
from tests.faults.rules import Rule

NO_KIND = Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
"""What an API server says of a kind that nobody defined."""
FORBIDDEN = kubernetes_error(403, "Forbidden", "kuryrports.kuryr.openstack.org is forbidden")
PASSING: Mapping[str, tuple[Rule, ...]] = {
    "API server gone for a moment": (Rule(Refuse(0.5), "(?!WATCH).*", times=3), Rule(Cut(1), "WATCH .*", times=5)),
    "watches cut": (Rule(Cut(1), "WATCH .*", times=10),),
    "watches refused as too old": (
        Rule(kubernetes_error(410, "Expired", "too old resource version"), "WATCH .*", times=6),
    ),
    "events lost": (Rule(lost(3), "WATCH pods", times=2), Rule(lost(2), "WATCH kuryrports", times=2)),
    "events doubled": (Rule(doubled(), "WATCH .*", times=5),),
    "events reordered": (Rule(swapped(), "WATCH pods", times=2),),
    "a list that fails half way": (Rule(Cut(), "GET pods", times=3), Rule(Cut(), "GET kuryrports", times=2)),
    "a list that is stale": (Rule(shortened("items", 2), "GET pods"),),
    "writes not answered, but done": (Rule(Swallow(0.1), "(POST|PATCH|DELETE) kuryrports", times=3),),
    "writes not answered, not done": (Rule(Silence(0.1), "(POST|PATCH|DELETE) kuryrports", times=3),),
    "writes refused: busy": (
        Rule(kubernetes_error(429, "TooManyRequests", Retry_After="1"), "POST kuryrports", times=2),
    ),
    "writes refused: broken": (Rule(kubernetes_error(500, "InternalError"), ".* kuryrports", times=3),),
    "writes refused: conflict": (Rule(kubernetes_error(409, "Conflict"), "(POST|PATCH) kuryrports", times=3),),
}
"""What passes by itself."""
LASTING: Mapping[str, tuple[str, Rule]] = {
    "our kinds are missing": ("KUBE-NOT-FOUND", Rule(NO_KIND, ".* (kuryrports|kuryrnodes)", times=0)),
    "our kinds are forbidden": ("KUBE-FORBIDDEN", Rule(FORBIDDEN, ".* (kuryrports|kuryrnodes)", times=0)),
    "writing our kinds is forbidden": (
        "KUBE-FORBIDDEN",
        Rule(FORBIDDEN, "(POST|PATCH|DELETE) (kuryrports|kuryrnodes)", times=0),
    ),
}
"""What lasts until somebody mends it, and the code under which it is told."""
