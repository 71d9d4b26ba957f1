"""The node part: gives pods' network namespaces their interfaces, and is the CNI entry point.

The only importer of `pyroute2` and `ovsdbapp`. It knows one node: its kernel, its Open vSwitch database, and the
KuryrPorts and its KuryrNode that the engine wrote. It knows no OpenStack and no container runtime.
"""
