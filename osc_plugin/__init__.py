"""`openstack kuryr …`: what OpenStackClient needs to find our commands. The commands themselves are `kuryrctl.cli`."""
