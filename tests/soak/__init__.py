"""The long soak: random work and random faults on the lab, then counts of what leaked. `scripts/soak` runs it."""
