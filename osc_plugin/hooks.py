"""What we add to OpenStackClient's own commands: nothing unless it is asked for, and never a failure of theirs.

cliff calls `before` with the parsed options of the stock command: the command itself and its columns stay as they are.
"""

from __future__ import annotations

import argparse
from typing import Final

from cliff.hooks import CommandHook

from kuryrctl.core.names import DEVICE_OWNER

SHORTHAND: Final = "kuryr"
OWNERS: Final = (SHORTHAND, DEVICE_OWNER, f"{DEVICE_OWNER}:sriov")
"""kuryr-kubernetes wrote the last two; a repeated filter means "any of" (Neutron API, filtering)."""


class PortListOwners(CommandHook):
    """`openstack port list --device-owner kuryr` lists the pods' and the nodes' ports, as kuryr's documents say.

    Neutron compares owners exactly and ours is ``compute:kuryr``: without this the command finds nothing. A subport of
    a trunk has Neutron's owner, a detached one none: neither is found by owner.
    """

    def get_parser(self, parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """No option of ours."""
        return parser

    def get_epilog(self) -> str:
        """What the word means, and what it does not find."""
        return (
            f"With kuryrctl installed, --device-owner {SHORTHAND} means any of: {', '.join(OWNERS)}. These are ports of"
            " pods and nodes, without subports of trunks and detached ones: openstack kuryr port list shows all."
        )

    def before(self, parsed_args: argparse.Namespace) -> argparse.Namespace:
        """Put all owners in the place of the shorthand; any other value passes unchanged."""
        if parsed_args.device_owner == SHORTHAND:
            parsed_args.device_owner = list(OWNERS)
        return parsed_args

    def after(self, parsed_args: argparse.Namespace, return_code: int) -> int:
        """The stock result."""
        return return_code
