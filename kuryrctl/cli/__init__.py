"""The commands: parse, call, render. They know the words of the terminal and hold no logic of cluster or cloud.

Importing this package, or any module of a command, must stay cheap: `openstack --help` imports all of them. Libraries
that speak to a cloud or a cluster are imported by the call that needs them.
"""
