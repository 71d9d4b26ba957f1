"""kuryrctl: Kubernetes pods on Neutron ports, operated from a terminal."""

from __future__ import annotations

__version__ = "0.1.0"
