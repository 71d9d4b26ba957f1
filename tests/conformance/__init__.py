"""Kubernetes' own idea of what a NetworkPolicy does: its end-to-end cases, run on the lab by `scripts/conformance`."""
