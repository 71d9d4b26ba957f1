"""What OpenStackClient asks of a plugin. It imports this module at every start, so this module imports next to nothing.

`API_VERSION_OPTION` is documented as optional and is not: without it every `openstack` command fails.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import ArgumentParser

API_NAME = "kuryr"
API_VERSION_OPTION = "os_kuryr_api_version"
DEFAULT_API_VERSION = "1"
API_VERSIONS = ("1",)


def build_option_parser(parser: ArgumentParser) -> ArgumentParser:
    """Our only global option; every other one is the commands' own."""
    parser.add_argument(
        "--os-kuryr-api-version",
        metavar="<kuryr-api-version>",
        default=os.environ.get("OS_KURYR_API_VERSION", DEFAULT_API_VERSION),
        help=f"Version of the kuryr commands, default={DEFAULT_API_VERSION} (Env: OS_KURYR_API_VERSION)",
    )
    return parser


def make_client(instance: Any) -> Any:
    """`client_manager.kuryr`: the SDK's connection, as other plugins of the SDK era give."""
    return instance.sdk_connection
