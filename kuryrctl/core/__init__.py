"""The pure core: typed objects, names, desired state, diff, plan. No I/O, no clock, no environment."""
