"""A real cloud and a real cluster on one machine, for demos, tests and CI.

`layout` says where everything is, `process` runs commands and daemons, `stages` runs a graph of jobs, `install` brings
the software, `network` and `openstack` make the cloud, `kubernetes` makes the cluster, `kuryr` runs our own parts, and
`lab` joins them.
"""
